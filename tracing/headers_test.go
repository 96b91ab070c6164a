package tracing_test

import (
	"context"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/segmentio/kafka-go/protocol"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/baggage"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"github.com/expensevault/sharedlibrary/tracing"
)

func hs(pairs ...string) []protocol.Header {
	var out []protocol.Header
	for pair := range slices.Chunk(pairs, 2) {
		out = append(out, protocol.Header{Key: pair[0], Value: []byte(pair[1])})
	}
	return out
}

// traced has all that the propagators of TestMain write.
func traced(t *testing.T, state, bag string) context.Context {
	t.Helper()
	b, err := baggage.Parse(bag)
	require.NoError(t, err)
	return baggage.ContextWithBaggage(trace.ContextWithSpanContext(t.Context(), spanContext(t, state)), b)
}

func TestInject(t *testing.T) {
	t.Parallel()
	var got []protocol.Header
	tracing.Inject(traced(t, "vendor=1", "tenant=one"), &got)
	assert.ElementsMatch(t, hs("traceparent", traceparent, "tracestate", "vendor=1", "baggage", "tenant=one"), got)

	ctx := tracing.Extract(t.Context(), got)
	assert.Equal(t, spanContext(t, "vendor=1").WithRemote(true), trace.SpanContextFromContext(ctx))
	assert.Equal(t, "one", baggage.FromContext(ctx).Member("tenant").Value())
}

func TestInjectReplacesWhatIsThere(t *testing.T) {
	t.Parallel()
	got := hs("traceparent", otherParent, "a", "1", "Traceparent", otherParent, "tracestate", "old=1", "a", "2",
		"BAGGAGE", "old=1", "traceparent", otherParent, "ce_traceparent", otherParent)
	before := slices.Clone(got)
	view := got
	tracing.Inject(traced(t, "", ""), &got)
	assert.Equal(t, hs("a", "1", "a", "2", "ce_traceparent", otherParent, "traceparent", traceparent), got)
	assert.Equal(t, before, view, "whoever shares the array keeps what they had")

	tracing.Inject(traced(t, "", ""), &got)
	assert.Equal(t, hs("a", "1", "a", "2", "ce_traceparent", otherParent, "traceparent", traceparent), got)
}

func TestInjectNothing(t *testing.T) {
	t.Parallel()
	tracing.Inject(traced(t, "", ""), nil)

	got := hs("traceparent", otherParent, "tracestate", "old=1")
	ctx := tracing.WithCausationID(tracing.WithCorrelationID(t.Context(), "correlation"), "causation")
	tracing.Inject(ctx, &got)
	assert.Equal(t, hs("traceparent", otherParent, "tracestate", "old=1"), got, "ctx has no trace; IDs are not written here")
}

func TestInjectAppends(t *testing.T) {
	t.Parallel()
	room := make([]protocol.Header, 1, 8)
	room[0] = protocol.Header{Key: "a", Value: []byte("1")}
	got := room
	tracing.Inject(traced(t, "", ""), &got)
	assert.Equal(t, hs("a", "1", "traceparent", traceparent), got)
	assert.Same(t, &room[0], &got[0])
}

func TestWithoutAPropagator(t *testing.T) { //nolint:paralleltest // sets the global
	withPropagator(t, propagation.NewCompositeTextMapPropagator())
	got := hs("traceparent", otherParent)
	tracing.Inject(traced(t, "vendor=1", "tenant=one"), &got)
	assert.Equal(t, hs("traceparent", otherParent), got)

	ctx := tracing.Extract(t.Context(), hs("traceparent", traceparent, "ce_traceparent", traceparent, "ce_correlationid", "c"))
	assert.False(t, trace.SpanContextFromContext(ctx).IsValid())
	assert.Equal(t, "c", tracing.CorrelationID(ctx))
}

// own is a propagator as somebody else might write one.
type own struct{}

func (own) Inject(_ context.Context, c propagation.TextMapCarrier) {
	c.Set("X-Own", "first")
	c.Set("x-own", c.Get("X-OWN")+"-second-"+strings.Join(c.Keys(), "+"))
}

func (own) Extract(ctx context.Context, c propagation.TextMapCarrier) context.Context {
	i := slices.IndexFunc(c.Keys(), func(k string) bool { return strings.HasPrefix(k, "own-") })
	if i < 0 {
		return ctx
	}
	c.Set("ignored", "x")
	key := c.Keys()[i]
	return context.WithValue(ctx, own{}, key+"="+c.Get(key)+c.Get("ignored"))
}

func (own) Fields() []string { return []string{"x-own"} }

func TestAnotherPropagator(t *testing.T) { //nolint:paralleltest // sets the global
	withPropagator(t, own{})
	got := hs("x-own", "old", "traceparent", otherParent)
	tracing.Inject(t.Context(), &got)
	assert.Equal(t, hs("traceparent", otherParent, "x-own", "first-second-X-Own"), got)

	in := hs(strings.Repeat("own-", 40), "long", "own-a", "1")
	ctx := tracing.Extract(t.Context(), in)
	assert.Equal(t, "own-a=1", ctx.Value(own{}))
	assert.Equal(t, hs(strings.Repeat("own-", 40), "long", "own-a", "1"), in, "nothing is written to what is read")
}

func TestExtractTrace(t *testing.T) {
	t.Parallel()
	filler := func(n int) []protocol.Header { return slices.Repeat(hs("filler", "x"), n) }
	for name, c := range map[string]struct {
		headers []protocol.Header
		want    string
	}{
		"exact":                     {hs("traceparent", traceparent), traceparent},
		"other case":                {hs("TraceParent", traceparent), traceparent},
		"exact before other case":   {hs("traceparent", traceparent, "TRACEPARENT", otherParent), traceparent},
		"last":                      {hs("traceparent", otherParent, "a", "", "traceparent", traceparent), traceparent},
		"last of other case":        {hs("Traceparent", otherParent, "TRACEPARENT", traceparent), traceparent},
		"CloudEvents":               {hs("ce_traceparent", traceparent), traceparent},
		"CloudEvents, other case":   {hs("CE_TraceParent", traceparent), traceparent},
		"plain before CloudEvents":  {hs("traceparent", traceparent, "ce_traceparent", otherParent), traceparent},
		"broken before CloudEvents": {hs("traceparent", "x", "ce_traceparent", otherParent), ""},
		"broken CloudEvents":        {hs("ce_traceparent", "x"), ""},
		"upper-case hex":            {hs("traceparent", strings.ToUpper(traceparent)), ""},
		"zero trace":                {hs("traceparent", "00-00000000000000000000000000000000-"+spanID+"-01"), ""},
		"binary":                    {[]protocol.Header{{Key: "traceparent", Value: []byte{0, 0, 0x4b, 0xf9, 0xff}}}, ""},
		"line break":                {hs("traceparent", traceparent+"\r\n"), ""},
		"too long, after one":       {hs("traceparent", traceparent, "traceparent", strings.Repeat("a", 4097)), ""},
		"nil value":                 {[]protocol.Header{{Key: "traceparent"}}, ""},
		"too long":                  {hs("traceparent", strings.Replace(traceparent, "00-", "01-", 1)+"-"+strings.Repeat("a", 4096)), ""},
		"long s":                    {hs("traceparent", "", "traceſtate", "a=1"), ""},
		"64 headers":                {append(hs("traceparent", traceparent), filler(63)...), traceparent},
		"65 headers":                {append(hs("traceparent", traceparent), filler(64)...), ""},
		"last of 100":               {append(filler(99), hs("traceparent", traceparent)...), traceparent},
		"none":                      {nil, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx := tracing.Extract(t.Context(), c.headers)
			assert.Equal(t, c.want, parent(ctx))
			assert.Equal(t, c.want != "", trace.SpanContextFromContext(ctx).IsRemote())

			// What is not carried stays as it is in ctx.
			mine := trace.ContextWithSpanContext(t.Context(), spanContext(t, "").WithTraceFlags(0))
			want := c.want
			if want == "" {
				want = parent(mine)
			}
			assert.Equal(t, want, parent(tracing.Extract(mine, c.headers)))
		})
	}
}

func TestExtractTraceState(t *testing.T) {
	t.Parallel()
	state := func(h ...string) string {
		return trace.SpanContextFromContext(tracing.Extract(t.Context(), hs(h...))).TraceState().String()
	}
	assert.Equal(t, "b=2", state("traceparent", traceparent, "tracestate", "a=1", "tracestate", "b=2"))
	assert.Empty(t, state("traceparent", traceparent, "ce_tracestate", "a=1"), "of another trace")
	assert.Empty(t, state("ce_traceparent", traceparent, "tracestate", "a=1"), "of another trace")
	assert.Equal(t, "a=1", state("ce_traceparent", traceparent, "ce_tracestate", "a=1"))
	assert.Empty(t, state("traceparent", traceparent, "tracestate", "a="+strings.Repeat("x", 4096)))
}

// Reading the same headers again must not fall back to where the event began.
func TestExtractTwice(t *testing.T) {
	t.Parallel()
	headers := hs("traceparent", traceparent, "ce_traceparent", otherParent)
	ctx := tracing.Extract(tracing.Extract(t.Context(), headers), headers)
	assert.Equal(t, traceparent, parent(ctx))
}

func TestExtractBaggage(t *testing.T) {
	t.Parallel()
	ctx := tracing.Extract(t.Context(), hs("baggage", "a=1", "baggage", "b=2", "ce_baggage", "c=3"))
	assert.Equal(t, "b=2", baggage.FromContext(ctx).String())
	ctx = tracing.Extract(t.Context(), hs("ce_traceparent", traceparent, "ce_baggage", "c=3"))
	assert.Zero(t, baggage.FromContext(ctx).Len(), "no extension of CloudEvents")
}

func TestExtractIDs(t *testing.T) {
	t.Parallel()
	correlation := []string{"ce_correlationid", "correlation-id", "correlation_id", "CorrelationId", "X-Correlation-ID", "cap-corr-id"}
	causation := []string{"ce_causationid", "causation-id", "causation_id", "CausationId"}
	for _, kind := range []struct {
		names  []string
		id     func(context.Context) string
		with   func(context.Context, string) context.Context
		others func(context.Context) string
	}{
		{correlation, tracing.CorrelationID, tracing.WithCorrelationID, tracing.CausationID},
		{causation, tracing.CausationID, tracing.WithCausationID, tracing.CorrelationID},
	} {
		get := func(headers []protocol.Header) string { return kind.id(tracing.Extract(t.Context(), headers)) }
		for i, name := range kind.names {
			assert.Equal(t, "abc123-def456", get(hs(name, "abc123-def456")), name)
			assert.Equal(t, "abc", get(hs(strings.ToUpper(name), "abc")), name)
			assert.Equal(t, "abc", get(hs(strings.ToLower(name), "abc")), name)
			assert.Equal(t, "two", get(hs(name, "one", name, "two")), name)
			assert.Empty(t, kind.others(tracing.Extract(t.Context(), hs(name, "abc"))), name)

			// It counts for more than all that come after it, wherever they are.
			var all []protocol.Header
			for j, other := range slices.Backward(kind.names[i:]) {
				all = append(all, hs(other, fmt.Sprint("id-", i+j))...)
			}
			want := fmt.Sprint("id-", i)
			assert.Equal(t, want, get(all), name)
			slices.Reverse(all)
			assert.Equal(t, want, get(all), name)

			for hostile, id := range hostileIDs() {
				assert.Empty(t, get(hs(name, id)), "%s: %s", name, hostile)
				assert.Empty(t, get(hs(name, "good", name, id)), "%s: the last value counts: %s", name, hostile)
				if i > 0 {
					assert.Equal(t, "good", get(hs(kind.names[0], id, name, "good")), "%s: %s", name, hostile)
				}
			}
			assert.Equal(t, "kept", kind.id(tracing.Extract(kind.with(t.Context(), "kept"), hs(name, "b\nd"))))
			assert.Equal(t, "new", kind.id(tracing.Extract(kind.with(t.Context(), "kept"), hs(name, "new"))))
		}
		assert.Empty(t, get(hs("ce-correlationid", "abc", "kafka_correlationId", "abc", "causation", "abc")))
	}
}

func TestExtractKeepsNothing(t *testing.T) {
	t.Parallel()
	headers := hs("ce_correlationid", "abc", "traceparent", traceparent, "tracestate", "a=1", "baggage", "b=2")
	ctx := tracing.Extract(t.Context(), headers)
	for _, h := range headers {
		clear(h.Value)
	}
	assert.Equal(t, "abc", tracing.CorrelationID(ctx))
	assert.Equal(t, traceparent, parent(ctx))
	assert.Equal(t, "a=1", trace.SpanContextFromContext(ctx).TraceState().String())
	assert.Equal(t, "b=2", baggage.FromContext(ctx).String())
}

// headersFrom reads headers out of a fuzzer's bytes: lengths, key, value, and so on.
func headersFrom(b []byte) []protocol.Header {
	var out []protocol.Header
	for len(b) >= 3 {
		k, v := int(b[0]), int(binary.BigEndian.Uint16(b[1:]))
		b = b[3:]
		k = min(k, len(b))
		key := string(b[:k])
		b = b[k:]
		v = min(v, len(b))
		out = append(out, protocol.Header{Key: key, Value: b[:v:v]})
		b = b[v:]
	}
	return out
}

func bytesOf(headers []protocol.Header) []byte {
	var b []byte
	for _, h := range headers {
		b = append(b, byte(len(h.Key)))
		b = binary.BigEndian.AppendUint16(b, uint16(len(h.Value)))
		b = append(append(b, h.Key...), h.Value...)
	}
	return b
}

func FuzzExtract(f *testing.F) {
	f.Add(bytesOf(hs("traceparent", traceparent, "tracestate", "a=1,b=2", "baggage", "tenant=one;p=1,b=2")))
	f.Add(bytesOf(hs("ce_traceparent", traceparent, "ce_tracestate", "a=1", "ce_correlationid", "abc", "ce_causationid", "def")))
	f.Add(bytesOf(hs("CorrelationId", "a\nb", "x-correlation-id", "abc", "traceparent", "00-x", "Traceparent", traceparent)))
	f.Fuzz(func(t *testing.T, b []byte) {
		headers := headersFrom(b)
		ctx := tracing.Extract(t.Context(), headers)
		for _, id := range []string{tracing.CorrelationID(ctx), tracing.CausationID(ctx)} {
			if id != "" {
				assert.True(t, tracing.ValidCorrelationID(id), "%q", id)
			}
		}
		// What was read, written over what was there, is there once and read again.
		out := slices.Clone(headers)
		tracing.Inject(ctx, &out)
		if sc := trace.SpanContextFromContext(ctx); sc.IsValid() {
			assert.True(t, sc.IsRemote())
			again := trace.SpanContextFromContext(tracing.Extract(t.Context(), out))
			assert.Equal(t, sc.TraceID(), again.TraceID())
			assert.Equal(t, sc.SpanID(), again.SpanID())
			n := 0
			for _, h := range out {
				if strings.EqualFold(h.Key, "traceparent") {
					n++
				}
			}
			assert.Equal(t, 1, n)
		}
	})
}
