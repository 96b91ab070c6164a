package producer_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/expensevault/sharedlibrary/messaging"
)

// TestLinger: events wait for company as long as the setting says, and no longer than until a flush.
func TestLinger(t *testing.T) {
	t.Parallel()
	const linger = 50 * time.Millisecond
	inBubble(t, settings{cfg: func(c *messaging.Config) { c.Linger = linger }}, func(w *world) {
		w.first()
		begin, before := time.Now(), len(w.tap.requests())
		w.say(1)
		w.sleep(linger / 2)
		w.say(2)
		w.sleep(linger)
		rs := w.tap.requests()[before:]
		require.Len(w, rs, 1, "one request with both")
		require.Equal(w, linger, rs[0].at.Sub(begin))
		w.acked(1, 2)

		w.say(3)
		begin = time.Now()
		w.flush()
		require.Less(w, time.Since(begin), linger)
		w.acked(3)
		w.stands(0, 1, 2, 3)
	})
}

// TestIdlePublisherSendsAtOnce, and a busy one gathers, but not for long where answers are slow.
func TestIdlePublisherSendsAtOnce(t *testing.T) {
	t.Parallel()
	inBubble(t, settings{}, func(w *world) {
		w.first()
		w.tap.do(slowly(func(*request) act { return act{} }))
		begin, before := time.Now(), len(w.tap.requests())
		w.say(1)
		require.Len(w, w.tap.requests(), before+1)
		w.say(2)
		w.say(3)
		require.Len(w, w.tap.requests(), before+1, "they wait for company")
		w.sleep(answersTake / 2)
		rs := w.tap.requests()[before:]
		require.Len(w, rs, 2)
		require.Less(w, rs[1].at.Sub(begin), 10*time.Millisecond)
		w.flush()
		w.stands(0, 1, 2, 3)
	})
}
