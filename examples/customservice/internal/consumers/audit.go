package consumers

import (
	"context"

	"github.com/google/uuid"

	"github.com/expensevault/sharedlibrary/events"
	"github.com/expensevault/sharedlibrary/examples/customservice/internal/event"
	"github.com/expensevault/sharedlibrary/examples/customservice/internal/store"
	"github.com/expensevault/sharedlibrary/messaging"
	"github.com/expensevault/sharedlibrary/messaging/inbox"
)

// registerAudit keeps every event as it stands in its topic.
func registerAudit(mux *messaging.Mux, n Needs) {
	mux.Use(keepPayload)
	handle(mux, Audit, n.Log, func(ctx context.Context, e *event.ItemCreated) error {
		return keep(ctx, n, e, e.CustomItemID, e.UserID)
	})
	handle(mux, Audit, n.Log, func(ctx context.Context, e *event.ItemUpdated) error {
		return keep(ctx, n, e, e.CustomItemID, e.UserID)
	})
	handle(mux, Audit, n.Log, func(ctx context.Context, e *event.ItemDeleted) error {
		return keep(ctx, n, e, e.CustomItemID, e.UserID)
	})
	handle(mux, Audit, n.Log, func(ctx context.Context, e *event.Notification) error {
		return keep(ctx, n, e, uuid.Nil, e.UserID)
	})
}

func keep(ctx context.Context, n Needs, e events.IntegrationEvent, itemID, user uuid.UUID) error {
	b := e.Metadata()
	d, _ := messaging.DeliveryFrom(ctx)
	payload, _ := ctx.Value(payloadKey{}).([]byte)
	return n.Store.Within(inbox.Tx(ctx)).Append(ctx, store.AuditEntry{
		EventID: b.EventID, Topic: e.Topic().String(), Partition: d.Partition, Offset: d.Offset, ItemID: itemID, UserID: user,
		Time: b.Timestamp, CorrelationID: b.CorrelationID, CausationID: b.CausationID, Payload: payload,
	})
}

type payloadKey struct{}

// keepPayload lets a handler see the bytes that its event was decoded from.
func keepPayload(next messaging.HandlerFunc) messaging.HandlerFunc {
	return func(ctx context.Context, r messaging.Record) error {
		return next(context.WithValue(ctx, payloadKey{}, r.Value), r)
	}
}
