package consumer

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/expensevault/sharedlibrary/internal/recordbatch"
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

func TestAPushEndsWithTheSession(t *testing.T) {
	t.Parallel()
	f := testFetcher(t, topicPartition{"t", 0})
	f.push(f.order[0], emptySet(t))
	f.s.stopFeed()
	f.push(f.order[0], emptySet(t))
	assert.Len(t, f.order[0].p.queue, 1)
}

// emptySet is a set of no batch at offset 7.
func emptySet(t *testing.T) *recordbatch.Reader {
	t.Helper()
	set, err := recordbatch.Open(nil, recordbatch.DecodeParams{Topic: "t", Partition: 0, Offset: 7, Aborted: nil, MaxBatchBytes: 1})
	require.NoError(t, err)
	return set
}

func TestAnOutageEndsWithTheSession(t *testing.T) {
	t.Parallel()
	o := &outage{log: slog.New(slog.DiscardHandler)}
	o.fail(t.Context(), "commits", assert.AnError)
	o.fail(t.Context(), coordinatorDown, assert.AnError)
	o.end()
	assert.Equal(t, map[string]struct{}{coordinatorDown: {}}, o.bad)
}

func TestAStaticMemberNeedsBrokersThatKnowOne(t *testing.T) {
	t.Parallel()
	assert.EqualValues(t, 5, joinRequest(&Params{InstanceID: "i"}, "", nil).low)
}

func TestTopicsThatAreNotOursAreLeftAlone(t *testing.T) {
	t.Parallel()
	f := testFetcher(t)
	f.s.p.Topics = []string{"a"}
	s := newSession(t.Context(), f.s.m, &generation{assigned: []topicPartitions{{"a", []int32{1}}, {"b", []int32{2}}}}, nil)
	assert.Len(t, s.parts, 1)
	assert.Equal(t, []string{"b"}, s.stray)
	s.stopFeed()
	s.stopWork()
	s.stopLife()
}
