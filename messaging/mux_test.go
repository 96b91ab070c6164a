package messaging_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/baggage"
	"go.opentelemetry.io/otel/trace"

	"github.com/expensevault/sharedlibrary/events"
	"github.com/expensevault/sharedlibrary/messaging"
	"github.com/expensevault/sharedlibrary/tracing"
)

// orderPlaced is the event of this file's tests.
type orderPlaced struct {
	events.Base
	OrderID string   `json:"orderId"`
	Lines   []string `json:"lines"`
	Note    note     `json:"note,omitzero"`
}

func (*orderPlaced) Topic() events.Topic    { return events.NewTopic("shop", "order", "placed") }
func (e *orderPlaced) PartitionKey() string { return e.OrderID }

// note panics when it decodes "panic".
type note string

func (n *note) UnmarshalJSON(data []byte) error {
	if string(data) == `"panic"` {
		panic("the note's decoder")
	}
	*n = note(data)
	return nil
}

type unnamed struct{ events.Base }

func (*unnamed) Topic() events.Topic  { return events.Topic{} }
func (*unnamed) PartitionKey() string { return "" }

const placed = "shop.order.placed"

func record(t testing.TB, e events.IntegrationEvent) messaging.Record {
	t.Helper()
	r, err := messaging.Encode(t.Context(), e)
	require.NoError(t, err)
	return r
}

func TestHandleDecodes(t *testing.T) {
	t.Parallel()
	var mux messaging.Mux
	var got *orderPlaced
	messaging.Handle(&mux, func(_ context.Context, e *orderPlaced) error { got = e; return nil })
	want := &orderPlaced{OrderID: "o-1", Lines: []string{"a", "b"}}
	require.NoError(t, mux.Dispatch(t.Context(), record(t, want)))
	assert.Equal(t, want, got)
	assert.NotSame(t, want, got)
	assert.Equal(t, []string{placed}, mux.Topics())
}

// The records of other systems have no headers, and .NET's spelling.
func TestHandleWithoutHeaders(t *testing.T) {
	t.Parallel()
	var mux messaging.Mux
	var got orderPlaced
	var correlation, causation string
	messaging.Handle(&mux, func(ctx context.Context, e *orderPlaced) error {
		got, correlation, causation = *e, tracing.CorrelationID(ctx), tracing.CausationID(ctx)
		return nil
	})
	body := `{"EventId":"3FA85F64-5717-4562-B3FC-2C963F66AFA6","timestamp":"2025-11-30T10:30:00.1234567+00:00",` +
		`"eventType":"placed","correlationId":"abc123-def456","causationId":null,"orderId":"o-1","unknown":[1]}`
	require.NoError(t, mux.Dispatch(t.Context(), messaging.Record{Topic: placed, Value: []byte(body)}))
	assert.Equal(t, "3fa85f64-5717-4562-b3fc-2c963f66afa6", got.EventID.String())
	assert.Equal(t, time.Date(2025, 11, 30, 10, 30, 0, 123456700, time.UTC), got.Timestamp)
	assert.Equal(t, "o-1", got.OrderID)
	assert.Equal(t, "abc123-def456", correlation, "of the body")
	assert.Equal(t, "3fa85f64-5717-4562-b3fc-2c963f66afa6", causation, "the handled event's ID")
}

func TestHandlerContext(t *testing.T) {
	t.Parallel()
	id := uuid.New()
	body := func(correlation string) []byte {
		return fmt.Appendf(nil, `{"eventId":%q,"timestamp":"2025-11-30T10:30:00Z","correlationId":%q,"orderId":"o"}`, id, correlation)
	}
	header := []messaging.Header{{Key: "ce_correlationid", Value: []byte("of-the-header")}, {Key: "ce_causationid", Value: []byte("earlier")}}
	for _, tc := range []struct {
		name string
		rec  messaging.Record
		want string
	}{
		{"header before body", messaging.Record{Value: body("of-the-body"), Headers: header}, "of-the-header"},
		{"body without header", messaging.Record{Value: body("of-the-body")}, "of-the-body"},
		{"neither: the event's own ID", messaging.Record{Value: body("")}, id.String()},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			var mux messaging.Mux
			var correlation, causation string
			var next messaging.Record
			messaging.Handle(&mux, func(ctx context.Context, _ *orderPlaced) (err error) {
				correlation, causation = tracing.CorrelationID(ctx), tracing.CausationID(ctx)
				next, err = messaging.Encode(ctx, &orderPlaced{OrderID: "caused"})
				return err
			})
			tc.rec.Topic = placed
			// What the caller's context carries belongs to the caller.
			ctx := tracing.WithCausationID(tracing.WithCorrelationID(t.Context(), "the caller's"), "the caller's")
			require.NoError(t, mux.Dispatch(ctx, tc.rec))
			assert.Equal(t, tc.want, correlation)
			assert.Equal(t, id.String(), causation)
			var caused orderPlaced
			require.NoError(t, events.Decode(next.Value, &caused))
			assert.Equal(t, tc.want, caused.CorrelationID, "what the handler publishes inherits the correlation")
			assert.Equal(t, id.String(), caused.CausationID, "and is caused by the handled event")
		})
	}
}

func TestHandleRecordTakesBytesAsTheyAre(t *testing.T) {
	t.Parallel()
	var mux messaging.Mux
	var got []messaging.Record
	var causation string
	messaging.HandleRecord(&mux, "legacy_Topic.v1", func(ctx context.Context, r messaging.Record) error {
		got = append(got, r)
		causation = tracing.CausationID(ctx)
		return nil
	})
	tombstone := messaging.Record{Topic: "legacy_Topic.v1", Key: []byte("k")}
	id := uuid.NewString()
	binary := messaging.Record{Topic: "legacy_Topic.v1", Value: []byte{0, 0xff}, Headers: []messaging.Header{{Key: "ce_id", Value: []byte(id)}}}
	require.NoError(t, mux.Dispatch(t.Context(), tombstone))
	assert.Empty(t, causation)
	require.NoError(t, mux.Dispatch(t.Context(), binary))
	assert.Equal(t, id, causation)
	assert.Equal(t, []messaging.Record{tombstone, binary}, got)
}

// What causes a foreign record is not what the record causes.
func TestHandleRecordWithoutAnID(t *testing.T) {
	t.Parallel()
	for _, headers := range [][]messaging.Header{
		{{Key: "ce_causationid", Value: []byte("earlier")}},
		{{Key: "ce_id", Value: []byte("no-uuid")}, {Key: "causation-id", Value: []byte("earlier")}, {Key: "ce_correlationid", Value: []byte("story")}},
	} {
		var mux messaging.Mux
		causation := "not called"
		messaging.HandleRecord(&mux, "legacy", func(ctx context.Context, _ messaging.Record) error {
			causation = tracing.CausationID(ctx)
			return nil
		})
		require.NoError(t, mux.Dispatch(t.Context(), messaging.Record{Topic: "legacy", Headers: headers}))
		assert.Empty(t, causation, "%v", headers)
	}
}

func TestTraceOfTheCallerStaysOutside(t *testing.T) {
	t.Parallel()
	member, err := baggage.NewMember("whose", "the-callers")
	require.NoError(t, err)
	bag, err := baggage.New(member)
	require.NoError(t, err)
	type key struct{}
	ctx := context.WithValue(baggage.ContextWithBaggage(t.Context(), bag), key{}, "kept")
	ctx = trace.ContextWithSpanContext(ctx, trace.NewSpanContext(trace.SpanContextConfig{TraceID: trace.TraceID{1}, SpanID: trace.SpanID{2}}))
	var mux messaging.Mux
	called := false
	messaging.HandleRecord(&mux, "legacy", func(ctx context.Context, _ messaging.Record) error {
		called = true
		assert.False(t, trace.SpanContextFromContext(ctx).IsValid())
		trace.SpanFromContext(ctx).AddEvent("there is always a span to write to")
		assert.Zero(t, baggage.FromContext(ctx).Len())
		assert.Equal(t, "kept", ctx.Value(key{}))
		return nil
	})
	require.NoError(t, mux.Dispatch(ctx, messaging.Record{Topic: "legacy"}))
	assert.True(t, called)
}

func TestDecodeErrors(t *testing.T) {
	t.Parallel()
	valid := record(t, &orderPlaced{OrderID: "o"})
	for _, tc := range []struct {
		name  string
		value []byte
		want  string
	}{
		{"tombstone", nil, "tombstone"},
		{"empty", []byte{}, "empty"},
		{"broken", valid.Value[:len(valid.Value)-1], "unexpected end"},
		{"an array", []byte("[]"), "object"},
		{"null", []byte("null"), "object"},
		{"not UTF-8", []byte("{\"orderId\":\"\xff\"}"), "UTF-8"},
		{"another type", []byte(`{"orderId":7}`), "orderId"},
		{"no event ID", []byte(`{"orderId":"o"}`), "eventId"},
		{"a decoder that panics", []byte(`{"note":"panic"}`), "panic: the note's decoder"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			var mux messaging.Mux
			messaging.Handle(&mux, func(context.Context, *orderPlaced) error { t.Error("was handled"); return nil })
			err := mux.Dispatch(t.Context(), messaging.Record{Topic: placed, Value: tc.value})
			var decode *messaging.DecodeError
			require.ErrorAs(t, err, &decode)
			assert.Equal(t, placed, decode.Topic)
			assert.Equal(t, "*messaging_test.orderPlaced", decode.Type)
			require.ErrorContains(t, err, tc.want)
			assert.True(t, messaging.IsPermanent(err))
		})
	}
}

func TestMiddlewareOrder(t *testing.T) {
	t.Parallel()
	var mux messaging.Mux
	var calls []string
	var made int
	mw := func(name string) messaging.Middleware {
		return func(next messaging.HandlerFunc) messaging.HandlerFunc {
			made++
			return func(ctx context.Context, r messaging.Record) error {
				calls = append(calls, name+" in")
				err := next(ctx, r)
				calls = append(calls, name+" out")
				return err
			}
		}
	}
	mux.Use(mw("1"), mw("2"))
	messaging.Handle(&mux, func(context.Context, *orderPlaced) error { calls = append(calls, "handler"); return nil })
	r := record(t, &orderPlaced{OrderID: "o"})
	require.NoError(t, mux.Dispatch(t.Context(), r))
	assert.Equal(t, []string{"1 in", "2 in", "handler", "2 out", "1 out"}, calls)
	require.NoError(t, mux.Dispatch(t.Context(), r))
	assert.Equal(t, 2, made, "once per handler, not once per record")

	calls = nil
	mux.Use(mw("3"))
	require.NoError(t, mux.Dispatch(t.Context(), r))
	assert.Equal(t, []string{"1 in", "2 in", "3 in", "handler", "3 out", "2 out", "1 out"}, calls, "handlers from before Use get it too")
}

func TestMiddlewareChangesTheRecord(t *testing.T) {
	t.Parallel()
	var mux messaging.Mux
	other := record(t, &orderPlaced{OrderID: "other"})
	mux.Use(func(next messaging.HandlerFunc) messaging.HandlerFunc {
		return func(ctx context.Context, r messaging.Record) error {
			r.Value = other.Value
			return next(ctx, r)
		}
	})
	var got string
	messaging.Handle(&mux, func(_ context.Context, e *orderPlaced) error { got = e.OrderID; return nil })
	require.NoError(t, mux.Dispatch(t.Context(), record(t, &orderPlaced{OrderID: "o"})))
	assert.Equal(t, "other", got)
}

// Whoever calls the handler again gives it an event that the first call has not changed.
func TestMiddlewareCallsTwice(t *testing.T) {
	t.Parallel()
	var mux messaging.Mux
	mux.Use(func(next messaging.HandlerFunc) messaging.HandlerFunc {
		return func(ctx context.Context, r messaging.Record) error {
			_ = next(ctx, r)
			return next(ctx, r)
		}
	})
	var got []string
	messaging.Handle(&mux, func(_ context.Context, e *orderPlaced) error {
		got = append(got, e.OrderID)
		e.OrderID = "changed"
		return nil
	})
	require.NoError(t, mux.Dispatch(t.Context(), record(t, &orderPlaced{OrderID: "o"})))
	assert.Equal(t, []string{"o", "o"}, got)
}

func TestPanicIsAnError(t *testing.T) {
	t.Parallel()
	cause := errors.New("the cause")
	r := record(t, &orderPlaced{OrderID: "o"})

	t.Run("handler", func(t *testing.T) {
		t.Parallel()
		var mux messaging.Mux
		var seen error
		mux.Use(func(next messaging.HandlerFunc) messaging.HandlerFunc {
			return func(ctx context.Context, r messaging.Record) error { seen = next(ctx, r); return seen }
		})
		messaging.Handle(&mux, func(context.Context, *orderPlaced) error { return panicking(cause) })
		err := mux.Dispatch(t.Context(), r)
		var p *messaging.PanicError
		require.ErrorAs(t, err, &p)
		require.ErrorIs(t, err, cause)
		assert.Contains(t, string(p.Stack), "panicking", "the stack shows where")
		assert.Same(t, p, seen, "middleware gets the error")
		assert.False(t, messaging.IsPermanent(err))
	})
	t.Run("middleware", func(t *testing.T) {
		t.Parallel()
		var mux messaging.Mux
		mux.Use(func(messaging.HandlerFunc) messaging.HandlerFunc {
			return func(context.Context, messaging.Record) error { return panicking("the middleware") }
		})
		messaging.Handle(&mux, func(context.Context, *orderPlaced) error { return nil })
		require.EqualError(t, mux.Dispatch(t.Context(), r), "panic: the middleware")
	})
	t.Run("middleware without a handler func", func(t *testing.T) {
		t.Parallel()
		var mux messaging.Mux
		mux.Use(func(messaging.HandlerFunc) messaging.HandlerFunc { return nil })
		messaging.Handle(&mux, func(context.Context, *orderPlaced) error { return nil })
		require.ErrorContains(t, mux.Dispatch(t.Context(), r), "nil pointer")
		require.Error(t, mux.Dispatch(t.Context(), r), "the mux is not locked for ever")
	})
}

func panicking(v any) error { panic(v) }

func TestDispatchWithoutHandler(t *testing.T) {
	t.Parallel()
	var mux messaging.Mux
	require.ErrorContains(t, mux.Dispatch(t.Context(), messaging.Record{Topic: "nobody"}), `topic "nobody" has no handler`)
	messaging.HandleRecord(&mux, "known", func(context.Context, messaging.Record) error { return nil })
	require.ErrorContains(t, mux.Dispatch(t.Context(), messaging.Record{Topic: "nobody"}), `["known"]`)
}

func TestDelivery(t *testing.T) {
	t.Parallel()
	var mux messaging.Mux
	var got messaging.Delivery
	var ok bool
	messaging.Handle(&mux, func(ctx context.Context, _ *orderPlaced) error {
		got, ok = messaging.DeliveryFrom(ctx)
		return nil
	})
	r := record(t, &orderPlaced{OrderID: "o"})
	require.NoError(t, mux.Dispatch(t.Context(), r))
	require.True(t, ok)
	assert.Equal(t, messaging.Delivery{
		Topic: placed, Partition: -1, Offset: -1, Attempt: 1, Key: []byte("o"), Headers: r.Headers, Time: r.Timestamp,
	}, got)

	own := messaging.Delivery{Topic: "t", Partition: 3, Offset: 9, Attempt: 4, Headers: []messaging.Header{
		{Key: "h", Value: []byte("first")}, {Key: "h", Value: []byte("last")},
	}}
	require.NoError(t, mux.Dispatch(messaging.ContextWithDelivery(t.Context(), own), r))
	assert.Equal(t, own, got)
	v, ok := got.Header("h")
	assert.True(t, ok)
	assert.Equal(t, "last", v)
	_, ok = got.Header("H")
	assert.False(t, ok)
	_, ok = messaging.DeliveryFrom(t.Context())
	assert.False(t, ok)
}

func TestRegistrationPanics(t *testing.T) {
	t.Parallel()
	record := func(context.Context, messaging.Record) error { return nil }
	handler := func(context.Context, *orderPlaced) error { return nil }
	for _, tc := range []struct {
		name, want string
		register   func(*messaging.Mux)
	}{
		{"nil handler", "nil handler for *messaging_test.orderPlaced", func(m *messaging.Mux) {
			messaging.Handle[orderPlaced](m, nil)
		}},
		{"nil record handler", "nil handler for t", func(m *messaging.Mux) { messaging.HandleRecord(m, "t", nil) }},
		{"nil middleware", "nil middleware", func(m *messaging.Mux) { m.Use(nil) }},
		{"invalid event topic", "*messaging_test.unnamed", func(m *messaging.Mux) {
			messaging.Handle(m, func(context.Context, *unnamed) error { return nil })
		}},
		{"empty topic", "empty", func(m *messaging.Mux) { messaging.HandleRecord(m, "", record) }},
		{"dots", `".."`, func(m *messaging.Mux) { messaging.HandleRecord(m, "..", record) }},
		{"illegal topic", `contains '/'`, func(m *messaging.Mux) { messaging.HandleRecord(m, "a/b", record) }},
		{"long topic", "250 bytes", func(m *messaging.Mux) { messaging.HandleRecord(m, strings.Repeat("x", 250), record) }},
		{"no attempts", "0 attempts", func(m *messaging.Mux) { messaging.Handle(m, handler, messaging.WithRetry(0, 0, 0)) }},
		{"pauses", "shortest", func(m *messaging.Mux) {
			messaging.Handle(m, handler, messaging.WithRetry(2, time.Second, time.Millisecond))
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			var mux messaging.Mux
			assert.Contains(t, panicOf(func() { tc.register(&mux) }), tc.want)
			assert.Empty(t, mux.Topics())
		})
	}
}

func TestSecondRegistrationNamesTheFirst(t *testing.T) {
	t.Parallel()
	var mux messaging.Mux
	_, _, line, _ := runtime.Caller(0)
	messaging.Handle(&mux, func(context.Context, *orderPlaced) error { return nil })
	got := panicOf(func() {
		messaging.HandleRecord(&mux, placed, func(context.Context, messaging.Record) error { return nil })
	})
	assert.Contains(t, got, "mux_test.go:"+strconv.Itoa(line+1))
	assert.Contains(t, got, "mux_test.go:"+strconv.Itoa(line+3))
	assert.Contains(t, got, placed)
}

func panicOf(f func()) (msg string) {
	defer func() { msg = fmt.Sprint(recover()) }()
	f()
	return ""
}

func TestMuxConcurrently(t *testing.T) {
	t.Parallel()
	var mux messaging.Mux
	messaging.Handle(&mux, func(context.Context, *orderPlaced) error { return nil })
	r := record(t, &orderPlaced{OrderID: "o"})
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			messaging.HandleRecord(&mux, "t"+strconv.Itoa(i), func(context.Context, messaging.Record) error { return nil })
			mux.Use(func(next messaging.HandlerFunc) messaging.HandlerFunc { return next })
			for range 100 {
				assert.NoError(t, mux.Dispatch(t.Context(), r))
			}
		})
	}
	wg.Wait()
	assert.Len(t, mux.Topics(), 9)
}

func TestPermanentAndRetryAfter(t *testing.T) {
	t.Parallel()
	cause := errors.New("the cause")
	require.NoError(t, messaging.Permanent(nil))
	require.NoError(t, messaging.RetryAfter(time.Second, nil))
	require.ErrorIs(t, messaging.Permanent(cause), cause)
	require.EqualError(t, messaging.Permanent(cause), "the cause")
	require.ErrorIs(t, messaging.RetryAfter(time.Second, cause), cause)
	require.EqualError(t, messaging.RetryAfter(time.Second, cause), "the cause")
	assert.True(t, messaging.IsPermanent(fmt.Errorf("wrapped: %w", messaging.Permanent(cause))))
	assert.True(t, messaging.IsPermanent(messaging.RetryAfter(time.Second, messaging.Permanent(cause))))
	assert.False(t, messaging.IsPermanent(cause))
	assert.False(t, messaging.IsPermanent(nil))
}

// What a context tells is of the record as it came, whenever it is asked.
func TestContextAfterTheEventWasChanged(t *testing.T) {
	t.Parallel()
	var mux messaging.Mux
	var kept context.Context
	messaging.Handle(&mux, func(ctx context.Context, e *orderPlaced) error {
		e.EventID, e.CorrelationID = uuid.New(), "changed"
		kept = ctx //nolint:fatcontext // what a handler that starts a goroutine does
		return nil
	})
	e := &orderPlaced{OrderID: "o", Base: events.Base{CorrelationID: "as-it-came"}}
	r := record(t, e)
	r.Headers = nil
	require.NoError(t, mux.Dispatch(t.Context(), r))

	var asking sync.WaitGroup
	for range 8 {
		asking.Go(func() {
			assert.Equal(t, "as-it-came", tracing.CorrelationID(kept))
			assert.Equal(t, e.EventID.String(), tracing.CausationID(kept))
			inner, cancel := context.WithCancel(kept)
			defer cancel()
			assert.Equal(t, "as-it-came", tracing.CorrelationID(inner))
		})
	}
	asking.Wait()
}

// Not parallel: others' allocations would be counted.
func TestDispatchAllocates(t *testing.T) { //nolint:paralleltest // as it says
	var mux messaging.Mux
	messaging.HandleRecord(&mux, "t", func(context.Context, messaging.Record) error { return nil })
	r := messaging.Record{Topic: "t", Headers: []messaging.Header{{Key: "correlation-id", Value: []byte("c")}}}
	ctx := t.Context()
	assert.InDelta(t, 1, testing.AllocsPerRun(100, func() {
		if err := mux.Dispatch(ctx, r); err != nil {
			panic(err)
		}
	}), 0, "the context; what it tells is made when it is asked for")
}
