package itest

import (
	"context"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/expensevault/sharedlibrary/messaging"
)

// groupSeeks: a stopped group is set back and forth, and handles from there; Lag agrees with what Kafka's own clients say.
func groupSeeks(t *testing.T, b broker) {
	c := newConsuming(t, b, 1)
	got := make(chan int, 100)
	messaging.Handle(&c.mux, func(_ context.Context, e *numbered) error { got <- e.N; return nil })
	begin := time.Now().Add(-time.Hour).Truncate(time.Millisecond)
	var recs []kafka.Record
	for n := range 5 {
		r := c.record(t, &numbered{Key: "k", N: n})
		r.Time = begin.Add(time.Duration(n) * time.Minute)
		recs = append(recs, r)
	}
	c.produce(t, recs...)
	s, err := messaging.NewSubscriber(c.cfg, c.group, &c.mux)
	require.NoError(t, err)
	p0 := messaging.TopicPartition{Topic: c.topic, Partition: 0}

	lag := func() messaging.PartitionLag {
		t.Helper()
		lags, err := s.Lag(t.Context())
		require.NoError(t, err)
		require.Len(t, lags, 1)
		return lags[0]
	}
	handles := func(want ...int) {
		t.Helper()
		stop := c.run(t)
		for _, n := range want {
			assert.Equal(t, n, next(t, got))
		}
		stop()
		assert.Empty(t, got)
		assert.Equal(t, messaging.PartitionLag{TopicPartition: p0, Committed: 5, Start: 0, End: 5, Lag: 0}, lag())
	}
	assert.Equal(t, messaging.PartitionLag{TopicPartition: p0, Committed: -1, Start: 0, End: 5, Lag: 5}, lag())
	handles(0, 1, 2, 3, 4)
	require.NoError(t, s.Seek(t.Context(), messaging.SeekEarliest()))
	assert.Equal(t, int64(5), lag().Lag)
	handles(0, 1, 2, 3, 4)
	require.NoError(t, s.Seek(t.Context(), messaging.SeekTime(begin.Add(90*time.Second))))
	assert.Equal(t, int64(2), c.committed(t), "as another client sees it")
	handles(2, 3, 4)
	require.NoError(t, s.Seek(t.Context(), messaging.SeekTime(begin.Add(24*time.Hour))), "later than all: the end")
	assert.Equal(t, int64(5), c.committed(t))
	require.NoError(t, s.Seek(t.Context(), messaging.SeekOffsets(map[messaging.TopicPartition]int64{p0: 4})))
	handles(4)
	require.NoError(t, messaging.SeekGroup(t.Context(), c.cfg, c.group, messaging.SeekEarliest(), "itest.story.numbered"))
	require.NoError(t, messaging.SeekGroup(t.Context(), c.cfg, c.group, messaging.SeekLatest(), "itest.story.numbered"))
	assert.Equal(t, int64(5), c.committed(t))

	require.ErrorContains(t, s.Seek(t.Context(), messaging.SeekOffsets(map[messaging.TopicPartition]int64{p0: 6})), "give 0 to 5")
	require.ErrorContains(t, s.Seek(t.Context(), messaging.SeekOffsets(map[messaging.TopicPartition]int64{{Topic: c.topic, Partition: 7}: 0})), "not a partition")
	require.ErrorContains(t, s.Seek(t.Context(), messaging.SeekTarget{}), "no target")
	require.ErrorIs(t, messaging.SeekGroup(t.Context(), c.cfg, c.group, messaging.SeekLatest(), "no.such.topic"), messaging.ErrUnknownTopic)

	lags, err := messaging.GroupLag(t.Context(), c.cfg, c.group)
	require.NoError(t, err)
	assert.Equal(t, []messaging.PartitionLag{{TopicPartition: p0, Committed: 5, Start: 0, End: 5, Lag: 0}}, lags, "of all that it has a position in")
	lags, err = messaging.GroupLag(t.Context(), c.cfg, b.name("nobody"))
	require.NoError(t, err)
	assert.Empty(t, lags)
}

// seekIsRefused: whoever has members keeps its offsets.
func seekIsRefused(t *testing.T, b broker) {
	c := newConsuming(t, b, 1)
	got := make(chan int, 100)
	messaging.Handle(&c.mux, func(_ context.Context, e *numbered) error { got <- e.N; return nil })
	c.produce(t, c.record(t, &numbered{Key: "k", N: 0}))
	stop := c.run(t)
	next(t, got)
	err := messaging.SeekGroup(t.Context(), c.cfg, c.group, messaging.SeekEarliest(), "itest.story.numbered")
	var active *messaging.GroupActiveError
	require.ErrorAs(t, err, &active)
	assert.Equal(t, c.group, active.Group)
	require.Len(t, active.Members, 1)
	assert.Contains(t, active.Members[0], c.cfg.ClientID)
	require.ErrorContains(t, err, "stop them all")

	// Had it not been asked: the broker refuses by itself.
	res, err := b.admin().OffsetCommit(t.Context(), &kafka.OffsetCommitRequest{
		GroupID: c.group, GenerationID: -1, Topics: map[string][]kafka.OffsetCommit{c.topic: {{Partition: 0, Offset: 0}}},
	})
	require.NoError(t, err)
	require.ErrorIs(t, res.Topics[c.topic][0].Error, kafka.UnknownMemberId)
	stop()
	require.NoError(t, messaging.SeekGroup(t.Context(), c.cfg, c.group, messaging.SeekEarliest(), "itest.story.numbered"))
	assert.Equal(t, int64(0), c.committed(t))
}
