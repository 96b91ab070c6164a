package producer_test

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sasl/plain"

	"github.com/expensevault/sharedlibrary/messaging"
	"github.com/expensevault/sharedlibrary/messaging/embedded"
)

// session is a world whose broker ends sessions after two seconds; the password is in the file that it returns.
func session(t *testing.T) (settings, string) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "password")
	require.NoError(t, os.WriteFile(file, []byte("right"), 0o600))
	return settings{
		reader: []kgo.Opt{kgo.SASL(plain.Auth{User: "alice", Pass: "right"}.AsMechanism())},
		broker: []embedded.Option{
			embedded.WithUser("PLAIN", "alice", "right"),
			embedded.WithOptions(kfake.BrokerConfigs(map[string]string{"connections.max.reauth.ms": "2000"})),
		},
		cfg: func(c *messaging.Config) {
			c.SecurityProtocol, c.SASLMechanism = "SASL_PLAINTEXT", "PLAIN"
			c.SASLUsername, c.SASLPasswordFile = "alice", file
		},
	}, file
}

// TestSessionsEnd: connections are replaced before their sessions end, and nobody notices.
func TestSessionsEnd(t *testing.T) {
	t.Parallel()
	s, _ := session(t)
	inBubble(t, s, func(w *world) {
		for n := range 600 {
			w.say(n)
			w.sleep(50 * time.Millisecond)
			w.acked(n)
			if n > 0 {
				require.Less(w, w.answer(n).after, 10*time.Millisecond)
			}
		}
		w.tap.mu.Lock()
		dials := len(w.tap.dials)
		w.tap.mu.Unlock()
		require.Greater(w, dials, 15, "one every 1.6 seconds")
		require.Len(w, w.truth(), 600)
	})
}

// TestPasswordIsReplacedUnderLoad: for three seconds the file holds what the broker does not accept, in the shortest of
// sessions. No event fails, and the first is acknowledged at most a second after the right password is there.
func TestPasswordIsReplacedUnderLoad(t *testing.T) {
	t.Parallel()
	s, file := session(t)
	inBubble(t, s, func(w *world) {
		write := func(password string) {
			w.Helper()
			require.NoError(w, os.WriteFile(file, []byte(password), 0o600))
		}
		n := 0
		say := func(d time.Duration) {
			for end := time.Now().Add(d); time.Now().Before(end); n++ {
				w.say(n)
				w.sleep(50 * time.Millisecond)
			}
		}
		for range 5 {
			say(5 * time.Second)
			write("wrong")
			w.cut() // as a real broker does when a session ends, which this one does not
			say(3 * time.Second)
			write("right")
			back := n
			say(time.Second)
			w.say(n)
			n++
			w.sleep(time.Second)
			require.True(w, w.answered(back), "a second is enough")
		}
		w.flush()
		for i := range n {
			w.acked(i)
		}
		w.truth()
	})
}

// TestPasswordIsWrongForGood: who was accepted once is told after a few seconds, and the broker is asked rarely then.
func TestPasswordIsWrongForGood(t *testing.T) {
	t.Parallel()
	s, file := session(t)
	inBubble(t, s, func(w *world) {
		w.first()
		require.NoError(w, os.WriteFile(file, []byte("wrong"), 0o600))
		w.cut()
		w.say(1)
		w.sleep(5 * time.Second)
		w.failed(1, messaging.ErrAuthentication, false)
		w.sleep(time.Minute)
		w.tap.mu.Lock()
		before := len(w.tap.dials)
		w.tap.mu.Unlock()
		for n := range 46 {
			w.say(10 + n)
			w.sleep(time.Second + aLittle) // a pause between two tries may have to pass
			w.failed(10+n, messaging.ErrAuthentication, false)
		}
		w.tap.mu.Lock()
		dials := len(w.tap.dials) - before
		w.tap.mu.Unlock()
		require.LessOrEqual(w, dials, 4)
		require.NoError(w, os.WriteFile(file, []byte("right"), 0o600))
		w.say(2)
		w.sleep(time.Second)
		w.acked(2)
		w.truth()
	})
}
