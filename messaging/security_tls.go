package messaging

import (
	"crypto/tls"
	"crypto/x509"
	"log/slog"
	"os"
	"sync"
)

func (c Config) tlsConfig(log *slog.Logger) (*tls.Config, error) {
	cfg := &tls.Config{MinVersion: tls.VersionTLS12}
	if c.SSLCALocation != "" {
		const name = "SslCaLocation"
		b, err := os.ReadFile(c.SSLCALocation)
		if err != nil {
			return nil, unreadable(name, c.SSLCALocation, err)
		}
		cfg.RootCAs = x509.NewCertPool()
		if !cfg.RootCAs.AppendCertsFromPEM(b) {
			return nil, &SettingError{Setting: name, Value: c.SSLCALocation, Problem: "holds no certificate in PEM form (-----BEGIN CERTIFICATE-----)"}
		}
	}
	if c.SSLCertificateLocation != "" {
		pair := &clientPair{
			certificate: c.SSLCertificateLocation, key: c.SSLKeyLocation,
			password: c.SSLKeyPassword, log: log,
		}
		cert, err := pair.read()
		if err != nil {
			return nil, err
		}
		pair.last = cert
		cfg.GetClientCertificate = pair.get
	}
	return cfg, nil
}

// clientPair is the client's certificate and key, read again for every
// connection: those are few, and a renewed certificate is in use at once.
type clientPair struct {
	certificate, key string // files
	password         Secret
	log              *slog.Logger

	mu   sync.Mutex
	last *tls.Certificate // the last that was whole
}

func (p *clientPair) get(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
	cert, err := p.read()
	p.mu.Lock()
	defer p.mu.Unlock()
	if err != nil {
		// Whoever renews the files replaces one before the other.
		if p.log != nil {
			p.log.Warn("The client's certificate can't be read again; the last one stays in use", "error", err)
		}
		return p.last, nil
	}
	p.last = cert
	return cert, nil
}

func (p *clientPair) read() (*tls.Certificate, error) {
	certPEM, err := os.ReadFile(p.certificate)
	if err != nil {
		return nil, unreadable("SslCertificateLocation", p.certificate, err)
	}
	keyPEM, err := os.ReadFile(p.key)
	if err != nil {
		return nil, unreadable("SslKeyLocation", p.key, err)
	}
	keyPEM, err = openKey(keyPEM, p.password)
	if err != nil {
		return nil, &SettingError{Setting: "SslKeyLocation", Value: p.key, Problem: err.Error()}
	}
	cert, err := tls.X509KeyPair(certPEM, keyPEM)
	if err != nil {
		return nil, &SettingError{
			Setting: "SslCertificateLocation", Value: p.certificate,
			Problem: "can't be used with the key in SslKeyLocation: " + err.Error(),
		}
	}
	return &cert, nil
}
