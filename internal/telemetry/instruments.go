package telemetry

import (
	"context"
	"errors"
	"sync"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
)

// Attrs are a metric's attributes; what is "" is left out. They have few values: no
// event, key or correlation is among them.
type Attrs struct {
	Op          Op
	Destination string
	Group       string
	Client      string // only where several in a process would tell the same
	ErrorType   string
}

// sets remembers what the attributes are for OpenTelemetry, so that nothing is made anew for each event.
//
//nolint:gochecknoglobals // a cache
var sets struct {
	mu    sync.RWMutex
	known map[Attrs]metric.MeasurementOption
}

// mostSets bounds the cache, should a service invent topics as it goes.
const mostSets = 10_000

func (a Attrs) option() metric.MeasurementOption {
	sets.mu.RLock()
	o, ok := sets.known[a]
	sets.mu.RUnlock()
	if ok {
		return o
	}
	o = metric.WithAttributeSet(attribute.NewSet(a.list()...))
	sets.mu.Lock()
	defer sets.mu.Unlock()
	if sets.known == nil || len(sets.known) >= mostSets {
		sets.known = make(map[Attrs]metric.MeasurementOption)
	}
	sets.known[a] = o
	return o
}

func (a Attrs) list() []attribute.KeyValue {
	out := append(make([]attribute.KeyValue, 0, 6), System.String(Kafka))
	if a.Op != "" {
		out = append(out, OperationName.String(string(a.Op)), OperationType.String(a.Op.Type()))
	}
	for _, kv := range []attribute.KeyValue{Destination.String(a.Destination), ConsumerGroup.String(a.Group), ClientID.String(a.Client), ErrorType.String(a.ErrorType)} {
		if kv.Value.AsString() != "" {
			out = append(out, kv)
		}
	}
	return out
}

// Histogram is of seconds.
type Histogram struct{ i metric.Float64Histogram }

// On reports whether anybody would see a measurement.
func (h Histogram) On(ctx context.Context) bool { return h.i != nil && h.i.Enabled(ctx) }

// Record measures.
func (h Histogram) Record(ctx context.Context, seconds float64, a Attrs) {
	if h.On(ctx) {
		h.i.Record(ctx, seconds, a.option())
	}
}

// Counter counts.
type Counter struct{ i metric.Int64Counter }

// Add counts.
func (c Counter) Add(ctx context.Context, n int, a Attrs) {
	if n > 0 && c.i != nil && c.i.Enabled(ctx) {
		c.i.Add(ctx, int64(n), a.option())
	}
}

// UpDown is a number that grows and shrinks.
type UpDown struct{ i metric.Int64UpDownCounter }

// On reports whether anybody would see a change.
func (u UpDown) On(ctx context.Context) bool { return u.i != nil && u.i.Enabled(ctx) }

// Add changes it.
func (u UpDown) Add(ctx context.Context, n int, a Attrs) {
	if u.On(ctx) {
		u.i.Add(ctx, int64(n), a.option())
	}
}

// builder makes instruments, and keeps what goes wrong.
type builder struct {
	meter metric.Meter
	err   error
}

func (b *builder) histogram(name, description string) Histogram {
	i, err := b.meter.Float64Histogram(name, metric.WithUnit("s"), metric.WithDescription(description), metric.WithExplicitBucketBoundaries(buckets()...))
	b.err = errors.Join(b.err, err)
	return Histogram{i}
}

func (b *builder) counter(name, unit, description string) Counter {
	i, err := b.meter.Int64Counter(name, metric.WithUnit(unit), metric.WithDescription(description))
	b.err = errors.Join(b.err, err)
	return Counter{i}
}

func (b *builder) upDown(name, unit, description string) UpDown {
	i, err := b.meter.Int64UpDownCounter(name, metric.WithUnit(unit), metric.WithDescription(description))
	b.err = errors.Join(b.err, err)
	return UpDown{i}
}
