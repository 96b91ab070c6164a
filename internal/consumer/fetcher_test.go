package consumer

import (
	"log/slog"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

// testFetcher fetches partitions of broker 1, which it never reaches.
func testFetcher(t *testing.T, tps ...topicPartition) *fetcher {
	t.Helper()
	p := testParams()
	s := newSession(t.Context(), newMember(p, slog.New(slog.DiscardHandler)), &generation{}, nil)
	t.Cleanup(func() {
		s.stopFeed()
		s.stopWork()
		s.stopLife()
	})
	f := s.fetcher
	for _, tp := range tps {
		s.take(tp)
		f.cursors[tp] = &cursor{p: s.owned[tp], next: 5, leader: -1, epoch: -1}
		f.order = append(f.order, f.cursors[tp])
	}
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
	f.push(f.order[0], portion{set: nil, offset: 7}, 7)
	f.s.stopFeed()
	f.push(f.order[0], portion{set: nil, offset: 7}, 7)
	assert.Len(t, f.order[0].p.queue, 1)
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
	assigned, stray := f.s.sorted([]topicPartitions{{"a", []int32{1, 1, -1, 0}}, {"b", []int32{2}}})
	assert.Equal(t, []topicPartition{{"a", 0}, {"a", 1}}, assigned)
	assert.Equal(t, []string{"b"}, stray)
}
