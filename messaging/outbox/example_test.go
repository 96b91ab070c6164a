package outbox_test

import (
	"context"
	"database/sql"
	"fmt"

	"github.com/expensevault/sharedlibrary/events"
	"github.com/expensevault/sharedlibrary/messaging"
	"github.com/expensevault/sharedlibrary/messaging/outbox"
)

// ItemCreated is an event.
type ItemCreated struct {
	events.Base
	Name string `json:"name"`
	User string `json:"userId"`
}

func (*ItemCreated) Topic() events.Topic    { return events.NewTopic("inventory", "item", "created") }
func (e *ItemCreated) PartitionKey() string { return e.User }

// The item and its event are committed together, or neither is.
func ExampleOutbox_Do() { //nolint:testableexamples // needs a database
	create := func(ctx context.Context, db *sql.DB, box *outbox.Outbox, user, name string) error {
		return box.Do(ctx, db, func(tx *sql.Tx) error {
			// First the row that serialises what happens to the key, so that events have the order of their transactions.
			if _, err := tx.ExecContext(ctx, "SELECT 1 FROM users WHERE id = $1 FOR UPDATE", user); err != nil {
				return err
			}
			if _, err := tx.ExecContext(ctx, "INSERT INTO items (user_id, name) VALUES ($1, $2)", user, name); err != nil {
				return err
			}
			return box.In(tx).Publish(ctx, &ItemCreated{Name: name, User: user})
		})
	}
	_ = create
}

// Each instance of a service runs a relay; they share the work.
func ExampleRelay() { //nolint:testableexamples // needs a database and a broker
	run := func(ctx context.Context, db *sql.DB, cfg messaging.Config) error {
		if err := outbox.Migrate(ctx, db, outbox.PostgreSQL); err != nil {
			return err
		}
		publisher, err := messaging.NewKafkaPublisher(cfg)
		if err != nil {
			return err
		}
		defer func() { _ = publisher.Close() }() //nolint:contextcheck // Close has a bound of its own
		return outbox.NewRelay(db, outbox.PostgreSQL, publisher).Run(ctx)
	}
	_ = run
}

// What cannot be published is seen, and tried again when its cause is mended.
func ExampleOutbox_Parked() { //nolint:testableexamples // needs a database
	retry := func(ctx context.Context, db *sql.DB, box *outbox.Outbox) error {
		parked, err := box.Parked(ctx, db, 100)
		if err != nil {
			return err
		}
		for _, p := range parked {
			fmt.Println(p.ID, p.Record.Topic, p.Reason, p.Detail)
			if p.Reason != outbox.ReasonTooLarge {
				if err := box.Retry(ctx, db, p.ID); err != nil {
					return err
				}
			}
		}
		return nil
	}
	_ = retry
}
