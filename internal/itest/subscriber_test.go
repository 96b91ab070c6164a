package itest

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"github.com/expensevault/sharedlibrary/events"
	"github.com/expensevault/sharedlibrary/messaging"
	"github.com/expensevault/sharedlibrary/tracing"
)

// consuming is a topic with its dead-letter topic, and a group that reads it.
type consuming struct {
	b           broker
	topic, dead string
	group       string
	mux         messaging.Mux
	cfg         messaging.Config
	quick       messaging.SubscriberOption
}

func newConsuming(t *testing.T, b broker, partitions int) *consuming {
	t.Helper()
	// Some records are older than the broker's retention.
	kept := kafka.ConfigEntry{ConfigName: "retention.ms", ConfigValue: "-1"}
	c := &consuming{b: b, topic: b.topic(t, partitions, kept), group: b.name("group")}
	c.dead = c.topic + "-dlt"
	c.cfg = b.storyConfig(c.topic)
	c.quick = messaging.WithRetry(3, 10*time.Millisecond, 20*time.Millisecond)
	return c
}

func (c *consuming) createDead(t *testing.T) {
	t.Helper()
	_, err := messaging.EnsureTopics(t.Context(), c.cfg, messaging.TopicSpec{Name: c.dead, Partitions: 2, ReplicationFactor: 1})
	require.NoError(t, err)
}

// run starts a subscriber; stop ends it, and fails the test unless it ends well and soon.
func (c *consuming) run(t *testing.T, opts ...messaging.SubscriberOption) (stop func()) {
	t.Helper()
	s, err := messaging.NewSubscriber(c.cfg, c.group, &c.mux, append([]messaging.SubscriberOption{c.quick}, opts...)...)
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	var once sync.Once
	stop = func() {
		once.Do(func() {
			cancel()
			select {
			case err := <-done:
				assert.NoError(t, err) //nolint:testifylint // it runs as a cleanup too
			case <-time.After(20 * time.Second):
				assert.Fail(t, "Run did not end")
			}
		})
	}
	t.Cleanup(stop)
	return stop
}

// produce writes records by another client than ours, to partition 0.
func (c *consuming) produce(t *testing.T, records ...kafka.Record) {
	t.Helper()
	res, err := c.b.admin().Produce(t.Context(), &kafka.ProduceRequest{
		Topic: c.topic, Partition: 0, RequiredAcks: kafka.RequireAll, Records: kafka.NewRecordReader(records...),
	})
	require.NoError(t, err)
	require.NoError(t, res.Error)
}

func (c *consuming) record(t *testing.T, e events.IntegrationEvent) kafka.Record {
	t.Helper()
	r, err := messaging.Encode(t.Context(), e)
	require.NoError(t, err)
	return kafka.Record{Key: protocol.NewBytes(r.Key), Value: protocol.NewBytes(r.Value), Headers: r.Headers, Time: r.Timestamp}
}

// committed is where the group stands in partition 0; -1: nowhere.
func (c *consuming) committed(t *testing.T) int64 {
	t.Helper()
	res, err := c.b.admin().OffsetFetch(t.Context(), &kafka.OffsetFetchRequest{GroupID: c.group, Topics: map[string][]int{c.topic: {0}}})
	require.NoError(t, err)
	require.NoError(t, res.Error)
	require.Len(t, res.Topics[c.topic], 1)
	return res.Topics[c.topic][0].CommittedOffset
}

// next waits for what a handler reports.
func next[T any](t *testing.T, ch <-chan T) T {
	t.Helper()
	select {
	case v := <-ch:
		return v
	case <-time.After(30 * time.Second):
		require.Fail(t, "nothing more was handled")
		panic("unreachable")
	}
}

// subscribeCarriesContext: what began with an HTTP request is one story and one trace through two services.
func subscribeCarriesContext(t *testing.T, b broker) {
	otel.SetTextMapPropagator(propagation.TraceContext{}) // without a span in ctx, as in the other tests, it does nothing
	created, deleted := b.topic(t, 2), b.topic(t, 2)
	cfg := b.config(map[string]string{"customservice.item.created": created, "customservice.item.deleted": deleted})
	pub := newPublisher(t, cfg)

	type seen struct {
		event                  *itemDeleted
		correlation, causation string
		trace                  trace.TraceID
		delivery               messaging.Delivery
	}
	got := make(chan seen, 10)
	c := &consuming{b: b, topic: created, group: b.name("group"), cfg: cfg, quick: messaging.WithRetry(1, 0, 0)}
	messaging.Handle(&c.mux, func(ctx context.Context, e *itemCreated) error {
		return pub.Publish(ctx, &itemDeleted{CustomItemID: e.CustomItemID, UserID: e.UserID})
	})
	messaging.Handle(&c.mux, func(ctx context.Context, e *itemDeleted) error {
		d, _ := messaging.DeliveryFrom(ctx)
		got <- seen{e, tracing.CorrelationID(ctx), tracing.CausationID(ctx), trace.SpanContextFromContext(ctx).TraceID(), d}
		return nil
	})
	c.run(t)

	span := trace.NewSpanContext(trace.SpanContextConfig{TraceID: trace.TraceID{1, 2, 3}, SpanID: trace.SpanID{4}, TraceFlags: trace.FlagsSampled})
	ctx := trace.ContextWithSpanContext(tracing.WithCorrelationID(t.Context(), "request-17"), span)
	first := &itemCreated{CustomItemID: uuid.New(), UserID: uuid.New(), Name: "n"}
	require.NoError(t, pub.Publish(ctx, first))

	s := next(t, got)
	assert.Equal(t, first.CustomItemID, s.event.CustomItemID)
	assert.Equal(t, "request-17", s.event.CorrelationID)
	assert.Equal(t, "request-17", s.correlation)
	assert.Equal(t, first.EventID.String(), s.event.CausationID, "caused by the event that was handled")
	assert.Equal(t, s.event.EventID.String(), s.causation)
	assert.Equal(t, span.TraceID(), s.trace)
	assert.Equal(t, deleted, s.delivery.Topic)
	assert.Equal(t, int64(0), s.delivery.Offset)
	assert.Equal(t, 1, s.delivery.Attempt)
	assert.Equal(t, c.group, s.delivery.Group)
	assert.Equal(t, first.UserID.String(), string(s.delivery.Key))
	assert.True(t, s.event.Timestamp.Equal(s.delivery.Time))
}

// subscribeWithoutHeaders: what another client writes without any header, in .NET's spelling, is handled.
func subscribeWithoutHeaders(t *testing.T, b broker) {
	c := newConsuming(t, b, 1)
	got := make(chan numbered, 10)
	messaging.Handle(&c.mux, func(_ context.Context, e *numbered) error { got <- *e; return nil })
	c.run(t)
	kcat(t, strings.NewReader(`{"eventId":"3FA85F64-5717-4562-B3FC-2C963F66AFA6","timestamp":"2025-11-30T10:30:00.1234567+00:00",`+
		`"eventType":"numbered","eventVersion":"1.0","sourceService":"itest","correlationId":null,"key":"k","n":5,"later":{}}`),
		"-P", "-b", b.address, "-t", c.topic)
	e := next(t, got)
	assert.Equal(t, 5, e.N)
	assert.Equal(t, "3fa85f64-5717-4562-b3fc-2c963f66afa6", e.EventID.String())
	assert.Equal(t, time.Date(2025, 11, 30, 10, 30, 0, 123456700, time.UTC), e.Timestamp)
}

// subscribePoison: one poison record, one dead letter, complete; and its key goes on.
func subscribePoison(t *testing.T, b broker) {
	c := newConsuming(t, b, 1)
	c.createDead(t)
	got := make(chan int, 10)
	messaging.Handle(&c.mux, func(_ context.Context, e *numbered) error { got <- e.N; return nil })
	when := time.Date(2025, 11, 30, 10, 30, 0, 123e6, time.UTC)
	poison := []byte("{\"n\": \xff\x00 \"broken")
	headers := []kafka.Header{
		{Key: "binary", Value: []byte{0, 1, 0xff}},
		{Key: "twice", Value: []byte("1")},
		{Key: "twice", Value: []byte("2")},
		{Key: "empty", Value: []byte{}},
		{Key: "dlt-attempts", Value: []byte("99")},
	}
	c.produce(t, c.record(t, &numbered{Key: "k", N: 0}),
		kafka.Record{Key: protocol.NewBytes([]byte("k")), Value: protocol.NewBytes(poison), Headers: headers, Time: when},
		c.record(t, &numbered{Key: "k", N: 1}),
		kafka.Record{Key: protocol.NewBytes([]byte("k")), Time: when}, // a tombstone
		c.record(t, &numbered{Key: "k", N: 2}))
	stop := c.run(t)
	for n := range 3 {
		assert.Equal(t, n, next(t, got))
	}
	stop()
	assert.Equal(t, int64(5), c.committed(t))
	assert.Empty(t, got)

	dead := b.records(t, c.dead)
	require.Len(t, dead, 2)
	if dead[0].Value == nil {
		dead[0], dead[1] = dead[1], dead[0]
	}
	assert.Equal(t, "k", string(dead[0].Key))
	assert.Equal(t, poison, dead[0].Value)
	own := map[string]string{}
	var theirs []kafka.Header
	for _, h := range dead[0].Headers {
		if !strings.HasPrefix(h.Key, "dlt-") {
			theirs = append(theirs, h)
			continue
		}
		require.NotContains(t, own, h.Key, "once")
		own[h.Key] = string(h.Value)
	}
	require.Len(t, theirs, 4)
	for i, h := range headers[:4] {
		assert.Equal(t, h.Key, theirs[i].Key)
		assert.Equal(t, string(h.Value), string(theirs[i].Value))
	}
	assert.Contains(t, own["dlt-error-message"], "not valid UTF-8")
	failed, err := time.Parse(time.RFC3339, own["dlt-failed-at"])
	require.NoError(t, err)
	assert.WithinDuration(t, time.Now(), failed, time.Minute)
	delete(own, "dlt-error-message")
	delete(own, "dlt-failed-at")
	assert.Equal(t, map[string]string{
		"dlt-original-topic": c.topic, "dlt-original-partition": "0", "dlt-original-offset": "1",
		"dlt-original-timestamp": "2025-11-30T10:30:00.123Z", "dlt-original-consumer-group": c.group,
		"dlt-error-type": "decode_error", "dlt-attempts": "1",
	}, own)
	assert.Nil(t, dead[1].Value, "a tombstone stays one")
}

// subscribeRetries: a handler that fails, panics and then succeeds is called in order, and leaves no dead letter.
func subscribeRetries(t *testing.T, b broker) {
	c := newConsuming(t, b, 1)
	c.createDead(t)
	type call struct{ n, attempt int }
	got := make(chan call, 10)
	messaging.Handle(&c.mux, func(ctx context.Context, e *numbered) error {
		d, _ := messaging.DeliveryFrom(ctx)
		got <- call{e.N, d.Attempt}
		switch {
		case e.N == 0 && d.Attempt == 1:
			return errors.New("not yet")
		case e.N == 0 && d.Attempt == 2:
			panic("not yet")
		}
		return nil
	})
	c.produce(t, c.record(t, &numbered{Key: "k", N: 0}), c.record(t, &numbered{Key: "k", N: 1}))
	stop := c.run(t)
	for _, want := range []call{{0, 1}, {0, 2}, {0, 3}, {1, 1}} {
		assert.Equal(t, want, next(t, got))
	}
	stop()
	assert.Equal(t, int64(2), c.committed(t))
	assert.Empty(t, b.records(t, c.dead))
}

// subscribeGivesUp: a handler that always fails, or panics, sends the record to the dead letters, and the key goes on.
func subscribeGivesUp(t *testing.T, b broker) {
	c := newConsuming(t, b, 1)
	c.createDead(t)
	var calls atomic.Int64
	got := make(chan int, 10)
	messaging.Handle(&c.mux, func(_ context.Context, e *numbered) error {
		calls.Add(1)
		switch e.N {
		case 0:
			return errors.New("never")
		case 1:
			panic("never")
		}
		got <- e.N
		return nil
	})
	for n := range 3 {
		c.produce(t, c.record(t, &numbered{Key: "k", N: n}))
	}
	stop := c.run(t)
	assert.Equal(t, 2, next(t, got))
	stop()
	assert.Equal(t, int64(3+3+1), calls.Load())
	assert.Equal(t, int64(3), c.committed(t))
	dead := b.records(t, c.dead)
	require.Len(t, dead, 2)
	types := map[string]string{}
	for _, r := range dead {
		h := map[string]string{}
		for _, header := range r.Headers {
			h[header.Key] = string(header.Value)
		}
		types[h["dlt-original-offset"]] = h["dlt-error-type"] + " " + h["dlt-error-message"] + " " + h["dlt-attempts"]
	}
	assert.Equal(t, map[string]string{"0": "*errors.errorString never 3", "1": "panic panic: never 3"}, types)
}

// subscribeNoDeadTopic: while the dead-letter topic is missing the offset stays, also through a restart; then all goes on.
func subscribeNoDeadTopic(t *testing.T, b broker) {
	c := newConsuming(t, b, 1)
	failed, got := make(chan struct{}, 100), make(chan int, 10)
	messaging.Handle(&c.mux, func(_ context.Context, e *numbered) error {
		if e.N == 1 {
			failed <- struct{}{}
			return messaging.Permanent(errors.New("never"))
		}
		got <- e.N
		return nil
	})
	for n := range 3 {
		c.produce(t, c.record(t, &numbered{Key: "k", N: n}))
	}
	stop := c.run(t)
	assert.Equal(t, 0, next(t, got))
	next(t, failed)
	stop()
	assert.Equal(t, int64(1), c.committed(t), "behind the record that was finished")
	stop = c.run(t)
	next(t, failed)
	assert.Empty(t, got, "what comes after it waits")
	c.createDead(t)
	assert.Equal(t, 2, next(t, got))
	stop()
	assert.Equal(t, int64(3), c.committed(t))
	dead := b.records(t, c.dead)
	require.Len(t, dead, 1)
	assert.Contains(t, string(dead[0].Value), `"n":1`)
}

// subscribeResumes: a subscriber that was stopped while it was busy goes on where it stopped, and nothing is handled twice.
func subscribeResumes(t *testing.T, b broker) {
	const n = 200
	c := newConsuming(t, b, 3)
	pub := newPublisher(t, c.cfg)
	for i := range n {
		require.NoError(t, pub.Publish(t.Context(), &numbered{Key: strconv.Itoa(i % 7), N: i / 7}))
	}
	var mu sync.Mutex
	handled := map[string][]int{}
	total := make(chan int, n)
	messaging.Handle(&c.mux, func(_ context.Context, e *numbered) error {
		mu.Lock()
		defer mu.Unlock()
		handled[e.Key] = append(handled[e.Key], e.N)
		total <- 1
		return nil
	})
	for seen := 0; seen < n; {
		stop := c.run(t)
		for range min(60, n-seen) {
			next(t, total)
			seen++
		}
		stop()
		for ; len(total) > 0; seen++ {
			<-total
		}
	}
	mu.Lock()
	defer mu.Unlock()
	require.Len(t, handled, 7)
	for key, ns := range handled {
		for i, got := range ns {
			require.Equal(t, i, got, "key %s: %v", key, ns)
		}
	}
}

// subscribeLargePoison: what the source topic took, its dead-letter topic takes, although it is more than we publish ourselves.
func subscribeLargePoison(t *testing.T, b broker) {
	c := newConsuming(t, b, 1)
	c.createDead(t)
	got := make(chan int, 10)
	messaging.Handle(&c.mux, func(_ context.Context, e *numbered) error { got <- e.N; return nil })
	large := strings.Repeat("x", 1_040_000)
	c.produce(t, kafka.Record{Key: protocol.NewBytes([]byte("k")), Value: protocol.NewBytes([]byte(large))})
	c.produce(t, c.record(t, &numbered{Key: "k", N: 1}))
	stop := c.run(t)
	assert.Equal(t, 1, next(t, got))
	stop()
	dead := b.records(t, c.dead)
	require.Len(t, dead, 1)
	assert.Len(t, dead[0].Value, len(large))
}

// subscribeLargeBatch: what decompresses to more than is allowed ends Run, which says what to do about it, and doing so helps.
func subscribeLargeBatch(t *testing.T, b broker) {
	c := newConsuming(t, b, 1)
	got := make(chan int, 10)
	messaging.HandleRecord(&c.mux, (*numbered)(nil).Topic().String(), func(_ context.Context, r messaging.Record) error {
		got <- len(r.Value)
		return nil
	})
	const large = 17 << 20
	res, err := b.admin().Produce(t.Context(), &kafka.ProduceRequest{
		Topic: c.topic, Partition: 0, RequiredAcks: kafka.RequireAll, Compression: kafka.Gzip,
		Records: kafka.NewRecordReader(kafka.Record{Value: protocol.NewBytes(make([]byte, large))}),
	})
	require.NoError(t, err)
	require.NoError(t, res.Error)
	s, err := messaging.NewSubscriber(c.cfg, c.group, &c.mux)
	require.NoError(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	err = s.Run(ctx)
	require.ErrorContains(t, err, "raise WithMaxBatchBytes, which is 16777216")
	require.ErrorContains(t, err, "offset 0 of "+c.topic+"/0")
	assert.Empty(t, got)
	c.run(t, messaging.WithMaxBatchBytes(18<<20))
	assert.Equal(t, large, next(t, got))
}

// subscribeLatest: a new group may begin with what comes, and an old one is not moved by it.
func subscribeLatest(t *testing.T, b broker) {
	c := newConsuming(t, b, 1)
	got := make(chan int, 100)
	messaging.Handle(&c.mux, func(_ context.Context, e *numbered) error { got <- e.N; return nil })
	c.produce(t, c.record(t, &numbered{Key: "k", N: 0}))
	stop := c.run(t, messaging.WithStartLatest())
	// When it has joined cannot be seen from outside: something arrives some time.
	n, first := 0, -1
	for first < 0 {
		n++
		c.produce(t, c.record(t, &numbered{Key: "k", N: n}))
		select {
		case first = <-got:
		case <-time.After(100 * time.Millisecond):
		}
	}
	assert.Positive(t, first, "not what was there before")
	for first < n {
		first = next(t, got)
	}
	stop()
	c.produce(t, c.record(t, &numbered{Key: "k", N: n + 1}))
	c.run(t, messaging.WithStartLatest())
	assert.Equal(t, n+1, next(t, got), "the group has a position")
}

// A subscriber that is not let in says so, and does not wait for ever.
func TestSubscriberIsRefused(t *testing.T) {
	t.Parallel()
	b := secured(t)
	run := func(t *testing.T, user, password string) error {
		t.Helper()
		topic, group := b.topic(t, 1), b.name("group")
		cfg := as(t, securedConfig(t, b, "KAFKA_TEST_SASL_PLAINTEXT_BOOTSTRAP", "SASL_PLAINTEXT", topic), "SCRAM-SHA-256", user)
		if password != "" {
			cfg.SASLPassword = messaging.Secret(password)
		}
		var mux messaging.Mux
		messaging.Handle(&mux, func(context.Context, *keyed) error { return nil })
		s, err := messaging.NewSubscriber(cfg, group, &mux)
		require.NoError(t, err)
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		err = s.Run(ctx)
		require.Error(t, err)
		assert.NotContains(t, fmt.Sprintf("%+v", err), string(cfg.SASLPassword))
		assert.ErrorContains(t, err, group)
		return err
	}
	t.Run("wrong password", func(t *testing.T) {
		t.Parallel()
		require.ErrorIs(t, run(t, "alice", "not-the-right-one"), messaging.ErrAuthentication)
	})
	t.Run("no rights", func(t *testing.T) {
		t.Parallel()
		require.ErrorIs(t, run(t, "bob", ""), messaging.ErrNotAuthorized)
	})
}
