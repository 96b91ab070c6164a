package inbox_test

import (
	"context"
	"database/sql"

	"github.com/expensevault/sharedlibrary/events"
	"github.com/expensevault/sharedlibrary/messaging"
	"github.com/expensevault/sharedlibrary/messaging/inbox"
)

// ItemCreated is an event.
type ItemCreated struct {
	events.Base
	User string `json:"userId"`
}

func (*ItemCreated) Topic() events.Topic    { return events.NewTopic("inventory", "item", "created") }
func (e *ItemCreated) PartitionKey() string { return e.User }

// However often an event is delivered, it is counted once.
func ExampleInbox_Middleware() { //nolint:testableexamples // needs a database
	register := func(db *sql.DB, mux *messaging.Mux) {
		mux.Use(inbox.New(db, inbox.PostgreSQL, "analytics").Middleware())
		messaging.Handle(mux, func(ctx context.Context, e *ItemCreated) error {
			_, err := inbox.Tx(ctx).ExecContext(ctx, "UPDATE counts SET items = items + 1 WHERE user_id = $1", e.User)
			return err
		})
	}
	_ = register
}

// The same without a mux, by whatever ID a message has.
func ExampleInbox_Handle() { //nolint:testableexamples // needs a database
	handle := func(ctx context.Context, in *inbox.Inbox, id, user string) error {
		_, err := in.Handle(ctx, id, func(ctx context.Context, tx *sql.Tx) error {
			_, err := tx.ExecContext(ctx, "UPDATE counts SET items = items + 1 WHERE user_id = $1", user)
			return err
		})
		return err
	}
	_ = handle
}
