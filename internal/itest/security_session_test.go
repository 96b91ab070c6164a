package itest

import (
	"context"
	"crypto/pbkdf2"
	"crypto/sha256"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/expensevault/sharedlibrary/messaging"
)

// TestSessions: on the listener whose sessions end after two seconds, events are published, delivered and committed for many
// sessions, in the midst of which the password is replaced: none is lost, doubled, late or out of order.
func TestSessions(t *testing.T) {
	t.Parallel()
	b := secured(t)
	topic := b.topic(t, 3)
	user, password := b.name("user"), filepath.Join(t.TempDir(), "password")
	b.mayEverything(t, user)
	b.setPassword(t, user, "first")
	require.NoError(t, os.WriteFile(password, []byte("first"), 0o600))

	cfg := securedConfig(t, b, "KAFKA_TEST_SASL_PLAINTEXT_BOOTSTRAP", "SASL_PLAINTEXT", topic)
	cfg.SASLMechanism, cfg.SASLUsername, cfg.SASLPasswordFile = "SCRAM-SHA-256", user, password
	got := make(chan int, 10_000)
	var mux messaging.Mux
	messaging.Handle(&mux, func(_ context.Context, e *keyed) error {
		got <- e.N
		return nil
	})
	stop := subscribe(t, cfg, b.name("group"), &mux)

	p := newPublisher(t, cfg)
	var mu sync.Mutex
	var slowest time.Duration
	n := 0
	publish := func(d time.Duration) {
		every := time.NewTicker(10 * time.Millisecond)
		defer every.Stop()
		for end := time.Now().Add(d); time.Now().Before(end); n++ {
			begin := time.Now()
			p.PublishAsync(context.WithoutCancel(t.Context()), &keyed{Key: "k", N: n}, func(_ messaging.Receipt, err error) {
				assert.NoError(t, err) //nolint:testifylint // on another goroutine
				mu.Lock()
				defer mu.Unlock()
				slowest = max(slowest, time.Since(begin))
			})
			<-every.C
		}
	}
	publish(5 * time.Second)
	require.NoError(t, p.Flush(t.Context()))
	t.Logf("%d events over two sessions, the slowest acknowledged after %s", n, slowest)
	slowest = 0

	b.setPassword(t, user, "second")
	publish(2 * time.Second) // the first password is refused from the end of the session on
	require.NoError(t, os.WriteFile(password, []byte("second"), 0o600))
	publish(3 * time.Second)
	require.NoError(t, p.Flush(t.Context()))
	t.Logf("%d events with a new password, the slowest acknowledged after %s", n, slowest)

	for i, v := range receive(t, got, n) {
		require.Equal(t, i, v)
	}
	stop()
	require.Empty(t, got)
}

// mayEverything gives a user the rights on topics and groups.
func (b broker) mayEverything(t *testing.T, user string) {
	t.Helper()
	var acls []kafka.ACLEntry
	for _, kind := range []kafka.ResourceType{kafka.ResourceTypeTopic, kafka.ResourceTypeGroup} {
		acls = append(acls, kafka.ACLEntry{
			ResourceType: kind, ResourceName: "*", ResourcePatternType: kafka.PatternTypeLiteral,
			Principal: "User:" + user, Host: "*", Operation: kafka.ACLOperationTypeAll, PermissionType: kafka.ACLPermissionTypeAllow,
		})
	}
	res, err := b.admin().CreateACLs(t.Context(), &kafka.CreateACLsRequest{ACLs: acls})
	require.NoError(t, err)
	for _, err := range res.Errors {
		require.NoError(t, err)
	}
}

// setPassword sets a user's password for SCRAM-SHA-256.
func (b broker) setPassword(t *testing.T, user, password string) {
	t.Helper()
	const iterations = 4096
	salt := []byte("a salt for tests")
	salted, err := pbkdf2.Key(sha256.New, password, salt, iterations, sha256.Size)
	require.NoError(t, err)
	res, err := b.admin().AlterUserScramCredentials(t.Context(), &kafka.AlterUserScramCredentialsRequest{Upsertions: []kafka.UserScramCredentialsUpsertion{
		{Name: user, Mechanism: kafka.ScramMechanismSha256, Iterations: iterations, Salt: salt, SaltedPassword: salted},
	}})
	require.NoError(t, err)
	for _, r := range res.Results {
		require.NoError(t, r.Error)
	}
}
