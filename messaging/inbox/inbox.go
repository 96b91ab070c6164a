package inbox

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/expensevault/sharedlibrary/internal/failpoint"
	"github.com/expensevault/sharedlibrary/internal/sqldb"
	"github.com/expensevault/sharedlibrary/messaging"
	"github.com/expensevault/sharedlibrary/tracing"
)

// Dialect is the kind of database that the inbox's table is in.
type Dialect = sqldb.Dialect

// The dialects.
const (
	PostgreSQL = sqldb.PostgreSQL // 12 and later, by any driver
	SQLite     = sqldb.SQLite     // 3.35 and later
	MySQL      = sqldb.MySQL      // MySQL 8 and MariaDB 10.5, and later
)

// Inbox has the effects of a consumer group's handlers happen once. Any number
// of goroutines, and of processes on the same database, may use it.
type Inbox struct {
	db      *sql.DB
	dialect Dialect
	group   string
	o       options
	err     error // of what New was given
}

// What the table holds in every dialect.
const (
	maxGroup = 255
	maxID    = 320
)

// New returns the inbox of a consumer group in a database. Groups do not see
// each other: the same event has its effect once in each of them. What is wrong
// with an argument is the error of the methods.
func New(db *sql.DB, d Dialect, group string, opts ...Option) *Inbox {
	in := &Inbox{db: db, dialect: d, group: group, o: newOptions(opts)}
	in.err = in.o.check(d)
	switch {
	case in.err != nil:
	case db == nil:
		in.err = errors.New("inbox: there is no database: New(nil, …)")
	case group == "" || len(group) > maxGroup:
		in.err = fmt.Errorf("inbox: the group must have 1 to %d bytes: give the subscriber's", maxGroup)
	}
	return in
}

// ErrNoID says that a message cannot be told from another one.
var ErrNoID = errors.New("inbox: the message has no ID of 1 to 320 bytes")

// Handle runs fn in a transaction that also records the message's ID, unless
// that is recorded already: then fn is not called, and first is false. It
// commits when fn returns nil. When fn returns an error, which Handle returns,
// or panics, it rolls back: fn's work and the record are gone together, and the
// next delivery is a first one again.
//
// While another Handle is at work on the same ID, in whichever process, this
// one waits until that one is committed (then it is a second delivery) or
// rolled back (then this is the first). On an error of the commit the outcome
// may be open; handling the message again settles it by the row.
//
// fn's ctx carries the transaction, for [Tx].
func (in *Inbox) Handle(ctx context.Context, id string, fn func(ctx context.Context, tx *sql.Tx) error) (first bool, err error) {
	if in.err != nil {
		return false, in.err
	}
	if id == "" || len(id) > maxID {
		return false, messaging.Permanent(fmt.Errorf("%w, but one of %d", ErrNoID, len(id)))
	}
	tx, err := in.db.BeginTx(ctx, in.o.tx)
	if err != nil {
		return false, fmt.Errorf("inbox: begin: %w", err)
	}
	defer func() { _ = tx.Rollback() }() // does nothing after the commit
	res, err := tx.ExecContext(ctx, in.insert(), in.group, id)
	if err != nil {
		return false, fmt.Errorf("inbox: record the message: %w", err)
	}
	n, err := res.RowsAffected()
	if err != nil {
		return false, fmt.Errorf("inbox: record the message: %w", err)
	}
	if n == 0 {
		return false, nil
	}
	if err := failpoint.Hit(ctx, "inbox: recorded"); err != nil {
		return false, err
	}
	if err := fn(context.WithValue(ctx, txKey{}, tx), tx); err != nil {
		return false, err
	}
	if err := failpoint.Hit(ctx, "inbox: handled"); err != nil {
		return false, err
	}
	if err := tx.Commit(); err != nil {
		return false, fmt.Errorf("inbox: commit: %w", err)
	}
	if err := failpoint.Hit(ctx, "inbox: committed"); err != nil {
		return false, err
	}
	if in.o.after != nil {
		in.o.after()
	}
	return true, nil
}

// insert is the statement that affects one row, or none where the ID is there.
func (in *Inbox) insert() string {
	values := "INTO " + in.o.table + " (consumer, message_id, handled_ms) VALUES (?, ?, " + in.dialect.Now() + ")"
	if in.dialect == MySQL { // IGNORE hides other errors too; what it would cut was checked
		return "INSERT IGNORE " + values
	}
	return in.dialect.Rebind("INSERT " + values + " ON CONFLICT DO NOTHING")
}

type txKey struct{}

// Tx returns the transaction that ctx, a handler's within an inbox, belongs to;
// nil outside of one. It must be neither committed nor rolled back, and ends
// when the handler returns. Events go into it by
//
//	box.In(inbox.Tx(ctx)).Publish(ctx, …)
func Tx(ctx context.Context) *sql.Tx {
	tx, _ := ctx.Value(txKey{}).(*sql.Tx)
	return tx
}

// Middleware has each record handled by [Inbox.Handle]; handlers find the
// transaction by [Tx]. A second delivery of a record is finished without its
// handler. The ID is the event's, see [WithID]. Middleware that retries must
// stand outside of this one: a transaction ends with its first error.
func (in *Inbox) Middleware() messaging.Middleware {
	return func(next messaging.HandlerFunc) messaging.HandlerFunc {
		return func(ctx context.Context, r messaging.Record) error {
			id, err := in.o.id(ctx, r)
			if err != nil {
				return err
			}
			_, err = in.Handle(ctx, id, func(ctx context.Context, _ *sql.Tx) error { return next(ctx, r) })
			return err
		}
	}
}

// idOf is the event's ID, which the mux has as causation of what the handler
// does; else the record's place in its topic.
func idOf(ctx context.Context, r messaging.Record) (string, error) {
	if id := tracing.CausationID(ctx); id != "" {
		return id, nil
	}
	if d, ok := messaging.DeliveryFrom(ctx); ok && d.Offset >= 0 {
		return fmt.Sprintf("%s/%d/%d", d.Topic, d.Partition, d.Offset), nil
	}
	return "", messaging.Permanent(fmt.Errorf("%w: a record of %s that is no event, and not from a broker; see WithID", ErrNoID, r.Topic))
}

// Clean deletes what was recorded longer ago than age, of all groups, and
// returns how many rows that were. A message that is delivered again after its
// row was deleted has its effect again: let age be longer than the topics'
// retention, or than the longest time for which an offset may be set back.
func (in *Inbox) Clean(ctx context.Context, age time.Duration) (int64, error) {
	if in.err != nil {
		return 0, in.err
	}
	const chunk = 1000 // each in a transaction of its own, so that handlers do not wait
	old := "handled_ms < " + in.dialect.Now() + " - ?"
	statement := "DELETE FROM " + in.o.table + " WHERE (consumer, message_id) IN (SELECT consumer, message_id FROM " + in.o.table + " WHERE " + old + " LIMIT ?)"
	if in.dialect == MySQL {
		statement = "DELETE FROM " + in.o.table + " WHERE " + old + " LIMIT ?"
	}
	for all := int64(0); ; {
		res, err := in.db.ExecContext(ctx, in.dialect.Rebind(statement), age.Milliseconds(), chunk)
		if err != nil {
			return all, fmt.Errorf("inbox: clean: %w", err)
		}
		n, err := res.RowsAffected()
		if err != nil {
			return all, fmt.Errorf("inbox: clean: %w", err)
		}
		if all += n; n < chunk {
			return all, nil
		}
	}
}

// KeepClean calls [Inbox.Clean] each hour until ctx ends; it then returns nil.
// What goes wrong is logged and tried again an hour later. One process per
// database is enough, any number does no harm.
func (in *Inbox) KeepClean(ctx context.Context, age time.Duration) error {
	if in.err != nil {
		return in.err
	}
	tick := time.NewTicker(time.Hour)
	defer tick.Stop()
	for {
		if _, err := in.Clean(ctx, age); err != nil && ctx.Err() == nil {
			in.o.log.WarnContext(ctx, "The inbox could not be cleaned", "error", err)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
	}
}
