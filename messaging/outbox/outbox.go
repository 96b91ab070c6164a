package outbox

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/expensevault/sharedlibrary/events"
	"github.com/expensevault/sharedlibrary/internal/telemetry"
	"github.com/expensevault/sharedlibrary/messaging"
)

// Execer is a transaction: *sql.Tx, *sql.Conn, or whatever has this method.
type Execer interface {
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
}

// Outbox is the table of events that are to be published. It holds no
// connection; any number of goroutines may use it.
type Outbox struct {
	store   *store
	tracers *telemetry.Tracers
	err     error // of what New was given
}

// New returns the outbox of a database of this dialect. What is wrong with an
// option is the error of the methods.
func New(d Dialect, opts ...Option) *Outbox {
	o := newOptions(opts)
	return &Outbox{store: newStore(d, o), tracers: telemetry.NewTracers(o.tracers), err: o.check(d)}
}

// In returns a [messaging.Publisher] that writes into the transaction x: what is
// published is so when x commits, and never when it is rolled back. It is as
// safe for concurrent use as x is, which for a transaction means not at all.
//
// A *sql.DB is no transaction, but may be given: each statement is one then, of
// up to 100 events.
func (o *Outbox) In(x Execer) *Writer { return &Writer{outbox: o, x: x} }

// Do runs fn in a transaction: it commits when fn returns nil, and rolls back
// when fn returns an error, which Do returns, or panics. After the commit the
// relays that share a [Signal] with this outbox look at once. When the commit's
// answer is lost Do returns an error all the same: the rows decide.
func (o *Outbox) Do(ctx context.Context, db *sql.DB, fn func(tx *sql.Tx) error) error {
	if o.err != nil {
		return o.err
	}
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return fmt.Errorf("outbox: begin: %w", err)
	}
	defer func() { _ = tx.Rollback() }() // does nothing after the commit
	if err := fn(tx); err != nil {
		return err
	}
	if err := tx.Commit(); err != nil {
		return fmt.Errorf("outbox: commit: %w", err)
	}
	o.store.o.signal.Notify()
	return nil
}

// Writer publishes into a transaction; see [Outbox.In].
type Writer struct {
	outbox *Outbox
	x      Execer
}

var _ messaging.Publisher = (*Writer)(nil)

// Publish writes the events into the transaction, in their order. The whole
// record is in the row, and so are correlation, causation and trace of ctx. Its
// errors are those of [messaging.Publisher]; when it returns one, roll back.
func (w *Writer) Publish(ctx context.Context, evs ...events.IntegrationEvent) error {
	if w.outbox.err != nil {
		return w.outbox.err
	}
	recs := make([]messaging.Record, len(evs))
	ids := make([]uuid.UUID, len(evs))
	for i, e := range evs {
		r, err := w.outbox.create(ctx, e)
		if err != nil {
			return err
		}
		recs[i], ids[i] = r, e.Metadata().EventID
	}
	return w.insert(ctx, recs, ids)
}

// PublishRecords writes records as they are. Topics are names on the broker. A
// record that Kafka will never take is accepted here, and parked by the relay.
func (w *Writer) PublishRecords(ctx context.Context, recs ...messaging.Record) error {
	if w.outbox.err != nil {
		return w.outbox.err
	}
	ids := make([]uuid.UUID, len(recs))
	for i, r := range recs {
		for _, h := range r.Headers {
			if h.Key == "ce_id" {
				ids[i], _ = uuid.ParseBytes(h.Value)
			}
		}
	}
	return w.insert(ctx, recs, ids)
}

// One statement has at most so many rows, and bytes about.
const (
	insertRows  = 100
	insertBytes = 4 << 20
)

func (w *Writer) insert(ctx context.Context, recs []messaging.Record, ids []uuid.UUID) error {
	fail := func(i int, maybe bool, err error) error {
		return &messaging.PublishError{Topic: recs[i].Topic, EventID: ids[i], MaybeWritten: maybe, Err: err}
	}
	if len(recs) == 0 {
		return nil
	}
	if err := ctx.Err(); err != nil {
		return fail(0, false, err)
	}
	if tx, ok := w.x.(*sql.Tx); w.x == nil || ok && tx == nil {
		return fail(0, false, errors.New("outbox: there is no transaction: In(nil)"))
	}
	rows := make([]any, 0, min(len(recs), insertRows)*insertColumns)
	n, size, first := 0, 0, 0
	for i, r := range recs {
		headers, err := encodeHeaders(r.Headers)
		if err != nil {
			return fail(i, first > 0, fmt.Errorf("%w: %w", messaging.ErrInvalidEvent, err))
		}
		if r.Timestamp.IsZero() {
			r.Timestamp = time.Now() // fixed now: the record must be the same whenever it is sent
		}
		id := ""
		if ids[i] != uuid.Nil {
			id = ids[i].String()
		}
		rows = append(rows, shardOf(r.Key), r.Topic, bytesArg(r.Key), bytesArg(r.Value), headers, r.Timestamp.UnixMilli(), id)
		n++
		size += len(r.Key) + len(r.Value) + len(headers)
		if n == insertRows || size > insertBytes || i == len(recs)-1 {
			if _, err := w.x.ExecContext(ctx, w.outbox.store.insert(n), rows...); err != nil {
				return fail(first, true, fmt.Errorf("outbox: write to %s: %w", w.outbox.store.o.table, err))
			}
			rows, n, size, first = rows[:0], 0, 0, i+1
		}
	}
	return nil
}

// bytesArg keeps nil, which is NULL, apart from empty.
func bytesArg(b []byte) any {
	if b == nil {
		return nil
	}
	return b
}

// insertColumns is how many values a row is given.
const insertColumns = 7

// insert is the statement that writes n rows.
func (s *store) insert(n int) string {
	var b strings.Builder
	b.WriteString("INSERT INTO " + s.o.table + " (shard, topic, record_key, record_value, headers, record_ms, event_id, created_ms) VALUES ")
	for i := range n {
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString("(?, ?, ?, ?, ?, ?, ?, " + s.d.Now() + ")")
	}
	return s.d.Rebind(s.announce(b.String()))
}
