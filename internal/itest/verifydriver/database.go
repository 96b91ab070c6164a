package main

import (
	"context"
	"database/sql"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"syscall"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib" // the driver pgx
	_ "modernc.org/sqlite"             // the driver sqlite

	"github.com/expensevault/sharedlibrary/internal/failpoint"
	"github.com/expensevault/sharedlibrary/messaging/inbox"
	"github.com/expensevault/sharedlibrary/messaging/outbox"
)

// open opens the database, with all tables of both roles in it.
func open(ctx context.Context, dsn string) (*sql.DB, outbox.Dialect, error) {
	driver, dialect, source := "pgx", outbox.PostgreSQL, dsn
	if !strings.HasPrefix(dsn, "postgres://") && !strings.HasPrefix(dsn, "postgresql://") {
		driver, dialect = "sqlite", outbox.SQLite
		source = "file:" + dsn + "?_pragma=busy_timeout(20000)&_pragma=journal_mode(WAL)&_txlock=immediate"
	}
	db, err := sql.Open(driver, source)
	if err != nil {
		return nil, 0, err
	}
	tables := func() error {
		for _, table := range []string{
			"CREATE TABLE IF NOT EXISTS agg (k text PRIMARY KEY, seq int NOT NULL)",
			"CREATE TABLE IF NOT EXISTS biz (id text PRIMARY KEY, k text NOT NULL, seq int NOT NULL)",
			"CREATE TABLE IF NOT EXISTS effect (id text NOT NULL, k text NOT NULL)",
		} {
			if _, err := db.ExecContext(ctx, table); err != nil {
				return err
			}
		}
		if err := outbox.Migrate(ctx, db, dialect); err != nil {
			return err
		}
		return inbox.Migrate(ctx, db, dialect)
	}
	// Others may be making the same tables, or the database may be away for a moment.
	for n := 0; ; n++ {
		if err = tables(); err == nil {
			return db, dialect, nil
		}
		if n == 50 || !pause(ctx, 100*time.Millisecond) {
			_ = db.Close()
			return nil, 0, fmt.Errorf("the database: %w", err)
		}
	}
}

func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// mortal has the process die with this probability wherever the library, or this command, says that a place matters.
func mortal(ctx context.Context, p float64, out *lines) context.Context {
	if p == 0 {
		return ctx
	}
	return failpoint.With(ctx, func(point string) error {
		if point == "beat" || point == "look" || rand.Float64() >= p { //nolint:gosec // nobody guards against it
			return nil
		}
		out.now("D", strings.ReplaceAll(point, " ", "-"))
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		select {} // until it has come
	})
}
