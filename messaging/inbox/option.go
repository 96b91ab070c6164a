package inbox

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"log/slog"

	"github.com/expensevault/sharedlibrary/internal/sqldb"
	"github.com/expensevault/sharedlibrary/messaging"
)

// Option is an option of inboxes and [Migrate]; those that mean nothing to one of them change nothing there.
type Option func(*options)

type options struct {
	table string
	tx    *sql.TxOptions
	id    func(context.Context, messaging.Record) (string, error)
	after func()
	log   *slog.Logger
}

const defaultTable = "inbox"

func newOptions(opts []Option) options {
	o := options{table: defaultTable, id: idOf}
	for _, opt := range opts {
		if opt != nil {
			opt(&o)
		}
	}
	if o.log == nil {
		o.log = slog.Default()
	}
	return o
}

func (o *options) check(d Dialect) error {
	errs := []error{d.Check(), sqldb.CheckName(o.table, "_age", "_schema")}
	if o.id == nil {
		errs = append(errs, errors.New("WithID(nil): give a function"))
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("inbox: %w", err)
	}
	return nil
}

// WithTable names the table; the default is inbox. Only ^[a-z_][a-z0-9_]{0,62}$
// is accepted, 56 characters at most.
func WithTable(name string) Option { return func(o *options) { o.table = name } }

// WithTxOptions sets the isolation of the handlers' transactions; the default
// is the database's. With serializable or repeatable read, a second delivery at
// the same moment may end with an error of the database instead of waiting; the
// next attempt finds the row.
func WithTxOptions(tx *sql.TxOptions) Option { return func(o *options) { o.tx = tx } }

// WithID sets by what [Inbox.Middleware] knows a record again. The default is
// the event's ID, or the CloudEvents ID of a record that [messaging.HandleRecord]
// handles; for other records it is topic, partition and offset, by which a
// record that was published twice is two. The error ends the handling.
func WithID(id func(context.Context, messaging.Record) (string, error)) Option {
	return func(o *options) { o.id = id }
}

// WithAfterCommit has fn called after each commit, such as an outbox's
// Signal.Notify. It must not block.
func WithAfterCommit(fn func()) Option { return func(o *options) { o.after = fn } }

// WithLogger sets where [Inbox.KeepClean] logs; the default is [slog.Default].
func WithLogger(log *slog.Logger) Option { return func(o *options) { o.log = log } }

// Schema holds the table as plain SQL, for those who have a migration tool of
// their own: schema/postgresql, schema/sqlite and schema/mysql, in files that
// are to be run once each, in order. They name the default table; further
// versions of this package add files and never change one.
//
//go:embed schema
var Schema embed.FS

// Migrate makes the table, or brings it to this version. Any number of processes
// may call it at once. Only [WithTable] of the options matters. The user of db
// needs the right to create tables.
func Migrate(ctx context.Context, db *sql.DB, d Dialect, opts ...Option) error {
	o := newOptions(opts)
	if err := o.check(d); err != nil {
		return err
	}
	if err := sqldb.Migrate(ctx, db, d, Schema, defaultTable, o.table); err != nil {
		return fmt.Errorf("inbox: migrate: %w", err)
	}
	return nil
}
