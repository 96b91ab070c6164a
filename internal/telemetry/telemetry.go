// Package telemetry has the names of the library's spans and metrics, and the
// instruments. It needs OpenTelemetry's API alone; without a provider, which is
// a program's to set, nothing is measured and nothing is paid for.
package telemetry

import (
	"context"
	"errors"
	"reflect"
	"sync/atomic"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"
)

// Tracers finds who makes spans. Any number of goroutines may use it.
type Tracers struct {
	provider trace.TracerProvider // nil: the global one, whichever it is at the time
	last     atomic.Pointer[found]
}

// NewTracers takes a provider; nil is the global one, which may be set later.
func NewTracers(p trace.TracerProvider) *Tracers {
	t := &Tracers{provider: p, last: atomic.Pointer[found]{}}
	if p != nil {
		t.last.Store(findTracer(p))
	}
	return t
}

// T makes the library's spans, and has its instruments. Any number of goroutines may use it.
type T struct {
	*Tracers

	meter metric.Meter

	Operation Histogram
	Processed Histogram
	Queued    Histogram
	Requested Histogram
	Sent      Counter
	Consumed  Counter
	Resent    Counter
	Retries   Counter
	Dead      Counter
	Rebalance Counter
	InFlight  UpDown
}

// found is the tracer of a provider.
type found struct {
	of     trace.TracerProvider
	tracer trace.Tracer // nil: nobody looks at spans
}

// New takes the providers; nil is the global one. Both may be set later.
func New(tracers trace.TracerProvider, meters metric.MeterProvider) *T {
	if meters == nil {
		meters = otel.GetMeterProvider()
	}
	m := meters.Meter(Scope, metric.WithSchemaURL(SchemaURL))
	t := &T{Tracers: NewTracers(tracers), meter: m} //nolint:exhaustruct // filled in below
	var b builder
	b.meter = m
	t.Operation = b.histogram(OperationDuration, "How long a send, poll or commit took")
	t.Processed = b.histogram(ProcessDuration, "How long a handler took")
	t.Queued = b.histogram(QueueDuration, "How long the oldest event of a request had waited to be sent")
	t.Requested = b.histogram(RequestDuration, "How long the broker took to acknowledge a request")
	t.Sent = b.counter(SentMessages, "{message}", "Events that were sent, with error.type those that failed")
	t.Consumed = b.counter(ConsumedMessages, "{message}", "Records that were given to a handler")
	t.Resent = b.counter(Resent, "{batch}", "Batches that were sent again, by what went wrong before")
	t.Retries = b.counter(Retries, "{message}", "Failed attempts of handlers that are repeated, or go to a retry topic")
	t.Dead = b.counter(DeadLettered, "{message}", "Records that went to the dead letters")
	t.Rebalance = b.counter(Rebalances, "{rebalance}", "How often the group shared out its partitions")
	t.InFlight = b.upDown(InFlight, "{message}", "Records that handlers have in hand")
	if b.err != nil {
		otel.Handle(b.err)
	}
	return t
}

// Tracer returns the tracer; nil where nobody would see its spans.
func (t *Tracers) Tracer() trace.Tracer {
	f := t.last.Load()
	if t.provider != nil {
		return f.tracer
	}
	now := otel.GetTracerProvider()
	if f == nil || f.of != now {
		f = findTracer(now)
		t.last.Store(f)
	}
	return f.tracer
}

// findTracer returns no tracer for the providers that stand for none: OpenTelemetry's own noop, and the global
// one that waits for somebody to set another.
func findTracer(p trace.TracerProvider) *found {
	typ := reflect.TypeOf(p)
	if typ.Kind() == reflect.Pointer {
		typ = typ.Elem()
	}
	switch typ.PkgPath() {
	case "go.opentelemetry.io/otel/internal/global", "go.opentelemetry.io/otel/trace/noop":
		return &found{of: p, tracer: nil}
	}
	return &found{of: p, tracer: p.Tracer(Scope, trace.WithSchemaURL(SchemaURL))}
}

// Observe has metrics told when they are collected: observe is called with what it may tell each of them, in the order
// of the gauges. The function that is returned ends that.
func (t *T) Observe(observe func(ctx context.Context, tell func(gauge int, value float64, of Attrs)), gauges ...Gauge) (end func()) {
	var (
		errs    []error
		all     = make([]metric.Observable, 0, len(gauges))
		tellers = make([]func(metric.Observer, float64, metric.MeasurementOption), 0, len(gauges))
	)
	for _, g := range gauges {
		if g.Unit == "s" {
			i, err := t.meter.Float64ObservableGauge(g.Name, metric.WithUnit(g.Unit), metric.WithDescription(g.Description))
			errs = append(errs, err)
			all = append(all, i)
			tellers = append(tellers, func(o metric.Observer, v float64, with metric.MeasurementOption) { o.ObserveFloat64(i, v, with) })
			continue
		}
		i, err := t.meter.Int64ObservableGauge(g.Name, metric.WithUnit(g.Unit), metric.WithDescription(g.Description))
		errs = append(errs, err)
		all = append(all, i)
		tellers = append(tellers, func(o metric.Observer, v float64, with metric.MeasurementOption) { o.ObserveInt64(i, int64(v), with) })
	}
	reg, err := t.meter.RegisterCallback(func(ctx context.Context, o metric.Observer) error {
		observe(ctx, func(gauge int, value float64, of Attrs) { tellers[gauge](o, value, of.option()) })
		return nil
	}, all...)
	if err := errors.Join(append(errs, err)...); err != nil {
		otel.Handle(err)
	}
	return func() {
		if reg != nil {
			if err := reg.Unregister(); err != nil {
				otel.Handle(err)
			}
		}
	}
}

// Gauge is a metric that is asked for, and not told.
type Gauge struct{ Name, Unit, Description string }
