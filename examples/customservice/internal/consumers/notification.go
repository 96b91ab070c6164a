package consumers

import (
	"context"
	"fmt"
	"log/slog"

	"github.com/google/uuid"

	"github.com/expensevault/sharedlibrary/events"
	"github.com/expensevault/sharedlibrary/examples/customservice/internal/event"
	"github.com/expensevault/sharedlibrary/messaging"
	"github.com/expensevault/sharedlibrary/messaging/inbox"
)

// registerNotification sends a Notification onward for each event of an item.
func registerNotification(mux *messaging.Mux, n Needs) {
	handle(mux, Notification, n.Log, func(ctx context.Context, e *event.ItemCreated) error {
		return notify(ctx, n, e, e.UserID, fmt.Sprintf("Your item %q has been created.", e.Name))
	})
	handle(mux, Notification, n.Log, func(ctx context.Context, e *event.ItemUpdated) error {
		return notify(ctx, n, e, e.UserID, fmt.Sprintf("Your item %q has been updated: it is %s now.", e.Name, e.Status))
	})
	handle(mux, Notification, n.Log, func(ctx context.Context, e *event.ItemDeleted) error {
		return notify(ctx, n, e, e.UserID, fmt.Sprintf("Your item %q has been deleted.", e.Name))
	})
}

// notify publishes with the handler's context, which carries the correlation ID
// of the request that all began with, and as causation ID that of the cause.
// Its error has the cause delivered again.
func notify(ctx context.Context, n Needs, cause event.OfItem, user uuid.UUID, message string) error {
	e := &event.Notification{
		// The same cause has the same notification: who gets it twice can tell.
		Base:    events.Base{EventID: uuid.NewSHA1(cause.Metadata().EventID, []byte("notification"))},
		UserID:  user,
		Message: message,
	}
	verb, publisher := "Published", n.Publisher
	if n.Outbox != nil {
		verb, publisher = "Wrote to the outbox", n.Outbox.In(inbox.Tx(ctx))
	}
	if err := publisher.Publish(ctx, e); err != nil {
		return err
	}
	n.Log.InfoContext(ctx, fmt.Sprintf("%s %s for user %s to topic %s", verb, event.Name(e), user, e.Topic()),
		slog.String("item", cause.ItemID().String()), slog.String("event_id", e.EventID.String()), slog.String("causation_id", e.CausationID))
	return nil
}
