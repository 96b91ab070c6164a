package outbox

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/expensevault/sharedlibrary/messaging"
)

// Why a row is parked.
const (
	ReasonTooLarge      = "too_large"      // over what we, or the broker, take
	ReasonInvalid       = "invalid"        // an illegal topic, or a record that the broker refuses
	ReasonUnknownTopic  = "unknown_topic"  // tried again by itself; see WithRetryParked
	ReasonNotAuthorized = "not_authorized" // tried again by itself; see WithRetryParked
)

// parking is a row with why it cannot be published.
type parking struct {
	id             int64
	reason, detail string
	retry          time.Duration // 0: never by itself
}

// Parked is a row that could not be published. The rows of its key and topic
// that come after it wait until it is retried or dropped.
type Parked struct {
	ID      int64
	Record  messaging.Record
	EventID string
	Reason  string    // one of the constants above
	Detail  string    // the error
	Since   time.Time // by the database's clock
}

// Parked returns the first rows that are parked, by ID, at most limit.
func (o *Outbox) Parked(ctx context.Context, db *sql.DB, limit int) ([]Parked, error) {
	if o.err != nil {
		return nil, o.err
	}
	var out []Parked
	err := o.store.query(ctx, db, func(rows *sql.Rows) error {
		var p Parked
		var r row
		var since int64
		if err := r.scan(rows, &p.EventID, &p.Reason, &p.Detail, &since); err != nil {
			return err
		}
		p.ID, p.Record, p.Since = r.id, r.record, time.UnixMilli(since)
		out = append(out, p)
		return nil
	}, "SELECT "+rowColumns+", event_id, reason, detail, changed_ms FROM "+o.store.o.table+" WHERE state = 3 ORDER BY id LIMIT ?", limit)
	if err != nil {
		return nil, fmt.Errorf("outbox: read parked rows: %w", err)
	}
	return out, nil
}

// ErrNotParked says that there is no parked row with this ID.
var ErrNotParked = errors.New("outbox: there is no parked row with this ID")

// Retry has a parked row published in its place, before those of its key that
// wait. Where it fails again it is parked again. The error is [ErrNotParked]
// where there is no such row.
func (o *Outbox) Retry(ctx context.Context, db *sql.DB, id int64) error {
	return o.unpark(ctx, db, id, "UPDATE "+o.store.o.table+" SET state = 0, retry_ms = 0 WHERE state = 3 AND id = ?")
}

// Drop deletes a parked row: its event will never be published, and those of its
// key that wait go on. The error is [ErrNotParked] where there is no such row.
func (o *Outbox) Drop(ctx context.Context, db *sql.DB, id int64) error {
	return o.unpark(ctx, db, id, "DELETE FROM "+o.store.o.table+" WHERE state = 3 AND id = ?")
}

func (o *Outbox) unpark(ctx context.Context, db *sql.DB, id int64, statement string) error {
	if o.err != nil {
		return o.err
	}
	s := o.store
	err := s.tx(ctx, db, func(tx *sql.Tx) error {
		// Relays put rows aside under the same lock, so that none is left waiting for nothing.
		n, err := s.exec(ctx, tx, "UPDATE "+s.o.table+"_shards SET revision = revision + 1 WHERE shard = (SELECT shard FROM "+s.o.table+" WHERE id = ?)", id)
		if err != nil {
			return err
		}
		if n == 0 {
			return ErrNotParked
		}
		var shard int
		if err := tx.QueryRowContext(ctx, s.d.Rebind("SELECT shard FROM "+s.o.table+" WHERE id = ?"), id).Scan(&shard); err != nil {
			if errors.Is(err, sql.ErrNoRows) {
				return ErrNotParked
			}
			return err
		}
		if n, err = s.exec(ctx, tx, statement, id); err != nil {
			return err
		}
		if n == 0 {
			return ErrNotParked
		}
		return s.unlockWaiting(ctx, tx, shard)
	})
	switch {
	case errors.Is(err, ErrNotParked):
		return err
	case err != nil:
		return fmt.Errorf("outbox: parked row %d: %w", id, err)
	}
	o.store.o.signal.Notify()
	return nil
}
