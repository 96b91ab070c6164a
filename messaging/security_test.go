package messaging

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"log/slog"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/segmentio/kafka-go/sasl"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pem  []byte
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "authority"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	require.NoError(t, err)
	cert, err := x509.ParseCertificate(der)
	require.NoError(t, err)
	return &authority{cert, key, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})}
}

// issue returns certificate and key in PEM.
func (a *authority) issue(t *testing.T, name string) (cert, key []byte) {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}, a.cert, &k.PublicKey, a.key)
	require.NoError(t, err)
	pkcs8, err := x509.MarshalPKCS8PrivateKey(k)
	require.NoError(t, err)
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8})
}

func writeFile(t *testing.T, path string, b []byte) string {
	t.Helper()
	require.NoError(t, os.WriteFile(path, b, 0o600))
	return path
}

// tlsListener answers each connection with the name in the client's certificate.
func tlsListener(t *testing.T, a *authority, host string, change func(*tls.Config)) string {
	t.Helper()
	pair, err := tls.X509KeyPair(a.issue(t, host))
	require.NoError(t, err)
	cfg := &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS10}
	if change != nil {
		change(cfg)
	}
	ln, err := tls.Listen("tcp", "127.0.0.1:0", cfg)
	require.NoError(t, err)
	t.Cleanup(func() { _ = ln.Close() })
	go func() {
		for {
			nc, err := ln.Accept()
			if err != nil {
				return
			}
			tc := nc.(*tls.Conn)
			name := "nobody"
			if tc.HandshakeContext(t.Context()) == nil {
				if certs := tc.ConnectionState().PeerCertificates; len(certs) > 0 {
					name = certs[0].Subject.CommonName
				}
				_, _ = io.WriteString(tc, name)
			}
			_ = tc.Close()
		}
	}()
	return ln.Addr().String()
}

// dialTLS returns what the listener answers to a client with these settings.
func dialTLS(t *testing.T, cfg *tls.Config, addr string) (string, error) {
	t.Helper()
	cfg = cfg.Clone()
	cfg.ServerName = "broker.test"
	nc, err := (&net.Dialer{Timeout: 5 * time.Second}).DialContext(t.Context(), "tcp", addr)
	require.NoError(t, err)
	tc := tls.Client(nc, cfg)
	defer func() { _ = tc.Close() }()
	require.NoError(t, tc.SetDeadline(time.Now().Add(10*time.Second)))
	b, err := io.ReadAll(tc)
	return string(b), err
}

func sslConfig() Config {
	c := DefaultConfig()
	c.SecurityProtocol = "SSL"
	return c
}

func TestClusterParamsPlain(t *testing.T) {
	t.Parallel()
	c := DefaultConfig()
	c.BootstrapServers = "a:1, [::1]:2,"
	p, err := c.clusterParams(nil)
	require.NoError(t, err)
	assert.Equal(t, []string{"a:1", "[::1]:2"}, p.Seeds)
	assert.Equal(t, "customservice-producer", p.Wire.ClientID)
	assert.Positive(t, p.Wire.DialTimeout)
	assert.Nil(t, p.Wire.TLS)
	assert.Nil(t, p.Wire.SASL, "an interface that holds nothing")
}

func TestTLSVerifiesTheBroker(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	ours, other := newAuthority(t), newAuthority(t)
	c := sslConfig()
	c.SSLCALocation = writeFile(t, filepath.Join(dir, "ca.pem"), ours.pem)
	p, err := c.clusterParams(nil)
	require.NoError(t, err)
	assert.False(t, p.Wire.TLS.InsecureSkipVerify)

	name, err := dialTLS(t, p.Wire.TLS, tlsListener(t, ours, "broker.test", nil))
	require.NoError(t, err)
	assert.Equal(t, "nobody", name)

	_, err = dialTLS(t, p.Wire.TLS, tlsListener(t, other, "broker.test", nil))
	require.ErrorAs(t, err, new(x509.UnknownAuthorityError))

	_, err = dialTLS(t, p.Wire.TLS, tlsListener(t, ours, "another.test", nil))
	require.ErrorAs(t, err, new(x509.HostnameError))

	_, err = dialTLS(t, p.Wire.TLS, tlsListener(t, ours, "broker.test", func(c *tls.Config) { c.MaxVersion = tls.VersionTLS11 }))
	require.ErrorContains(t, err, "version")

	system, err := sslConfig().clusterParams(nil)
	require.NoError(t, err)
	_, err = dialTLS(t, system.Wire.TLS, tlsListener(t, ours, "broker.test", nil))
	require.ErrorAs(t, err, new(x509.UnknownAuthorityError), "the system does not know our authority")
}

func TestTLSClientCertificateIsReadAgain(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	a := newAuthority(t)
	addr := tlsListener(t, a, "broker.test", func(c *tls.Config) {
		c.ClientAuth = tls.RequireAndVerifyClientCert
		c.ClientCAs = x509.NewCertPool()
		c.ClientCAs.AddCert(a.cert)
	})
	c := sslConfig()
	c.SSLCALocation = writeFile(t, filepath.Join(dir, "ca.pem"), a.pem)

	p, err := c.clusterParams(nil)
	require.NoError(t, err)
	_, err = dialTLS(t, p.Wire.TLS, addr)
	require.ErrorContains(t, err, "certificate required")

	cert, key := a.issue(t, "alice")
	c.SSLCertificateLocation = writeFile(t, filepath.Join(dir, "cert.pem"), cert)
	c.SSLKeyLocation = writeFile(t, filepath.Join(dir, "key.pem"), key)
	var log bytes.Buffer
	p, err = c.clusterParams(slog.New(slog.NewTextHandler(&log, nil)))
	require.NoError(t, err)
	name, err := dialTLS(t, p.Wire.TLS, addr)
	require.NoError(t, err)
	assert.Equal(t, "alice", name)

	cert, key = a.issue(t, "bob")
	writeFile(t, c.SSLCertificateLocation, cert)
	name, err = dialTLS(t, p.Wire.TLS, addr)
	require.NoError(t, err, "the key is still the old one")
	assert.Equal(t, "alice", name)
	assert.Contains(t, log.String(), "level=WARN")

	writeFile(t, c.SSLKeyLocation, key)
	name, err = dialTLS(t, p.Wire.TLS, addr)
	require.NoError(t, err)
	assert.Equal(t, "bob", name)
}

func TestTLSFilesAreCheckedAtOnce(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	a := newAuthority(t)
	cert, _ := a.issue(t, "alice")
	_, otherKey := a.issue(t, "bob")
	certFile := writeFile(t, filepath.Join(dir, "cert.pem"), cert)
	keyFile := writeFile(t, filepath.Join(dir, "key.pem"), otherKey)
	empty := writeFile(t, filepath.Join(dir, "empty.pem"), nil)
	missing := filepath.Join(dir, "missing.pem")
	for _, tc := range []struct {
		name    string
		change  func(*Config)
		setting string
		want    string
	}{
		{"no authority file", func(c *Config) { c.SSLCALocation = missing }, "SslCaLocation", "can't read the file: no such file or directory"},
		{"no authority in the file", func(c *Config) { c.SSLCALocation = empty }, "SslCaLocation", "no certificate in PEM form"},
		{"no certificate file", func(c *Config) { c.SSLCertificateLocation, c.SSLKeyLocation = missing, keyFile }, "SslCertificateLocation", "no such file"},
		{"no key file", func(c *Config) { c.SSLCertificateLocation, c.SSLKeyLocation = certFile, missing }, "SslKeyLocation", "no such file"},
		{"no key in the file", func(c *Config) { c.SSLCertificateLocation, c.SSLKeyLocation = certFile, certFile }, "SslKeyLocation", "no private key"},
		{"another's key", func(c *Config) { c.SSLCertificateLocation, c.SSLKeyLocation = certFile, keyFile }, "SslCertificateLocation", "does not match"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			c := sslConfig()
			tc.change(&c)
			require.NoError(t, c.Validate(), "it opens no file")
			_, err := c.clusterParams(nil)
			var typed *SettingError
			require.ErrorAs(t, err, &typed)
			assert.Equal(t, tc.setting, typed.Setting)
			assert.Contains(t, typed.Problem, tc.want)
		})
	}
}

func startSASL(t *testing.T, m sasl.Mechanism) string {
	t.Helper()
	_, first, err := m.Start(t.Context())
	require.NoError(t, err)
	return string(first)
}

func TestSASLPasswordIsReadForEachConnection(t *testing.T) {
	t.Parallel()
	file := writeFile(t, filepath.Join(t.TempDir(), "password"), []byte("first pass \r\n"))
	c := DefaultConfig()
	c.SecurityProtocol, c.SASLMechanism, c.SASLUsername, c.SASLPasswordFile = "SASL_PLAINTEXT", "PLAIN", "alice", file
	require.NoError(t, c.Validate())
	p, err := c.clusterParams(nil)
	require.NoError(t, err)
	assert.Equal(t, "PLAIN", p.Wire.SASL.Name())
	assert.Equal(t, "\x00alice\x00first pass ", startSASL(t, p.Wire.SASL), "one line break is dropped, and nothing else")

	writeFile(t, file, []byte("second"))
	assert.Equal(t, "\x00alice\x00second", startSASL(t, p.Wire.SASL))

	require.NoError(t, os.Remove(file))
	_, _, err = p.Wire.SASL.Start(t.Context())
	require.ErrorContains(t, err, "SaslPasswordFile")
}

func TestSASLPasswordFileIsCheckedAtOnce(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for _, tc := range []struct{ name, file, want string }{
		{"missing", filepath.Join(dir, "missing"), "no such file"},
		{"empty", writeFile(t, filepath.Join(dir, "empty"), []byte("\n")), "is empty"},
		{"binary", writeFile(t, filepath.Join(dir, "binary"), []byte("\xffhunter2")), "not UTF-8"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			c := DefaultConfig()
			c.SecurityProtocol, c.SASLMechanism, c.SASLUsername, c.SASLPasswordFile = "SASL_SSL", "PLAIN", "alice", tc.file
			_, err := c.clusterParams(nil)
			require.ErrorContains(t, err, tc.want)
			require.ErrorContains(t, err, "setting SaslPasswordFile")
			assert.NotContains(t, err.Error(), "hunter2")
		})
	}
}

// The exchange of RFC 7677, section 3, has a nonce of the client's that can't
// be chosen here, so that only the form of the first message is fixed.
func TestSASLScramStarts(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"SCRAM-SHA-256", "SCRAM-SHA-512"} {
		c := secretConfig()
		c.SASLMechanism, c.SSLCertificateLocation, c.SSLKeyLocation, c.SSLKeyPassword = name, "", "", ""
		p, err := c.clusterParams(nil)
		require.NoError(t, err)
		assert.Equal(t, name, p.Wire.SASL.Name())
		one, two := startSASL(t, p.Wire.SASL), startSASL(t, p.Wire.SASL)
		assert.Regexp(t, `^n,,n=alice,r=.{16,}$`, one)
		assert.NotEqual(t, one, two, "each connection has its own nonce")
	}
}
