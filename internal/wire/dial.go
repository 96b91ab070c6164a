package wire

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"strconv"
	"time"

	"github.com/segmentio/kafka-go/protocol"
	"github.com/segmentio/kafka-go/protocol/apiversions"
	"github.com/segmentio/kafka-go/protocol/saslauthenticate"
	"github.com/segmentio/kafka-go/protocol/saslhandshake"
	"github.com/segmentio/kafka-go/sasl"

	"github.com/expensevault/sharedlibrary/internal/kerr"
)

// Params says how connections are made.
type Params struct {
	ClientID    string
	TLS         *tls.Config    // nil: no TLS. ServerName defaults to the host that is dialled
	SASL        sasl.Mechanism // nil: no authentication
	DialTimeout time.Duration  // for all of it: connect, TLS, versions, SASL
	// Dial replaces net.Dialer, for tests.
	Dial func(ctx context.Context, network, addr string) (net.Conn, error)
}

// AuthError is a refusal that another try with the same settings will not
// change: credentials, certificates, host names.
type AuthError struct {
	Addr string
	Err  error
}

func (e *AuthError) Error() string { return "authentication at " + e.Addr + ": " + e.Err.Error() }

func (e *AuthError) Unwrap() error { return e.Err }

// Dial connects to a broker. ctx bounds the dialling only. The error is an
// [*AuthError] where the two sides do not accept each other.
func Dial(ctx context.Context, p *Params, addr string) (*Conn, error) {
	if len(p.ClientID) > 0x7fff {
		return nil, errors.New("wire: the client ID is longer than 32767 bytes")
	}
	ctx, cancel := context.WithTimeout(ctx, p.DialTimeout)
	defer cancel()
	dial := p.Dial
	if dial == nil {
		dial = new(net.Dialer).DialContext
	}
	nc, err := dial(ctx, "tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("wire: dial %s: %w", addr, err)
	}
	// Until the handshakes are done a closed socket is how ctx interrupts them.
	stop := context.AfterFunc(ctx, func() { _ = nc.Close() })
	c, err := handshake(ctx, p, addr, nc)
	if !stop() && err == nil {
		c.Close()
		err = ctx.Err()
	}
	if err != nil {
		_ = nc.Close()
		var auth *AuthError
		if ctx.Err() != nil && !errors.As(err, &auth) {
			err = fmt.Errorf("%w: %w", ctx.Err(), err)
		}
		return nil, fmt.Errorf("wire: connect to %s: %w", addr, err)
	}
	return c, nil
}

func handshake(ctx context.Context, p *Params, addr string, nc net.Conn) (*Conn, error) {
	if p.TLS != nil {
		tc, err := startTLS(ctx, p.TLS, addr, nc)
		if err != nil {
			return nil, err
		}
		nc = tc
	}
	c := newConn(p, addr, nc)
	go c.read()
	if err := c.negotiate(ctx, p); err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

func newConn(p *Params, addr string, nc net.Conn) *Conn {
	return &Conn{
		addr: addr, clientID: p.ClientID, nc: nc, br: bufio.NewReaderSize(nc, 16<<10),
		// The one API that may be used before the versions are known, in the version that every broker has.
		versions: map[protocol.ApiKey]versions{protocol.ApiVersions: {0, 0}},
		done:     make(chan struct{}),
	}
}

func startTLS(ctx context.Context, cfg *tls.Config, addr string, nc net.Conn) (net.Conn, error) {
	cfg = cfg.Clone()
	if cfg.ServerName == "" {
		host, _, err := net.SplitHostPort(addr)
		if err != nil {
			return nil, fmt.Errorf("address %q: %w", addr, err)
		}
		cfg.ServerName = host
	}
	tc := tls.Client(nc, cfg)
	if err := tc.HandshakeContext(ctx); err != nil {
		var (
			cert  *tls.CertificateVerificationError
			host  x509.HostnameError
			auth  x509.UnknownAuthorityError
			plain tls.RecordHeaderError
		)
		switch {
		case errors.As(err, &cert), errors.As(err, &host), errors.As(err, &auth), isAlert(err):
			return nil, &AuthError{Addr: addr, Err: err}
		case errors.As(err, &plain):
			return nil, &AuthError{Addr: addr, Err: fmt.Errorf("the broker does not speak TLS here: %w", err)}
		}
		return nil, fmt.Errorf("TLS: %w", err)
	}
	return tc, nil
}

// isAlert reports whether the broker ended the TLS connection with an alert. crypto/tls gives these no type of their own
// but for QUIC: they are the "remote error" operations of a connection.
func isAlert(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) && op.Op == "remote error"
}

// negotiate learns the broker's versions and authenticates.
func (c *Conn) negotiate(ctx context.Context, p *Params) error {
	msg, err := c.Do(ctx, &apiversions.Request{}, p.DialTimeout)
	if err != nil {
		if isAlert(err) { // TLS 1.3: a refused client certificate shows at the first read
			return &AuthError{Addr: c.addr, Err: err}
		}
		return err
	}
	res, ok := msg.(*apiversions.Response)
	if !ok {
		return fmt.Errorf("unexpected %T", msg)
	}
	if err := kerr.Code(res.ErrorCode).Err(); err != nil {
		return fmt.Errorf("ApiVersions: %w", err)
	}
	vs := make(map[protocol.ApiKey]versions, len(res.ApiKeys))
	for _, k := range res.ApiKeys {
		vs[protocol.ApiKey(k.ApiKey)] = versions{k.MinVersion, k.MaxVersion}
	}
	c.versions = vs // nobody else has the connection yet
	if p.SASL == nil {
		return nil
	}
	return c.authenticate(ctx, p)
}

func (c *Conn) authenticate(ctx context.Context, p *Params) error {
	host, port, _ := net.SplitHostPort(c.addr)
	n, _ := strconv.Atoi(port)
	ctx = sasl.WithMetadata(ctx, &sasl.Metadata{Host: host, Port: n})

	msg, err := c.Do(ctx, &saslhandshake.Request{Mechanism: p.SASL.Name()}, p.DialTimeout)
	if err != nil {
		return fmt.Errorf("SASL handshake: %w", err)
	}
	hs, ok := msg.(*saslhandshake.Response)
	if !ok {
		return fmt.Errorf("SASL handshake: unexpected %T", msg)
	}
	if code := kerr.Code(hs.ErrorCode); code != kerr.None {
		return &AuthError{Addr: c.addr, Err: fmt.Errorf("%w: %s is not among the broker's mechanisms %v", code, p.SASL.Name(), hs.Mechanisms)}
	}
	state, out, err := p.SASL.Start(ctx)
	if err != nil {
		return &AuthError{Addr: c.addr, Err: err}
	}
	begin := time.Now()
	for done := false; !done; {
		msg, err := c.Do(ctx, &saslauthenticate.Request{AuthBytes: out}, p.DialTimeout)
		if err != nil {
			return fmt.Errorf("SASL %s: %w", p.SASL.Name(), err)
		}
		res, ok := msg.(*saslauthenticate.Response)
		if !ok {
			return fmt.Errorf("SASL %s: unexpected %T", p.SASL.Name(), msg)
		}
		if code := kerr.Code(res.ErrorCode); code != kerr.None {
			return &AuthError{Addr: c.addr, Err: fmt.Errorf("%w: %s", code, res.ErrorMessage)}
		}
		if res.SessionLifetimeMs > 0 {
			life := time.Duration(res.SessionLifetimeMs) * time.Millisecond
			c.expires = begin.Add(life - life/5) // as Java: re-authenticate within the last fifth
		}
		if done, out, err = state.Next(ctx, res.AuthBytes); err != nil {
			return &AuthError{Addr: c.addr, Err: err}
		}
	}
	return nil
}
