// Package consumers holds the consumers of customservice's events. Each is a
// group of its own, so that each gets every event; instances of the service
// share the work of a group.
//
// The events of one user come in order within a topic. Between two topics Kafka
// has no order: an item's deletion may come before its creation. Therefore the
// consumers go by the events' timestamps, which have the order of the commits.
package consumers

import (
	"context"
	"fmt"
	"log/slog"
	"slices"

	"github.com/expensevault/sharedlibrary/events"
	"github.com/expensevault/sharedlibrary/examples/customservice/internal/event"
	"github.com/expensevault/sharedlibrary/examples/customservice/internal/store"
	"github.com/expensevault/sharedlibrary/messaging"
	"github.com/expensevault/sharedlibrary/messaging/inbox"
	"github.com/expensevault/sharedlibrary/messaging/outbox"
)

// The consumers' names.
const (
	Analytics    = "analytics"
	Notification = "notification"
	Audit        = "audit"
)

// Names returns all of them.
func Names() []string { return []string{Analytics, Notification, Audit} }

// Group is the Kafka consumer group of a consumer.
func Group(name string) string { return event.Service + "-" + name }

// Needs is what consumers work with.
type Needs struct {
	Store     *store.Store
	Outbox    *outbox.Outbox      // for the notifications, in the transaction of their cause's inbox; nil: Publisher
	Committed func()              // after each such transaction
	Publisher messaging.Publisher // for the notifications without an outbox; it returns when they are acknowledged
	Log       *slog.Logger
	Watch     messaging.Middleware // around everything; nil: nobody looks
}

// Register registers the handlers of the consumer.
func Register(mux *messaging.Mux, name string, n Needs) error {
	if !slices.Contains(Names(), name) {
		return fmt.Errorf("there is no consumer %q: choose from %q", name, Names())
	}
	if n.Watch != nil {
		mux.Use(n.Watch)
	}
	// Whoever publishes at once does so outside of a transaction, which would last until a broker answers.
	if name != Notification || n.Outbox != nil {
		mux.Use(inbox.New(n.Store.DB(), n.Store.Dialect(), Group(name), inbox.WithLogger(n.Log), inbox.WithAfterCommit(n.Committed)).Middleware())
	}
	switch name {
	case Analytics:
		registerAnalytics(mux, n)
	case Notification:
		registerNotification(mux, n)
	case Audit:
		registerAudit(mux, n)
	}
	return nil
}

// handle registers fn, and logs what it gets.
func handle[E any, P interface {
	*E
	events.IntegrationEvent
}](mux *messaging.Mux, name string, log *slog.Logger, fn func(context.Context, P) error) {
	messaging.Handle(mux, func(ctx context.Context, e P) error {
		attrs := []slog.Attr{slog.String("user", e.PartitionKey())}
		if of, ok := any(e).(event.OfItem); ok {
			attrs = append(attrs, slog.String("item", of.ItemID().String()))
		}
		if d, ok := messaging.DeliveryFrom(ctx); ok {
			attrs = append(attrs, slog.Int("partition", int(d.Partition)), slog.Int64("offset", d.Offset), slog.Int("attempt", d.Attempt))
		}
		attrs = append(attrs, slog.String("event_id", e.Metadata().EventID.String()))
		log.LogAttrs(ctx, slog.LevelInfo, fmt.Sprintf("%s received %s from topic %s", name, event.Name(e), e.Topic()), attrs...)
		return fn(ctx, e)
	})
}
