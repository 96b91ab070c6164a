package outbox

import (
	"context"
	"errors"
	"time"

	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	"github.com/expensevault/sharedlibrary/events"
	"github.com/expensevault/sharedlibrary/internal/telemetry"
	"github.com/expensevault/sharedlibrary/messaging"
)

// create makes the record of an event, within a span whose context goes with it.
func (o *Outbox) create(ctx context.Context, e events.IntegrationEvent) (messaging.Record, error) {
	tracer := o.tracers.Tracer()
	if tracer == nil {
		return o.store.o.encode(ctx, e)
	}
	ctx, span := tracer.Start(ctx, string(telemetry.Create), trace.WithSpanKind(trace.SpanKindProducer), trace.WithAttributes(
		telemetry.System.String(telemetry.Kafka),
		telemetry.OperationName.String(string(telemetry.Create)), telemetry.OperationType.String(telemetry.Create.Type())))
	defer span.End()
	r, err := o.store.o.encode(ctx, e)
	if err != nil {
		if typed, ok := errors.AsType[*messaging.PublishError](err); ok {
			span.SetAttributes(telemetry.ErrorType.String(typed.ErrorType()))
		}
		span.SetStatus(codes.Error, err.Error())
		return r, err
	}
	span.SetName(string(telemetry.Create) + " " + r.Topic) // the encoder gives the topic its name
	b := e.Metadata()
	span.SetAttributes(telemetry.Destination.String(r.Topic), telemetry.MessageID.String(b.EventID.String()), telemetry.ConversationID.String(b.CorrelationID))
	return r, nil
}

// countTimeout bounds what a collection of metrics, or a look at the health, waits for the database.
const countTimeout = 3 * time.Second

// observe tells the metrics of a relay; the function that is returned ends that.
func (r *run) observe() (end func()) {
	return telemetry.New(r.store.o.tracers, r.store.o.meters).Observe(func(ctx context.Context, tell func(int, float64, telemetry.Attrs)) {
		var of telemetry.Attrs
		tell(3, float64(r.shards.Load()), of)
		ctx, cancel := context.WithTimeout(ctx, countTimeout)
		defer cancel()
		b, err := (&Outbox{store: r.store, tracers: nil, err: nil}).Backlog(ctx, r.db)
		if err != nil {
			r.log.DebugContext(ctx, "The outbox cannot be counted", "error", err)
			return
		}
		tell(0, float64(b.Pending), of)
		tell(1, float64(b.Parked), of)
		tell(2, b.Oldest.Seconds(), of)
	},
		telemetry.Gauge{Name: telemetry.OutboxPending, Unit: "{message}", Description: "Rows that are to be published, the same from every relay"},
		telemetry.Gauge{Name: telemetry.OutboxParked, Unit: "{message}", Description: "Rows that cannot be published"},
		telemetry.Gauge{Name: telemetry.OutboxOldest, Unit: "s", Description: "Since when the oldest row that is to be published stands there"},
		telemetry.Gauge{Name: telemetry.OutboxShards, Unit: "{shard}", Description: "Shards that this relay has"},
	)
}
