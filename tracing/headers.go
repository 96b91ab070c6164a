package tracing

import (
	"context"
	"slices"
	"strings"
	"sync"

	"github.com/segmentio/kafka-go/protocol"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/trace"
)

// What is looked at of a record's headers, which anybody may have written.
const (
	maxHeaders = 64
	maxKey     = 128
	maxValue   = 4096
)

// Inject writes ctx's trace context into headers, by the propagator in force
// (see the package's comment): with OpenTelemetry's usual ones traceparent,
// tracestate and baggage, as UTF-8 text. All the propagator's fields that
// headers already had, in any letter case, are replaced, so that no key is there
// twice and no old tracestate stays beside a new traceparent. When ctx carries
// nothing, headers stay as they are, and so they do when no propagator was set.
//
// The slice is appended to, as append does; where something must go a new
// slice is made, and the old array is not written to. A nil headers is ignored.
//
// Correlation and causation IDs are not written here: they are attributes of the
// event (ce_correlationid, ce_causationid), which publishing writes from its envelope.
func Inject(ctx context.Context, headers *[]protocol.Header) {
	if headers == nil {
		return
	}
	p := otel.GetTextMapPropagator()
	pooled := collectors.Get().(*collector) //nolint:forcetypeassert // nothing else is put there
	defer pooled.free()
	p.Inject(ctx, pooled)
	c := *pooled
	if len(c) == 0 {
		return
	}
	if kept := *headers; len(kept) > 0 {
		fields := p.Fields()
		replaced := func(h protocol.Header) bool {
			return slices.ContainsFunc(fields, func(f string) bool { return equalFold(h.Key, f) }) || c.index(h.Key) >= 0
		}
		if slices.ContainsFunc(kept, replaced) {
			*headers = slices.DeleteFunc(slices.Clone(kept), replaced)
		}
	}
	*headers = append(*headers, c...)
}

// Extract returns ctx with what headers carry; what they do not carry, or not
// validly, stays as it is in ctx. Of a key that is there twice the last value
// counts. Keys are found in any letter case, the exact one first.
//
//   - Trace context as a remote span context, and baggage, by the propagator in
//     force. Without a traceparent header, ce_traceparent and ce_tracestate are
//     read in its place (CloudEvents' distributed tracing extension).
//   - The correlation ID: the first valid one of ce_correlationid,
//     correlation-id, correlation_id, CorrelationId, X-Correlation-ID and
//     cap-corr-id, which are in use among CloudEvents, .NET and Go libraries.
//   - The causation ID: the first valid one of ce_causationid, causation-id,
//     causation_id and CausationId.
//
// Headers may come from anybody: of more than 64 the last 64 are looked at; a key
// over 128 bytes is not, and a value over 4096 is read as "". The memory of headers
// is not kept.
func Extract(ctx context.Context, headers []protocol.Header) context.Context {
	if len(headers) == 0 {
		return ctx
	}
	if len(headers) > maxHeaders {
		headers = headers[len(headers)-maxHeaders:]
	}
	p := otel.GetTextMapPropagator()
	before := trace.SpanContextFromContext(ctx)
	ctx = p.Extract(ctx, carrier(headers))
	if carrier(headers).has("ce_traceparent") && carrier(headers).Get("traceparent") == "" && trace.SpanContextFromContext(ctx).Equal(before) {
		ctx = p.Extract(ctx, cloudEventsCarrier{carrier(headers)})
	}
	if id := firstID(headers, "ce_correlationid", "correlation-id", "correlation_id",
		"CorrelationId", "X-Correlation-ID", "cap-corr-id"); id != "" {
		ctx = WithCorrelationID(ctx, id)
	}
	if id := firstID(headers, "ce_causationid", "causation-id", "causation_id", "CausationId"); id != "" {
		ctx = WithCausationID(ctx, id)
	}
	return ctx
}

func firstID(headers carrier, names ...string) string {
	for _, name := range names {
		if id := headers.Get(name); ValidCorrelationID(id) {
			return id
		}
	}
	return ""
}

// carrier is a record's headers as a propagator reads them.
type carrier []protocol.Header

func (c carrier) Get(key string) string {
	if len(key) > maxKey {
		return ""
	}
	found := -1
	for i, h := range slices.Backward(c) {
		if h.Key == key {
			found = i
			break
		}
		if found < 0 && equalFold(h.Key, key) {
			found = i
		}
	}
	// One too long counts as the last value all the same: it hides those before it.
	if found < 0 || len(c[found].Value) > maxValue {
		return ""
	}
	return string(c[found].Value)
}

func (c carrier) has(key string) bool {
	return slices.ContainsFunc(c, func(h protocol.Header) bool { return equalFold(h.Key, key) })
}

// Set is there for the interface: nothing is written through this carrier.
func (carrier) Set(string, string) {}

func (c carrier) Keys() []string {
	keys := make([]string, 0, len(c))
	for _, h := range c {
		if len(h.Key) <= maxKey {
			keys = append(keys, h.Key)
		}
	}
	return keys
}

// cloudEventsCarrier has the trace in which an event began.
type cloudEventsCarrier struct{ carrier }

func (c cloudEventsCarrier) Get(key string) string {
	if key != "traceparent" && key != "tracestate" {
		return ""
	}
	return c.carrier.Get("ce_" + key)
}

func (cloudEventsCarrier) Keys() []string { return []string{"traceparent", "tracestate"} }

// collector keeps what a propagator writes.
type collector []protocol.Header

// collectors are used again: most events are published without a trace, and would pay for one all the same.
//
//nolint:gochecknoglobals // a pool
var collectors = sync.Pool{New: func() any { return new(collector) }}

func (c *collector) free() {
	clear(*c)
	*c = (*c)[:0]
	collectors.Put(c)
}

func (c *collector) Get(key string) string {
	if i := c.index(key); i >= 0 {
		return string((*c)[i].Value)
	}
	return ""
}

func (c *collector) Set(key, value string) {
	h := protocol.Header{Key: key, Value: []byte(value)}
	if i := c.index(key); i >= 0 {
		(*c)[i] = h
		return
	}
	*c = append(*c, h)
}

func (c *collector) Keys() []string { return carrier(*c).Keys() }

func (c *collector) index(key string) int {
	return slices.IndexFunc(*c, func(h protocol.Header) bool { return equalFold(h.Key, key) })
}

// equalFold ignores the case of ASCII letters only: all names asked for are ASCII.
func equalFold(a, b string) bool { return len(a) == len(b) && strings.EqualFold(a, b) }
