package embedded_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"math/big"
	"net"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/sasl"
	"github.com/twmb/franz-go/pkg/sasl/plain"
	"github.com/twmb/franz-go/pkg/sasl/scram"

	"github.com/expensevault/sharedlibrary/messaging/embedded"
)

func login(mechanism, user, password string) kgo.Opt {
	var m sasl.Mechanism
	switch mechanism {
	case "SCRAM-SHA-256":
		m = scram.Auth{User: user, Pass: password}.AsSha256Mechanism()
	case "SCRAM-SHA-512":
		m = scram.Auth{User: user, Pass: password}.AsSha512Mechanism()
	default:
		m = plain.Auth{User: user, Pass: password}.AsMechanism()
	}
	return kgo.SASL(m)
}

func TestUsers(t *testing.T) {
	t.Parallel()
	for _, mechanism := range []string{"PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"} {
		t.Run(mechanism, func(t *testing.T) {
			t.Parallel()
			b := embedded.Run(t, embedded.WithTopics(1, orders), embedded.WithUser(mechanism, "ann", "secret"))
			produce(t.Context(), t, dial(t, b.Addr(), login(mechanism, "ann", "secret")), 0, 1)
			require.Error(t, dial(t, b.Addr(), login(mechanism, "ann", "wrong")).Ping(t.Context()))
			require.Error(t, dial(t, b.Addr()).Ping(t.Context()), "nobody without a login")
		})
	}
}

func TestUsersAreThoseOfTheOptions(t *testing.T) {
	t.Parallel()
	for _, mechanism := range []string{"PLAIN", "SCRAM-SHA-512"} {
		t.Run(mechanism, func(t *testing.T) {
			t.Parallel()
			folder := embedded.WithDataDir(t.TempDir())
			first := start(t, folder, embedded.WithTopics(1, orders), embedded.WithUser(mechanism, "ann", "old"))
			produce(t.Context(), t, dial(t, first.Addr(), login(mechanism, "ann", "old")), 0, 1)
			require.NoError(t, first.Close())

			second := start(t, folder, embedded.WithUser(mechanism, "ann", "new"))
			require.NoError(t, dial(t, second.Addr(), login(mechanism, "ann", "new")).Ping(t.Context()))
			require.Error(t, dial(t, second.Addr(), login(mechanism, "ann", "old")).Ping(t.Context()))
		})
	}
}

func TestUserWithFewerRights(t *testing.T) {
	t.Parallel()
	b := embedded.Run(t, embedded.WithTopics(1, orders), embedded.WithOptions(
		kfake.EnableSASL(), kfake.EnableACLs(),
		kfake.User("PLAIN", "reader", "secret", kfake.ACL{
			Resource: kmsg.ACLResourceTypeTopic, Name: orders, Pattern: kmsg.ACLResourcePatternTypeLiteral,
			Operation: kmsg.ACLOperationDescribe, Allow: true,
		}, kfake.ACL{ // who may write nowhere gets no producer id
			Resource: kmsg.ACLResourceTypeTopic, Name: "elsewhere", Pattern: kmsg.ACLResourcePatternTypeLiteral,
			Operation: kmsg.ACLOperationWrite, Allow: true,
		}),
	))
	c := dial(t, b.Addr(), login("PLAIN", "reader", "secret"))
	err := c.ProduceSync(t.Context(), &kgo.Record{Topic: orders, Value: []byte("x")}).FirstErr()
	require.ErrorIs(t, err, kerr.TopicAuthorizationFailed)
}

func TestTLS(t *testing.T) {
	t.Parallel()
	cert, roots := certificate(t)
	b := embedded.Run(t, embedded.WithNodes(2), embedded.WithTopics(1, orders), embedded.WithUser("PLAIN", "ann", "secret"),
		embedded.WithTLS(&tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12}))
	trust := &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}

	produce(t.Context(), t, dial(t, b.Addr(), kgo.DialTLSConfig(trust), login("PLAIN", "ann", "secret")), 0, 3)

	conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", b.Cluster().ListenAddrs()[0])
	require.NoError(t, err)
	defer func() { _ = conn.Close() }()
	_, err = conn.Write([]byte("\x00\x00\x00\x0a\x00\x12\x00\x00\x00\x00\x00\x01\xff\xff")) // ApiVersions, unencrypted
	require.NoError(t, err)
	answer := make([]byte, 1)
	_, err = conn.Read(answer)
	if err == nil {
		assert.Equal(t, byte(21), answer[0], "an alert of TLS, no answer of Kafka")
	}

	_, err = embedded.Start(t.Context(), embedded.WithTLS(&tls.Config{MinVersion: tls.VersionTLS12}))
	require.ErrorContains(t, err, "valid for 127.0.0.1")
}

func certificate(t *testing.T) (tls.Certificate, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	require.NoError(t, err)
	leaf, err := x509.ParseCertificate(der)
	require.NoError(t, err)
	roots := x509.NewCertPool()
	roots.AddCert(leaf)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}, roots
}

func TestFolderIsForThisUserAlone(t *testing.T) {
	t.Parallel()
	dir := t.TempDir() + "/new"
	start(t, embedded.WithDataDir(dir))
	info, err := os.Stat(dir)
	require.NoError(t, err)
	assert.Equal(t, os.FileMode(0o700), info.Mode().Perm())
}
