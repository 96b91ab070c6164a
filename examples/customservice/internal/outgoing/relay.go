package outgoing

import (
	"cmp"
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"log/slog"
	"sync"

	"github.com/jackc/pgx/v5"

	"github.com/expensevault/sharedlibrary/examples/customservice/internal/event"
	"github.com/expensevault/sharedlibrary/messaging"
	"github.com/expensevault/sharedlibrary/messaging/outbox"
	"github.com/expensevault/sharedlibrary/tracing"
)

// Relay publishes what is committed to the service's outbox.
type Relay struct {
	db    *sql.DB
	box   *outbox.Outbox
	relay *outbox.Relay
	gate  Gate
	log   *slog.Logger

	mu  sync.Mutex
	err error // why it does not run
}

// NewRelay returns the relay of the outbox in db. It begins when the gate is open: until then topics may be missing.
func NewRelay(db *sql.DB, d outbox.Dialect, box *outbox.Outbox, kafka outbox.Sender, gate Gate, log *slog.Logger, opts ...outbox.Option) *Relay {
	opts = append(opts, outbox.WithLogger(log))
	return &Relay{db: db, box: box, relay: outbox.NewRelay(db, d, announcer{kafka, log}, opts...), gate: gate, log: log}
}

// Run relays until ctx ends, and then settles what is on its way.
func (r *Relay) Run(ctx context.Context) {
	if r.gate.Wait(ctx) != nil {
		return
	}
	if err := r.relay.Run(ctx); err != nil {
		r.log.ErrorContext(ctx, "The relay has failed: events stay in the outbox", slog.Any("error", err))
		r.mu.Lock()
		defer r.mu.Unlock()
		r.err = err
	}
}

// State is what is committed and not published; its error, why nothing of it is.
func (r *Relay) State(ctx context.Context) (outbox.Backlog, error) {
	b, err := r.box.Backlog(ctx, r.db)
	r.mu.Lock()
	defer r.mu.Unlock()
	return b, cmp.Or(r.err, err)
}

// Listen has a relay told of the commits of all processes by PostgreSQL, over a connection of its own to the URL.
func Listen(url string) outbox.Listener {
	return func(ctx context.Context, channel string, wake func()) error {
		conn, err := pgx.Connect(ctx, url)
		if err != nil {
			return err
		}
		defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
		if _, err := conn.Exec(ctx, "LISTEN "+pgx.Identifier{channel}.Sanitize()); err != nil {
			return err
		}
		for {
			wake()
			if _, err := conn.WaitForNotification(ctx); err != nil {
				return err
			}
		}
	}
}

// announcer logs what was published, with the correlation ID and the trace that the record carries.
type announcer struct {
	outbox.Sender

	log *slog.Logger
}

// PublishSequenced publishes, and logs each record.
func (a announcer) PublishSequenced(ctx context.Context, id messaging.Identity, topic string, partition, first int32, recs []messaging.Record) (int64, error) {
	base, err := a.Sender.PublishSequenced(ctx, id, topic, partition, first, recs)
	if err != nil {
		return base, err
	}
	for i, r := range recs {
		var e struct {
			EventID      string `json:"eventId"`
			EventType    string `json:"eventType"`
			CustomItemID string `json:"customItemId"`
			UserID       string `json:"userId"`
		}
		if err := json.Unmarshal(r.Value, &e); err != nil {
			continue // not an event of ours
		}
		about := "user " + e.UserID
		if e.CustomItemID != "" {
			about = "item " + e.CustomItemID
		}
		a.log.InfoContext(tracing.Extract(ctx, r.Headers), fmt.Sprintf("Published %s for %s to topic %s", event.NameOfType(e.EventType), about, topic),
			slog.String("user", string(r.Key)), slog.String("event_id", e.EventID),
			slog.Int("partition", int(partition)), slog.Int64("offset", base+int64(i)))
	}
	return base, nil
}
