package messaging

import (
	"context"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	"github.com/expensevault/sharedlibrary/events"
	"github.com/expensevault/sharedlibrary/internal/producer"
	"github.com/expensevault/sharedlibrary/internal/telemetry"
	"github.com/expensevault/sharedlibrary/tracing"
)

// observed makes spans, and measures, for a publisher or a subscriber. Its zero value does neither.
type observed struct {
	tel      *telemetry.T
	clientID string
	keyless  bool
	linked   bool // handlers' spans have links, and no remote parent
	polls    bool // fetches and commits have spans
}

func (o *commonOptions) observed(clientID string) observed {
	return observed{tel: telemetry.New(o.tracers, o.meters), clientID: clientID, keyless: o.keyless, linked: false, polls: false}
}

// tracer is nil where nobody looks.
func (o *observed) tracer() trace.Tracer {
	if o.tel == nil {
		return nil
	}
	return o.tel.Tracer()
}

// spanAttrs are those that every span begins with.
func (o *observed) spanAttrs(op telemetry.Op, topic string, more ...attribute.KeyValue) []attribute.KeyValue {
	attrs := append(make([]attribute.KeyValue, 0, 12),
		telemetry.System.String(telemetry.Kafka),
		telemetry.OperationName.String(string(op)),
		telemetry.OperationType.String(op.Type()),
	)
	if topic != "" {
		attrs = append(attrs, telemetry.Destination.String(topic))
	}
	if o.clientID != "" {
		attrs = append(attrs, telemetry.ClientID.String(o.clientID))
	}
	return append(attrs, more...)
}

// keyAttr tells a record's key where it is text, and may be told.
func (o *observed) keyAttr(attrs []attribute.KeyValue, key []byte) []attribute.KeyValue {
	if o.keyless || key == nil || !utf8.Valid(key) {
		return attrs
	}
	return append(attrs, telemetry.MessageKey.String(string(key)))
}

func spanName(op telemetry.Op, topic string) string {
	if topic == "" {
		return string(op)
	}
	return string(op) + " " + topic
}

// beginSend begins the span of one event; its context goes into the record. No span: nobody looks.
func (o *observed) beginSend(ctx context.Context, topic string, key []byte, b *events.Base) (context.Context, trace.Span) {
	tracer := o.tracer()
	if tracer == nil {
		return ctx, nil
	}
	attrs := o.keyAttr(o.spanAttrs(telemetry.Send, topic, messageAttrs(b.EventID, b.CorrelationID)...), key)
	return tracer.Start(ctx, spanName(telemetry.Send, topic), trace.WithSpanKind(trace.SpanKindProducer), trace.WithAttributes(attrs...)) //nolint:spancheck // sent ends it
}

func messageAttrs(id uuid.UUID, correlation string) []attribute.KeyValue {
	attrs := make([]attribute.KeyValue, 0, 2)
	if id != uuid.Nil {
		attrs = append(attrs, telemetry.MessageID.String(id.String()))
	}
	if correlation != "" {
		attrs = append(attrs, telemetry.ConversationID.String(correlation))
	}
	return attrs
}

// sent tells what became of one event, or record. The span may be nil.
func (o *observed) sent(span trace.Span, topic string, id uuid.UUID, start time.Time, res producer.Result, err error) {
	ctx := context.Background() // the call's may have ended
	if span == nil && (o.tel == nil || !o.tel.Operation.On(ctx)) {
		return
	}
	var kind string
	if err != nil {
		kind = publishError(topic, id, err).ErrorType()
	}
	if span != nil {
		if err == nil {
			span.SetAttributes(telemetry.Partition.String(strconv.Itoa(int(res.Partition))))
			if res.Offset >= 0 {
				span.SetAttributes(telemetry.Offset.Int64(res.Offset))
			}
		}
		endSpan(span, err, kind)
		ctx = trace.ContextWithSpan(ctx, span)
	}
	o.count(ctx, topic, 1, time.Since(start), kind)
}

// count measures events that were sent.
func (o *observed) count(ctx context.Context, topic string, n int, took time.Duration, kind string) {
	if o.tel == nil {
		return
	}
	of := telemetry.Attrs{Op: telemetry.Send, Destination: topic, ErrorType: kind} //nolint:exhaustruct // no group
	o.tel.Operation.Record(ctx, took.Seconds(), of)
	o.tel.Sent.Add(ctx, n, of)
}

// endSpan ends a span with what came of it.
func endSpan(span trace.Span, err error, kind string) {
	if err != nil {
		span.SetAttributes(telemetry.ErrorType.String(kind))
		span.SetStatus(codes.Error, err.Error())
	}
	span.End()
}

// beginBatch begins the span of records that have a context of their own already, and links to these.
func (o *observed) beginBatch(ctx context.Context, topic string, recs []Record) (context.Context, trace.Span) {
	tracer := o.tracer()
	if tracer == nil || len(recs) == 0 {
		return ctx, nil
	}
	if topic == "" {
		topic = recs[0].Topic
		for i := range recs {
			if recs[i].Topic != topic {
				topic = ""
				break
			}
		}
	}
	attrs := o.spanAttrs(telemetry.Send, topic, telemetry.BatchCount.Int(len(recs)))
	links := make([]trace.Link, 0, len(recs))
	for i := range recs {
		if l, ok := linkTo(recs[i].Headers, recs[i].eventID()); ok {
			links = append(links, l)
		}
	}
	return tracer.Start(ctx, spanName(telemetry.Send, topic), trace.WithSpanKind(trace.SpanKindClient), //nolint:spancheck // the caller ends it
		trace.WithAttributes(attrs...), trace.WithLinks(links...))
}

// linkTo is a link to where a record was made.
func linkTo(headers []Header, id uuid.UUID) (trace.Link, bool) {
	sc := trace.SpanContextFromContext(tracing.Extract(context.Background(), headers))
	if !sc.IsValid() {
		return trace.Link{}, false
	}
	return trace.Link{SpanContext: sc, Attributes: messageAttrs(id, "")}, true
}

// Sent implements [producer.Observer].
func (o *observed) Sent(topic string, waited time.Duration) {
	o.tel.Queued.Record(context.Background(), waited.Seconds(), telemetry.Attrs{Destination: topic}) //nolint:exhaustruct // no more
}

// Resent implements [producer.Observer].
func (o *observed) Resent(topic string, err error) {
	o.tel.Resent.Add(context.Background(), 1, telemetry.Attrs{Destination: topic, ErrorType: errorType(classify(err))}) //nolint:exhaustruct // no more
}

// Answered implements [producer.Observer].
func (o *observed) Answered(took time.Duration, err error) {
	var of telemetry.Attrs
	if err != nil {
		of.ErrorType = errorType(classify(err))
	}
	o.tel.Requested.Record(context.Background(), took.Seconds(), of)
}

// watchBuffer has the engine's buffer observed; the function that is returned ends that.
func (o *observed) watchBuffer(engine *producer.Producer) (end func()) {
	return o.tel.Observe(func(_ context.Context, tell func(int, float64, telemetry.Attrs)) {
		s := engine.State()
		of := telemetry.Attrs{Client: o.clientID} //nolint:exhaustruct // no more
		tell(0, float64(s.Bytes), of)
		tell(1, float64(s.Events), of)
		tell(2, s.Oldest.Seconds(), of)
	},
		telemetry.Gauge{Name: telemetry.BufferBytes, Unit: "By", Description: "What is not settled takes so much of the buffer"},
		telemetry.Gauge{Name: telemetry.BufferEvents, Unit: "{message}", Description: "Events that are not settled"},
		telemetry.Gauge{Name: telemetry.BufferOldest, Unit: "s", Description: "Since when the oldest event waits to be settled"},
	)
}
