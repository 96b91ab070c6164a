package itest

import (
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/expensevault/sharedlibrary/messaging"
)

// secured is the given Kafka with its listeners for TLS and SASL. Its users: admin, alice who may everything with topics and
// groups, bob who may nothing; the client certificate is alice's.
func secured(t *testing.T) broker {
	t.Helper()
	return broker{kind: realBroker, address: startReal(t), topics: new(atomic.Int64)}
}

// securedConfig fills in what a listener needs; listener is the name of the variable with its address.
func securedConfig(t *testing.T, b broker, listener, protocol, topic string) messaging.Config {
	t.Helper()
	cfg := b.config(map[string]string{"itest.thing.happened": topic})
	cfg.BootstrapServers = env(t, realBroker, listener)
	cfg.SecurityProtocol = protocol
	if strings.HasSuffix(protocol, "SSL") {
		cfg.SSLCALocation = env(t, realBroker, "KAFKA_TEST_CA")
	}
	return cfg
}

// as lets cfg authenticate as a user of the test broker.
func as(t *testing.T, cfg messaging.Config, mechanism, user string) messaging.Config {
	t.Helper()
	name := strings.ToUpper(user)
	cfg.SASLMechanism = mechanism
	cfg.SASLUsername = env(t, realBroker, "KAFKA_TEST_"+name+"_USER")
	cfg.SASLPassword = messaging.Secret(env(t, realBroker, "KAFKA_TEST_"+name+"_PASSWORD"))
	return cfg
}

// delivers publishes by cfg and reads back by another client and without security.
func delivers(t *testing.T, b broker, cfg messaging.Config, topic string) {
	t.Helper()
	e := &keyed{Key: "k", N: 7}
	require.NoError(t, newPublisher(t, cfg).Publish(t.Context(), e))
	want, err := json.Marshal(e)
	require.NoError(t, err)
	require.Equal(t, string(want), kcatRead(t, b, topic, 1)[0].Value)
}

// refused publishes by cfg and returns the error, which must come within five seconds, must say that nothing was written,
// and must not show the password.
func refused(t *testing.T, b broker, cfg messaging.Config, topic string) error {
	t.Helper()
	p := newPublisher(t, cfg)
	began := time.Now()
	err := p.Publish(t.Context(), &keyed{Key: "k"})
	require.Error(t, err)
	assert.Less(t, time.Since(began), 5*time.Second)
	assert.True(t, messaging.SafeToRetry(err), "%v", err)
	if password := string(cfg.SASLPassword); password != "" {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q"} {
			assert.NotContains(t, fmt.Sprintf(verb, err), password)
		}
	}
	assert.Empty(t, b.records(t, topic))
	return err
}

func TestTLS(t *testing.T) {
	t.Parallel()
	b := secured(t)
	t.Run("own authority", func(t *testing.T) {
		t.Parallel()
		topic := b.topic(t, 1)
		delivers(t, b, securedConfig(t, b, "KAFKA_TEST_SSL_BOOTSTRAP", "SSL", topic), topic)
	})
	t.Run("client certificate", func(t *testing.T) {
		t.Parallel()
		topic := b.topic(t, 1)
		cfg := securedConfig(t, b, "KAFKA_TEST_SSL_CLIENT_AUTH_BOOTSTRAP", "SSL", topic)
		cfg.SSLCertificateLocation = env(t, realBroker, "KAFKA_TEST_CLIENT_CERT")
		cfg.SSLKeyLocation = env(t, realBroker, "KAFKA_TEST_CLIENT_KEY")
		delivers(t, b, cfg, topic)
	})
	t.Run("no client certificate", func(t *testing.T) {
		t.Parallel()
		topic := b.topic(t, 1)
		err := refused(t, b, securedConfig(t, b, "KAFKA_TEST_SSL_CLIENT_AUTH_BOOTSTRAP", "SSL", topic), topic)
		require.ErrorIs(t, err, messaging.ErrAuthentication)
		assert.ErrorContains(t, err, "certificate") // the broker's alert, as it names it
	})
	t.Run("unknown authority", func(t *testing.T) {
		t.Parallel()
		topic := b.topic(t, 1)
		cfg := securedConfig(t, b, "KAFKA_TEST_SSL_BOOTSTRAP", "SSL", topic)
		cfg.SSLCALocation = env(t, realBroker, "KAFKA_TEST_OTHER_CA")
		err := refused(t, b, cfg, topic)
		require.ErrorIs(t, err, messaging.ErrAuthentication)
		var cause x509.UnknownAuthorityError
		require.ErrorAs(t, err, &cause)
	})
	t.Run("the system's authorities alone", func(t *testing.T) {
		t.Parallel()
		topic := b.topic(t, 1)
		cfg := securedConfig(t, b, "KAFKA_TEST_SSL_BOOTSTRAP", "SSL", topic)
		cfg.SSLCALocation = ""
		err := refused(t, b, cfg, topic)
		require.ErrorIs(t, err, messaging.ErrAuthentication)
		var cause x509.UnknownAuthorityError
		require.ErrorAs(t, err, &cause)
	})
	t.Run("wrong host name", func(t *testing.T) {
		t.Parallel()
		topic := b.topic(t, 1)
		cfg := securedConfig(t, b, "KAFKA_TEST_SSL_BOOTSTRAP", "SSL", topic)
		cfg.BootstrapServers = forward(t, cfg.BootstrapServers)
		err := refused(t, b, cfg, topic)
		require.ErrorIs(t, err, messaging.ErrAuthentication)
		var cause x509.HostnameError
		require.ErrorAs(t, err, &cause)
		assert.Equal(t, "127.0.0.2", cause.Host)
	})
}

// forward makes the address reachable under one that is not in the broker's certificate.
func forward(t *testing.T, to string) string {
	t.Helper()
	var listen net.ListenConfig
	l, err := listen.Listen(t.Context(), "tcp", "127.0.0.2:0")
	require.NoError(t, err)
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer func() { _ = in.Close() }()
				var dialer net.Dialer
				out, err := dialer.DialContext(t.Context(), "tcp", to)
				if err != nil {
					return
				}
				defer func() { _ = out.Close() }()
				go func() { _, _ = io.Copy(out, in) }()
				_, _ = io.Copy(in, out)
			}()
		}
	}()
	return l.Addr().String()
}

func TestSASL(t *testing.T) {
	t.Parallel()
	b := secured(t)
	for protocol, listener := range map[string]string{
		"SASL_PLAINTEXT": "KAFKA_TEST_SASL_PLAINTEXT_BOOTSTRAP",
		"SASL_SSL":       "KAFKA_TEST_SASL_SSL_BOOTSTRAP",
	} {
		for _, mechanism := range []string{"PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"} {
			t.Run(protocol+" "+mechanism, func(t *testing.T) {
				t.Parallel()
				topic := b.topic(t, 1)
				delivers(t, b, as(t, securedConfig(t, b, listener, protocol, topic), mechanism, "alice"), topic)
			})
			t.Run(protocol+" "+mechanism+" wrong password", func(t *testing.T) {
				t.Parallel()
				topic := b.topic(t, 1)
				cfg := as(t, securedConfig(t, b, listener, protocol, topic), mechanism, "alice")
				cfg.SASLPassword = "not-the-right-one"
				err := refused(t, b, cfg, topic)
				require.ErrorIs(t, err, messaging.ErrAuthentication)
				var typed *messaging.PublishError
				require.ErrorAs(t, err, &typed)
				assert.Equal(t, "SASL_AUTHENTICATION_FAILED", typed.ErrorType())
			})
			t.Run(protocol+" "+mechanism+" no rights", func(t *testing.T) {
				t.Parallel()
				topic := b.topic(t, 1)
				err := refused(t, b, as(t, securedConfig(t, b, listener, protocol, topic), mechanism, "bob"), topic)
				require.ErrorIs(t, err, messaging.ErrNotAuthorized)
				var typed *messaging.PublishError
				require.ErrorAs(t, err, &typed)
				assert.Equal(t, "TOPIC_AUTHORIZATION_FAILED", typed.ErrorType())
			})
		}
	}
	t.Run("password from a file", func(t *testing.T) {
		t.Parallel()
		topic := b.topic(t, 1)
		cfg := as(t, securedConfig(t, b, "KAFKA_TEST_SASL_SSL_BOOTSTRAP", "SASL_SSL", topic), "SCRAM-SHA-512", "alice")
		cfg.SASLPasswordFile = filepath.Join(t.TempDir(), "password")
		require.NoError(t, os.WriteFile(cfg.SASLPasswordFile, []byte(cfg.SASLPassword+"\n"), 0o600))
		cfg.SASLPassword = ""
		delivers(t, b, cfg, topic)
	})
	t.Run("without TLS where it is needed", func(t *testing.T) {
		t.Parallel()
		topic := b.topic(t, 1)
		cfg := as(t, securedConfig(t, b, "KAFKA_TEST_SASL_SSL_BOOTSTRAP", "SASL_PLAINTEXT", topic), "PLAIN", "alice")
		cfg.MessageTimeout = 4 * time.Second
		require.ErrorIs(t, refused(t, b, cfg, topic), messaging.ErrTimeout)
	})
}
