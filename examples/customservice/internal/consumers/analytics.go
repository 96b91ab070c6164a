package consumers

import (
	"context"

	"github.com/expensevault/sharedlibrary/examples/customservice/internal/event"
	"github.com/expensevault/sharedlibrary/messaging"
	"github.com/expensevault/sharedlibrary/messaging/inbox"
)

// deleted is what analytics counts a deleted item as.
const deleted = "Deleted"

// registerAnalytics counts items by status and user. It keeps each item's last
// status rather than sums, so that an event that comes twice counts once.
func registerAnalytics(mux *messaging.Mux, n Needs) {
	handle(mux, Analytics, n.Log, func(ctx context.Context, e *event.ItemCreated) error {
		return n.Store.Within(inbox.Tx(ctx)).Count(ctx, e.CustomItemID, e.UserID, e.Status, e.Timestamp)
	})
	handle(mux, Analytics, n.Log, func(ctx context.Context, e *event.ItemUpdated) error {
		return n.Store.Within(inbox.Tx(ctx)).Count(ctx, e.CustomItemID, e.UserID, e.Status, e.Timestamp)
	})
	handle(mux, Analytics, n.Log, func(ctx context.Context, e *event.ItemDeleted) error {
		return n.Store.Within(inbox.Tx(ctx)).Count(ctx, e.CustomItemID, e.UserID, deleted, e.Timestamp)
	})
}
