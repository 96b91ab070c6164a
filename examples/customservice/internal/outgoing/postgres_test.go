package outgoing_test

import (
	"context"
	"database/sql"
	"errors"
	"net/url"
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	_ "github.com/jackc/pgx/v5/stdlib"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/expensevault/sharedlibrary/examples/customservice/internal/event"
	"github.com/expensevault/sharedlibrary/examples/customservice/internal/outgoing"
	"github.com/expensevault/sharedlibrary/examples/customservice/internal/servicetest"
	"github.com/expensevault/sharedlibrary/messaging/outbox"
)

// schema returns the URL of a schema of the test's own, with an outbox.
func schema(t *testing.T) (string, *sql.DB) {
	t.Helper()
	dsn := servicetest.Address(t, "postgres", "TEST_POSTGRES_DSN")
	db, err := sql.Open("pgx", dsn)
	require.NoError(t, err)
	t.Cleanup(func() { _ = db.Close() })
	name := "s" + strings.ReplaceAll(uuid.NewString(), "-", "")
	_, err = db.ExecContext(t.Context(), "CREATE SCHEMA "+name)
	require.NoError(t, err)
	t.Cleanup(func() { _, _ = db.ExecContext(context.Background(), "DROP SCHEMA "+name+" CASCADE") })
	u, err := url.Parse(dsn)
	require.NoError(t, err)
	q := u.Query()
	q.Set("search_path", name)
	u.RawQuery = q.Encode()
	own, err := sql.Open("pgx", u.String())
	require.NoError(t, err)
	t.Cleanup(func() { _ = own.Close() })
	require.NoError(t, outbox.Migrate(t.Context(), own, outbox.PostgreSQL))
	return u.String(), own
}

// pgxTx lets an outbox write into a transaction of pgx's own.
type pgxTx struct{ pgx.Tx }

func (tx pgxTx) ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error) {
	tag, err := tx.Exec(ctx, query, args...)
	return pgxResult{tag}, err
}

type pgxResult struct{ pgconn.CommandTag }

func (r pgxResult) RowsAffected() (int64, error) { return r.CommandTag.RowsAffected(), nil }
func (pgxResult) LastInsertId() (int64, error)   { return 0, errors.New("PostgreSQL has no such ID") }

// The outbox writes into a transaction of pgx, and the commit wakes whoever listens: in another connection, by PostgreSQL.
func TestListenAndPgx(t *testing.T) {
	t.Parallel()
	dsn, db := schema(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	woken, ended := make(chan struct{}, 100), make(chan error, 1)
	go func() {
		ended <- outgoing.Listen(dsn)(ctx, "outbox", func() { woken <- struct{}{} })
	}()
	<-woken // it listens

	conn, err := pgx.Connect(ctx, dsn)
	require.NoError(t, err)
	defer func() { assert.NoError(t, conn.Close(context.Background())) }()
	publish := func() pgx.Tx {
		tx, err := conn.Begin(ctx)
		require.NoError(t, err)
		require.NoError(t, outbox.New(outbox.PostgreSQL).In(pgxTx{tx}).Publish(ctx, &event.ItemDeleted{CustomItemID: uuid.New(), UserID: uuid.New()}))
		return tx
	}
	count := func() (n int) {
		require.NoError(t, db.QueryRowContext(ctx, "SELECT count(*) FROM outbox").Scan(&n))
		return n
	}
	require.NoError(t, publish().Rollback(ctx))
	assert.Zero(t, count())
	require.NoError(t, publish().Commit(ctx))
	<-woken
	assert.Equal(t, 1, count())
	assert.Empty(t, woken, "the rollback woke nobody")

	// A connection that PostgreSQL ends is the end of this one: the relay listens again.
	_, err = db.ExecContext(ctx, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'LISTEN%' AND query LIKE '%outbox%'")
	require.NoError(t, err)
	require.Error(t, <-ended)
}
