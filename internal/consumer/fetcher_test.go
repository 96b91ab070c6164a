package consumer

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

// testFetcher fetches partitions of broker 1, which it never reaches.
func testFetcher(t *testing.T, tps ...topicPartition) *fetcher {
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	p := testParams()
	s := &session{m: &member{p: p, log: log, out: &outage{log: log}}, p: p, log: log}
	s.feed, s.stopFeed = context.WithCancel(t.Context())
	t.Cleanup(s.stopFeed)
	for _, tp := range tps {
		part := newPartition(tp)
		part.committed = 5
		s.parts = append(s.parts, part)
	}
	f := newFetcher(s)
	for _, c := range f.order {
		c.leader = 1
	}
	return f
}

// A pause that ends between two steps of one turn must not be overlooked by both.
func TestEveryPauseIsWaitedFor(t *testing.T) {
	t.Parallel()
	f := testFetcher(t, topicPartition{"t", 0})
	c, now := f.order[0], time.Now().Add(-time.Minute) // each step is late
	f.refreshing = true
	c.at = now.Add(time.Millisecond)
	f.dispatch(now)
	assert.False(t, c.busy)
	assert.Equal(t, time.Millisecond, f.nextTry(now))

	c.at, f.broker(1).at = time.Time{}, now.Add(time.Millisecond)
	f.dispatch(now)
	assert.False(t, c.busy)
	assert.Equal(t, time.Millisecond, f.nextTry(now))

	f.broker(1).at = time.Time{}
	f.refreshing, f.stale, f.refreshAt = false, true, now.Add(time.Millisecond)
	f.refresh(now)
	assert.False(t, f.refreshing)
	assert.Equal(t, time.Millisecond, f.nextTry(now))
}
