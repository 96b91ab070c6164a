package messaging

import (
	"context"
	"strconv"
	"time"

	"github.com/google/uuid"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"

	"github.com/expensevault/sharedlibrary/internal/consumer"
	"github.com/expensevault/sharedlibrary/internal/telemetry"
	"github.com/expensevault/sharedlibrary/tracing"
)

// processing is one attempt of a handler, as others see it.
type processing struct {
	o     *observed
	start time.Time // zero: nobody looks
	span  trace.Span
	of    telemetry.Attrs
	n     int
}

// looks reports whether anybody would see an attempt.
func (o *observed) looks(ctx context.Context) bool {
	return o.tel != nil && (o.tel.Tracer() != nil || o.tel.Processed.On(ctx))
}

// beginProcess begins an attempt at records of one topic. A single record's span is a child of the span in which the record was
// made, and links to it as well: one trace, and no less than the conventions ask for. A batch begins a trace of its own.
//
//nolint:contextcheck // what a record's headers say is read into contexts of their own
func (o *observed) beginProcess(ctx context.Context, group string, d *Delivery, recs []Record) processing {
	pr := processing{o: o, start: time.Time{}, span: nil, n: len(recs), of: telemetry.Attrs{Op: telemetry.Process, Destination: d.Topic, Group: group, Client: "", ErrorType: ""}}
	tracer := o.tracer()
	pr.start = time.Now()
	o.tel.InFlight.Add(ctx, pr.n, telemetry.Attrs{Destination: d.Topic, Group: group}) //nolint:exhaustruct // no more
	if d.Attempt == 1 {
		o.tel.Consumed.Add(ctx, pr.n, pr.of)
	}
	if tracer == nil {
		return pr
	}
	attrs := o.spanAttrs(telemetry.Process, d.Topic,
		telemetry.ConsumerGroup.String(group), telemetry.Partition.String(strconv.Itoa(int(d.Partition))), telemetry.Attempt.Int(d.Attempt))
	links := make([]trace.Link, 0, len(recs))
	for i := range recs {
		if l, ok := linkTo(recs[i].Headers, recs[i].eventID()); ok {
			links = append(links, l)
		}
	}
	parent := noStory(ctx)
	if len(recs) == 1 && d.Headers != nil {
		attrs = o.keyAttr(append(attrs, o.recordAttrs(d, &recs[0])...), recs[0].Key)
		if !o.linked {
			parent = tracing.Extract(parent, recs[0].Headers)
		}
	} else {
		attrs = append(attrs, telemetry.BatchCount.Int(len(recs)))
	}
	_, pr.span = tracer.Start(parent, spanName(telemetry.Process, d.Topic), trace.WithSpanKind(trace.SpanKindConsumer), //nolint:spancheck // end ends it
		trace.WithAttributes(attrs...), trace.WithLinks(links...))
	return pr
}

func (*observed) recordAttrs(d *Delivery, r *Record) []attribute.KeyValue {
	attrs := append(messageAttrs(r.eventID(), tracing.CorrelationID(tracing.Extract(context.Background(), r.Headers))), telemetry.Offset.Int64(d.Offset))
	if r.Value == nil {
		attrs = append(attrs, telemetry.Tombstone.Bool(true))
	}
	return attrs
}

// end tells what came of the attempt.
func (pr *processing) end(ctx context.Context, id uuid.UUID, err error) {
	if pr.start.IsZero() {
		return
	}
	o := pr.o
	o.tel.InFlight.Add(ctx, -pr.n, telemetry.Attrs{Destination: pr.of.Destination, Group: pr.of.Group}) //nolint:exhaustruct // no more
	if err != nil {
		f := newFailure(err, 1, id) // for the error's own methods may panic
		pr.of.ErrorType = f.kind
		if pr.span != nil {
			endSpan(pr.span, &spanError{f.loggable}, f.kind)
		}
	} else if pr.span != nil {
		if id != uuid.Nil {
			pr.span.SetAttributes(telemetry.MessageID.String(id.String()))
		}
		pr.span.End()
	}
	if pr.span != nil {
		ctx = trace.ContextWithSpan(ctx, pr.span)
	}
	o.tel.Processed.Record(ctx, time.Since(pr.start).Seconds(), pr.of)
}

// spanError is the text of an error that is not asked again.
type spanError struct{ text string }

func (e *spanError) Error() string { return e.text }

// story returns ctx within the span of the attempt, for what is done because of it.
func (pr *processing) story(ctx context.Context) context.Context {
	if pr.span == nil {
		return ctx
	}
	return trace.ContextWithSpanContext(ctx, pr.span.SpanContext())
}

// retried and deadLettered count what failed.
func (p *pipeline) retried(ctx context.Context, topic, kind string) {
	if p.watch.tel != nil {
		p.watch.tel.Retries.Add(ctx, 1, telemetry.Attrs{Destination: topic, Group: p.group, ErrorType: kind}) //nolint:exhaustruct // no operation
	}
}

func (p *pipeline) deadLettered(ctx context.Context, topic, kind string) {
	if p.watch.tel != nil {
		p.watch.tel.Dead.Add(ctx, 1, telemetry.Attrs{Destination: topic, Group: p.group, ErrorType: kind}) //nolint:exhaustruct // no operation
	}
}

// engineObserver is what the engine tells.
type engineObserver struct {
	*observed

	group string
}

var _ consumer.Observer = (*engineObserver)(nil)

// Joined implements [consumer.Observer].
func (e *engineObserver) Joined(int) {
	e.tel.Rebalance.Add(context.Background(), 1, telemetry.Attrs{Group: e.group}) //nolint:exhaustruct // no more
}

// Polled implements [consumer.Observer].
func (e *engineObserver) Polled(start time.Time, topics []string, records int, err error) {
	e.client(telemetry.Poll, start, topics, records, err)
}

// Committed implements [consumer.Observer].
func (e *engineObserver) Committed(start time.Time, topics []string, err error) {
	e.client(telemetry.Commit, start, topics, 0, err)
}

func (e *engineObserver) client(op telemetry.Op, start time.Time, topics []string, records int, err error) {
	of := telemetry.Attrs{Op: op, Destination: "", Group: e.group, Client: "", ErrorType: ""}
	if len(topics) == 1 {
		of.Destination = topics[0]
	}
	if err != nil {
		of.ErrorType = errorType(classify(err))
	}
	end := time.Now()
	e.tel.Operation.Record(context.Background(), end.Sub(start).Seconds(), of)
	tracer := e.tel.Tracer()
	if !e.polls || tracer == nil {
		return
	}
	attrs := e.spanAttrs(op, of.Destination, telemetry.ConsumerGroup.String(e.group))
	if records > 0 {
		attrs = append(attrs, telemetry.BatchCount.Int(records))
	}
	_, span := tracer.Start(context.Background(), spanName(op, of.Destination), trace.WithSpanKind(trace.SpanKindClient),
		trace.WithAttributes(attrs...), trace.WithTimestamp(start))
	if err != nil {
		endSpan(span, err, of.ErrorType)
		return
	}
	span.End(trace.WithTimestamp(end))
}

// watchEngine has the engine's figures observed; the function that is returned ends that.
func (o *observed) watchEngine(group string, control *consumer.Control) (end func()) {
	return o.tel.Observe(func(_ context.Context, tell func(int, float64, telemetry.Attrs)) {
		lag, parts, still := map[string]int64{}, map[string]int{}, map[string]time.Duration{}
		for _, p := range control.Status().Partitions {
			lag[p.Topic] += p.Lag()
			parts[p.Topic]++
			still[p.Topic] = max(still[p.Topic], p.Still)
		}
		for topic, n := range parts {
			of := telemetry.Attrs{Destination: topic, Group: group} //nolint:exhaustruct // no more
			tell(0, float64(lag[topic]), of)
			tell(1, float64(n), of)
			tell(2, still[topic].Seconds(), of)
		}
	},
		telemetry.Gauge{Name: telemetry.ConsumerLag, Unit: "{message}", Description: "How far this member is behind in the partitions that it has"},
		telemetry.Gauge{Name: telemetry.ConsumerAssigned, Unit: "{partition}", Description: "Partitions that this member has"},
		telemetry.Gauge{Name: telemetry.ConsumerOldest, Unit: "s", Description: "For how long the offset of a partition has stood still with work to do"},
	)
}
