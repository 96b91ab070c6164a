// Package store keeps items, their outbox, the audit trail and the analytics in a database:
// SQLite or PostgreSQL, by the same SQL but for the words in dialect.go.
package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib" // the driver pgx
	_ "modernc.org/sqlite"             // the driver sqlite, in pure Go

	"github.com/expensevault/sharedlibrary/messaging/inbox"
	"github.com/expensevault/sharedlibrary/messaging/outbox"
)

// Memory is the data source of a SQLite database that ends with its Store.
const Memory = ":memory:"

// Store is the database. Any number of goroutines may use it.
type Store struct {
	read, write *sql.DB // the same but for a SQLite file, which has one writer at a time
	dialect     dialect
	now         func() time.Time
}

// Open opens the database and makes what tables it lacks. The source is
// [Memory], the path of a SQLite file (which is made, its folder is not), or
// the URL of a PostgreSQL database: postgres://user:password@host:port/database.
func Open(ctx context.Context, source string) (*Store, error) {
	s := &Store{now: time.Now}
	var err error
	switch {
	case IsPostgres(source):
		s.dialect = postgres()
		s.read, err = open("pgx", source, 16)
		s.write = s.read
	case source == Memory:
		s.dialect = sqlite()
		s.read, err = open("sqlite", "file::memory:?"+sqliteOptions, 1)
		s.write = s.read
	default:
		s.dialect = sqlite()
		file := "file:" + uriPath(source) + "?_pragma=journal_mode(WAL)&" + sqliteOptions
		if s.read, err = open("sqlite", file, 8); err == nil {
			s.write, err = open("sqlite", file, 1)
		}
	}
	if err == nil {
		err = s.migrate(ctx)
	}
	if err == nil {
		err = outbox.Migrate(ctx, s.write, s.dialect.kind)
	}
	if err == nil {
		err = inbox.Migrate(ctx, s.write, s.dialect.kind)
	}
	if err != nil {
		_ = s.Close()
		return nil, fmt.Errorf("store: open %s: %w", s.dialect.name, err)
	}
	return s, nil
}

// IsPostgres reports whether the source names a PostgreSQL database.
func IsPostgres(source string) bool {
	return strings.HasPrefix(source, "postgres://") || strings.HasPrefix(source, "postgresql://")
}

const sqliteOptions = "_txlock=immediate&_pragma=busy_timeout(5000)&_pragma=foreign_keys(1)"

func open(driver, source string, connections int) (*sql.DB, error) {
	db, err := sql.Open(driver, source)
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(connections)
	db.SetMaxIdleConns(connections)
	return db, nil
}

// uriPath writes a file's path so that a URI takes it as it is.
func uriPath(path string) string {
	return strings.NewReplacer("%", "%25", "?", "%3f", "#", "%23").Replace(filepath.ToSlash(path))
}

// DB is what transactions are begun on: the outbox's relay and the inboxes work there.
func (s *Store) DB() *sql.DB { return s.write }

// Dialect is the database's, as outbox and inbox know it.
func (s *Store) Dialect() outbox.Dialect { return s.dialect.kind }

// Kind is the name of the database's kind, for the log and for people.
func (s *Store) Kind() string { return s.dialect.name }

// Ping returns nil when the database answers.
func (s *Store) Ping(ctx context.Context) error { return s.read.PingContext(ctx) }

// Close ends all connections.
func (s *Store) Close() error {
	var errs []error
	if s.write != nil && s.write != s.read {
		errs = append(errs, s.write.Close())
	}
	if s.read != nil {
		errs = append(errs, s.read.Close())
	}
	return errors.Join(errs...)
}

// Tx is a transaction.
type Tx struct {
	*sql.Tx
	store *Store
}

// InTx runs fn in a transaction: committed when fn returns nil, else rolled back.
// fn must not use the Store, which may have one connection only.
func (s *Store) InTx(ctx context.Context, fn func(tx *Tx) error) error {
	tx, err := s.write.BeginTx(ctx, nil)
	if err != nil {
		return fmt.Errorf("store: begin: %w", err)
	}
	defer tx.Rollback() //nolint:errcheck // after a commit there is nothing to roll back, and before it the error is fn's
	if err := fn(&Tx{Tx: tx, store: s}); err != nil {
		return err
	}
	if err := tx.Commit(); err != nil {
		return fmt.Errorf("store: commit: %w", err)
	}
	return nil
}

// Within returns the transaction, which was begun by others on [Store.DB].
func (s *Store) Within(tx *sql.Tx) *Tx { return &Tx{Tx: tx, store: s} }

// collect reads all rows of a query, which said err.
func collect[T any](rows *sql.Rows, err error, scan func(rows *sql.Rows) (T, error)) (out []T, failed error) {
	if err != nil {
		return nil, err
	}
	defer func() {
		if err := rows.Close(); failed == nil {
			failed = err
		}
	}()
	for rows.Next() {
		v, err := scan(rows)
		if err != nil {
			return nil, err
		}
		out = append(out, v)
	}
	return out, rows.Err()
}

// millis and fromMillis are how moments stand in the database.
func millis(t time.Time) int64 { return t.UnixMilli() }

func fromMillis(ms int64) time.Time { return time.UnixMilli(ms).UTC() }
