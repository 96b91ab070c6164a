package itest

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/expensevault/sharedlibrary/messaging"
)

// subscribeBatches: all of a partition, in order, in batches; one that cannot be decoded goes to the dead letters alone.
func subscribeBatches(t *testing.T, b broker) {
	const n, broken = 500, 250
	c := newConsuming(t, b, 1)
	c.createDead(t)
	type call struct{ ns []int }
	got := make(chan call, n)
	messaging.HandleBatch(&c.mux, func(_ context.Context, batch []*numbered) error {
		ns := make([]int, len(batch))
		for i, e := range batch {
			ns[i] = e.N
		}
		if i := slices.Index(ns, 400); i >= 0 {
			return messaging.FailedAt(i, messaging.Permanent(errors.New("this one never")))
		}
		got <- call{ns}
		return nil
	}, messaging.WithBatchSize(50))
	var recs []kafka.Record
	for i := range n {
		r := c.record(t, &numbered{Key: "k", N: i})
		if i == broken {
			r.Value = protocol.NewBytes([]byte("{"))
		}
		recs = append(recs, r)
	}
	c.produce(t, recs...)
	stop := c.run(t)
	var all []int
	most := 0
	for len(all) == 0 || all[len(all)-1] != n-1 {
		ns := next(t, got).ns
		most = max(most, len(ns))
		all = append(all, ns...)
	}
	stop()
	assert.LessOrEqual(t, most, 50)
	assert.Greater(t, most, 1)
	require.True(t, slices.IsSorted(all), all)
	assert.NotContains(t, all, broken)
	assert.Equal(t, int64(n), c.committed(t))
	offsets := map[string]string{}
	for _, r := range b.records(t, c.dead) {
		h := map[string]string{}
		for _, header := range r.Headers {
			h[header.Key] = string(header.Value)
		}
		offsets[h["dlt-original-offset"]] = h["dlt-error-type"]
	}
	assert.Equal(t, map[string]string{"250": "decode_error", "400": "*errors.errorString"}, offsets)
}

// subscribeRetryTopics: a record that fails is tried again later, while its key goes on, and ends in the dead letters.
func subscribeRetryTopics(t *testing.T, b broker) {
	c := newConsuming(t, b, 1)
	options := []messaging.SubscriberOption{
		messaging.WithRetry(1, 0, 0), messaging.WithRetryTopics(500*time.Millisecond, time.Second),
	}
	type call struct{ n, attempt int }
	got, at := make(chan call, 100), make(chan time.Time, 100)
	messaging.Handle(&c.mux, func(ctx context.Context, e *numbered) error {
		d, _ := messaging.DeliveryFrom(ctx)
		assert.Equal(t, c.topic, d.Topic)
		assert.Equal(t, int64(e.N), d.Offset, "where it stood at first")
		got <- call{e.N, d.Attempt}
		if e.N == 0 {
			at <- time.Now()
			return errors.New("never")
		}
		return nil
	})
	c.produce(t, c.record(t, &numbered{Key: "k", N: 0}), c.record(t, &numbered{Key: "k", N: 1}))
	s, err := messaging.NewSubscriber(c.cfg, c.group, &c.mux, options...)
	require.NoError(t, err)
	specs := s.SideTopics(messaging.TopicSpec{Partitions: 1, ReplicationFactor: 1})
	var names []string
	for _, spec := range specs {
		names = append(names, spec.Name)
	}
	assert.ElementsMatch(t, []string{c.dead, c.topic + "-retry-1", c.topic + "-retry-2"}, names)
	_, err = messaging.EnsureTopics(t.Context(), c.cfg, specs...)
	require.NoError(t, err)
	stop := c.run(t, options...)
	for _, want := range []call{{0, 1}, {1, 1}, {0, 2}, {0, 3}} {
		assert.Equal(t, want, next(t, got))
	}
	first, second, third := next(t, at), next(t, at), next(t, at)
	assert.GreaterOrEqual(t, second.Sub(first), 499*time.Millisecond)
	assert.GreaterOrEqual(t, third.Sub(second), 999*time.Millisecond)
	require.Eventually(t, func() bool {
		sum := int64(0)
		for _, end := range b.ends(t, c.dead) {
			sum += end
		}
		return sum == 1
	}, 20*time.Second, 50*time.Millisecond)
	stop()
	dead := b.records(t, c.dead)
	require.Len(t, dead, 1)
	letter, err := messaging.ParseDeadLetter(dead[0])
	require.NoError(t, err)
	assert.Equal(t, c.topic, letter.OriginalTopic)
	assert.Equal(t, int64(0), letter.OriginalOffset)
	assert.Equal(t, 3, letter.Attempts)
	lags, err := s.Lag(t.Context())
	require.NoError(t, err)
	for _, l := range lags {
		assert.Zero(t, l.Lag, l)
	}
}

// subscribePauses: what is paused waits, also through another Run, and goes on when it is resumed.
func subscribePauses(t *testing.T, b broker) {
	c := newConsuming(t, b, 1)
	got := make(chan int, 100)
	messaging.Handle(&c.mux, func(_ context.Context, e *numbered) error { got <- e.N; return nil })
	s, err := messaging.NewSubscriber(c.cfg, c.group, &c.mux)
	require.NoError(t, err)
	run := func() (stop func()) {
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- s.Run(ctx) }()
		return func() { cancel(); assert.NoError(t, <-done) }
	}
	stop := run()
	c.produce(t, c.record(t, &numbered{Key: "k", N: 0}))
	assert.Equal(t, 0, next(t, got))
	s.Pause("itest.story.numbered")
	c.produce(t, c.record(t, &numbered{Key: "k", N: 1}))
	quiet := func() {
		t.Helper()
		select {
		case n := <-got:
			assert.Fail(t, "handled while paused", n)
		case <-time.After(1500 * time.Millisecond):
		}
	}
	quiet()
	stop()
	stop = run()
	quiet()
	s.Resume("itest.story.numbered")
	assert.Equal(t, 1, next(t, got))
	stop()
}
