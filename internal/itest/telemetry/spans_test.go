package telemetry_test

import (
	"context"
	"database/sql"
	"errors"
	"log/slog"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"
	_ "modernc.org/sqlite" // the driver sqlite

	"github.com/expensevault/sharedlibrary/messaging"
	"github.com/expensevault/sharedlibrary/messaging/outbox"
	"github.com/expensevault/sharedlibrary/tracing"
)

// TestSendAndProcess is one trace: whoever publishes, the send, the handler, and what the handler publishes.
func TestSendAndProcess(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, s *seen) {
		handled := make(chan trace.SpanContext, 1)
		var mux messaging.Mux
		messaging.Handle(&mux, func(ctx context.Context, _ *happened) error {
			handled <- trace.SpanContextFromContext(ctx)
			return nil
		})
		s.subscribe(t, &mux)

		ctx, root := s.tracers.Tracer("test").Start(tracing.WithCorrelationID(t.Context(), "story-1"), "request")
		e := &happened{Key: "k1"}
		require.NoError(t, s.publisher(t).Publish(ctx, e))
		root.End()
		inside := <-handled

		send := s.ended(t, "send "+s.topic, trace.SpanKindProducer, 1)[0]
		assert.Equal(t, root.SpanContext().SpanID(), send.Parent().SpanID())
		assert.Equal(t, map[string]any{
			"messaging.system": "kafka", "messaging.operation.name": "send", "messaging.operation.type": "send",
			"messaging.destination.name": s.topic, "messaging.client.id": "itest-client",
			"messaging.message.id": e.EventID.String(), "messaging.message.conversation_id": "story-1",
			"messaging.kafka.message.key": "k1", "messaging.destination.partition.id": "0", "messaging.kafka.offset": int64(0),
		}, attrsOf(send))
		assert.Equal(t, codes.Unset, send.Status().Code)

		process := s.ended(t, "process "+s.topic, trace.SpanKindConsumer, 1)[0]
		assert.Equal(t, send.SpanContext().SpanID(), process.Parent().SpanID())
		assert.True(t, process.Parent().IsRemote())
		assert.Equal(t, root.SpanContext().TraceID(), process.SpanContext().TraceID())
		require.Len(t, process.Links(), 1)
		assert.Equal(t, send.SpanContext().SpanID(), process.Links()[0].SpanContext.SpanID())
		assert.Equal(t, map[string]any{
			"messaging.system": "kafka", "messaging.operation.name": "process", "messaging.operation.type": "process",
			"messaging.destination.name": s.topic, "messaging.client.id": "itest-client", "messaging.consumer.group.name": s.group,
			"messaging.message.id": e.EventID.String(), "messaging.message.conversation_id": "story-1",
			"messaging.kafka.message.key": "k1", "messaging.destination.partition.id": "0", "messaging.kafka.offset": int64(0),
			"events.attempt": int64(1),
		}, attrsOf(process))
		assert.Equal(t, process.SpanContext().SpanID(), inside.SpanID(), "the handler works within its span")
		for _, span := range s.spans.Ended() {
			assert.Empty(t, span.Events(), "exceptions are for the log")
		}
	})
}

// TestFailures: each attempt is a span with its error, and the dead letter is written by a span of the same trace.
func TestFailures(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, s *seen) {
		var mux messaging.Mux
		messaging.Handle(&mux, func(context.Context, *happened) error { return errors.New("the shelf is full") })
		s.subscribe(t, &mux, messaging.WithoutMessageKeys())
		require.NoError(t, s.publisher(t).Publish(t.Context(), &happened{Key: "k1"}))

		send := s.ended(t, "send "+s.topic, trace.SpanKindProducer, 1)[0]
		letter := s.ended(t, "send "+s.topic+"-dlt", trace.SpanKindClient, 1)[0]
		attempts := s.ended(t, "process "+s.topic, trace.SpanKindConsumer, 2)
		for i, span := range attempts {
			assert.Equal(t, codes.Error, span.Status().Code)
			assert.Equal(t, "the shelf is full", span.Status().Description)
			assert.Equal(t, "*errors.errorString", attrsOf(span)["error.type"])
			assert.Equal(t, int64(i+1), attrsOf(span)["events.attempt"])
			assert.NotContains(t, attrsOf(span), "messaging.kafka.message.key")
			assert.Equal(t, send.SpanContext().SpanID(), span.Parent().SpanID())
		}
		assert.Equal(t, attempts[1].SpanContext().SpanID(), letter.Parent().SpanID(), "because of the last attempt")
		require.Len(t, letter.Links(), 1)
		assert.Equal(t, send.SpanContext().SpanID(), letter.Links()[0].SpanContext.SpanID(), "the record keeps its context")
		assert.Equal(t, int64(1), attrsOf(letter)["messaging.batch.message_count"])
		assert.Equal(t, map[string]float64{"error.type=*errors.errorString messaging.consumer.group.name=GROUP messaging.destination.name=TOPIC messaging.system=kafka": 1},
			s.points(t, "events.dead_lettered"))
		assert.Equal(t, map[string]float64{"error.type=*errors.errorString messaging.consumer.group.name=GROUP messaging.destination.name=TOPIC messaging.system=kafka": 1},
			s.points(t, "events.retries"))
	})
}

// TestLinkOnly, TestPollSpans: as the options say.
func TestLinkOnly(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, s *seen) {
		var mux messaging.Mux
		messaging.Handle(&mux, func(context.Context, *happened) error { return nil })
		s.subscribe(t, &mux, messaging.WithProcessLinkOnly(), messaging.WithPollSpans())
		require.NoError(t, s.publisher(t).Publish(t.Context(), &happened{Key: "k1"}))
		send := s.ended(t, "send "+s.topic, trace.SpanKindProducer, 1)[0]
		process := s.ended(t, "process "+s.topic, trace.SpanKindConsumer, 1)[0]
		assert.False(t, process.Parent().IsValid())
		require.Len(t, process.Links(), 1)
		assert.Equal(t, send.SpanContext().TraceID(), process.Links()[0].SpanContext.TraceID())
		poll := s.ended(t, "poll "+s.topic, trace.SpanKindClient, 1)[0]
		assert.Equal(t, map[string]any{
			"messaging.system": "kafka", "messaging.operation.name": "poll", "messaging.operation.type": "receive", "messaging.client.id": "itest-client",
			"messaging.destination.name": s.topic, "messaging.consumer.group.name": s.group, "messaging.batch.message_count": int64(1),
		}, attrsOf(poll))
		commit := s.ended(t, "commit "+s.topic, trace.SpanKindClient, 1)[0]
		assert.Equal(t, "settle", attrsOf(commit)["messaging.operation.type"])
	})
}

// TestBatch: one span, a trace of its own, with a link to each event.
func TestBatch(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, s *seen) {
		require.NoError(t, s.publisher(t).Publish(t.Context(), &happened{Key: "a"}, &happened{Key: "b"}, &happened{Key: "c"}))
		sends := s.ended(t, "send "+s.topic, trace.SpanKindProducer, 3)
		inside := make(chan trace.SpanContext, 1)
		var mux messaging.Mux
		messaging.HandleBatch(&mux, func(ctx context.Context, _ []*happened) error {
			inside <- trace.SpanContextFromContext(ctx)
			return nil
		})
		s.subscribe(t, &mux)
		process := s.ended(t, "process "+s.topic, trace.SpanKindConsumer, 1)[0]
		assert.False(t, process.Parent().IsValid())
		assert.Equal(t, process.SpanContext().SpanID(), (<-inside).SpanID())
		var linked, made []trace.SpanID
		for i, l := range process.Links() {
			linked = append(linked, l.SpanContext.SpanID())
			made = append(made, sends[i].SpanContext().SpanID())
			assert.NotEmpty(t, l.Attributes, "the event's ID")
		}
		assert.ElementsMatch(t, made, linked)
		assert.Len(t, linked, 3)
		assert.Equal(t, int64(3), attrsOf(process)["messaging.batch.message_count"])
	})
}

// TestOutbox: the event's context is of its creation, within the request; the relay's send links to it.
func TestOutbox(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, s *seen) {
		db, err := sql.Open("sqlite", "file:"+filepath.Join(t.TempDir(), "outbox.db")+"?_pragma=busy_timeout(10000)&_pragma=journal_mode(WAL)&_txlock=immediate")
		require.NoError(t, err)
		t.Cleanup(func() { _ = db.Close() })
		require.NoError(t, outbox.Migrate(t.Context(), db, outbox.SQLite))
		opts := []outbox.Option{
			outbox.WithEncode(s.cfg.Encode), outbox.WithTracerProvider(s.tracers), outbox.WithMeterProvider(s.meters), outbox.WithLogger(slog.New(slog.DiscardHandler)),
		}
		box := outbox.New(outbox.SQLite, opts...)
		ctx, root := s.tracers.Tracer("test").Start(t.Context(), "request")
		first, second := &happened{Key: "k1"}, &happened{Key: "k1"}
		require.NoError(t, box.Do(ctx, db, func(tx *sql.Tx) error { return box.In(tx).Publish(ctx, first, second) }))
		root.End()

		relay := outbox.NewRelay(db, outbox.SQLite, s.publisher(t), opts...)
		h := relay.Health(t.Context())
		assert.True(t, h.Stopped)
		assert.Equal(t, int64(2), h.Backlog)
		require.Error(t, h.Problem)
		run, stop := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- relay.Run(run) }()
		t.Cleanup(func() {
			stop()
			assert.NoError(t, <-done)
			after := relay.Health(context.Background())
			assert.True(t, after.Stopped)
		})
		var mux messaging.Mux
		messaging.Handle(&mux, func(context.Context, *happened) error { return nil })
		s.subscribe(t, &mux)

		creates := s.ended(t, "create "+s.topic, trace.SpanKindProducer, 2)
		for i, c := range creates {
			assert.Equal(t, root.SpanContext().SpanID(), c.Parent().SpanID())
			assert.Equal(t, "create", attrsOf(c)["messaging.operation.type"])
			assert.Equal(t, []string{first.EventID.String(), second.EventID.String()}[i], attrsOf(c)["messaging.message.id"])
		}
		send := s.ended(t, "send "+s.topic, trace.SpanKindClient, 1)[0]
		require.Len(t, send.Links(), 2)
		assert.False(t, send.Parent().IsValid(), "the relay's work is nobody's request")
		for i, p := range s.ended(t, "process "+s.topic, trace.SpanKindConsumer, 2) {
			assert.Equal(t, creates[i].SpanContext().SpanID(), p.Parent().SpanID())
			assert.Equal(t, creates[i].SpanContext().SpanID(), send.Links()[i].SpanContext.SpanID())
		}
		eventually(t, "the relay is well", func() bool {
			h := relay.Health(t.Context())
			return h.Problem == nil && h.Backlog == 0 && h.Assigned > 0 && !h.Stopped
		})
		assert.Equal(t, map[string]float64{"messaging.system=kafka": 0}, s.points(t, "events.outbox.pending"))
		assert.Equal(t, map[string]float64{"messaging.system=kafka": 0}, s.points(t, "events.outbox.oldest.age"))
		assert.NotZero(t, s.points(t, "events.outbox.shards")["messaging.system=kafka"])
		assert.Equal(t, map[string]float64{"messaging.destination.name=TOPIC messaging.system=kafka": 1}, s.points(t, "events.publish.queue.duration"))
		assert.Equal(t, map[string]float64{"messaging.system=kafka": 1}, s.points(t, "events.produce.request.duration"))
	})
}

// TestUnsent: an event that cannot be published ends its span with Kafka's own name of the error.
func TestUnsent(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, s *seen) {
		s.cfg.Topics = map[string]string{"itest.thing.happened": s.topic + ".missing"}
		err := s.publisher(t).Publish(t.Context(), &happened{Key: "k1"})
		require.ErrorIs(t, err, messaging.ErrUnknownTopic)
		span := s.ended(t, "send "+s.topic+".missing", trace.SpanKindProducer, 1)[0]
		assert.Equal(t, codes.Error, span.Status().Code)
		assert.Equal(t, "UNKNOWN_TOPIC_OR_PARTITION", attrsOf(span)["error.type"])
		assert.Equal(t, map[string]float64{
			"error.type=UNKNOWN_TOPIC_OR_PARTITION messaging.destination.name=TOPIC.missing messaging.operation.name=send messaging.operation.type=send messaging.system=kafka": 1,
		}, s.points(t, "messaging.client.sent.messages"))
	})
}
