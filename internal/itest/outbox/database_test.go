package outbox_test

import (
	"context"
	"crypto/rand"
	"database/sql"
	"encoding/hex"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	_ "github.com/go-sql-driver/mysql" // the driver mysql
	_ "github.com/jackc/pgx/v5/stdlib" // the driver pgx
	"github.com/stretchr/testify/require"
	_ "modernc.org/sqlite" // the driver sqlite

	"github.com/expensevault/sharedlibrary/messaging/inbox"
	"github.com/expensevault/sharedlibrary/messaging/outbox"
)

// A database is one of a kind, with tables of the test's own.
type database struct {
	*sql.DB

	dialect outbox.Dialect
	source  string
	table   string // of the outbox
	inbox   string
}

// open opens the same database by further connections.
func (d *database) open(t testing.TB) *database {
	t.Helper()
	driver := map[outbox.Dialect]string{outbox.SQLite: "sqlite", outbox.PostgreSQL: "pgx", outbox.MySQL: "mysql"}[d.dialect]
	db, err := sql.Open(driver, d.source)
	require.NoError(t, err)
	t.Cleanup(func() { _ = db.Close() })
	other := *d
	other.DB = db
	return &other
}

func (d *database) options(opts ...outbox.Option) []outbox.Option {
	return append([]outbox.Option{outbox.WithTable(d.table)}, opts...)
}

func (d *database) outbox(opts ...outbox.Option) *outbox.Outbox {
	return outbox.New(d.dialect, d.options(opts...)...)
}

// bind writes the placeholders as the database wants them.
func (d *database) bind(query string) string { return d.dialect.Rebind(query) }

func (d *database) exec(t testing.TB, query string) {
	t.Helper()
	_, err := d.ExecContext(t.Context(), query)
	require.NoError(t, err, query)
}

func (d *database) int(t testing.TB, query string) (n int) {
	t.Helper()
	require.NoError(t, d.QueryRowContext(t.Context(), query).Scan(&n), query)
	return n
}

// rows is how many rows the outbox has, in any state.
func (d *database) rows(t testing.TB) int {
	t.Helper()
	return d.int(t, "SELECT COUNT(*) FROM "+d.table)
}

// eachDatabase runs f on every kind of database, at once, with empty tables.
func eachDatabase(t *testing.T, f func(t *testing.T, db *database)) {
	t.Helper()
	t.Run("sqlite", func(t *testing.T) {
		t.Parallel()
		f(t, openSQLite(t))
	})
	eachServer(t, f)
}

// eachServer is eachDatabase for what needs several writers at a time.
func eachServer(t *testing.T, f func(t *testing.T, db *database)) {
	t.Helper()
	t.Run("postgres", func(t *testing.T) {
		t.Parallel()
		f(t, openPostgres(t))
	})
	t.Run("mysql", func(t *testing.T) {
		t.Parallel()
		f(t, openMySQL(t))
	})
}

func openSQLite(t testing.TB) *database {
	t.Helper()
	file := filepath.Join(t.TempDir(), "test.db")
	return prepare(t, outbox.SQLite, "file:"+file+"?_pragma=journal_mode(WAL)&_pragma=busy_timeout(10000)&_pragma=synchronous(OFF)")
}

func openPostgres(t testing.TB) *database {
	t.Helper()
	return prepare(t, outbox.PostgreSQL, source(t, "postgres", "TEST_POSTGRES_DSN"))
}

func openMySQL(t testing.TB) *database {
	t.Helper()
	return prepare(t, outbox.MySQL, source(t, "mysql", "TEST_MYSQL_DSN"))
}

func source(t testing.TB, kind, variable string) string {
	t.Helper()
	dsn := os.Getenv(variable)
	if dsn == "" {
		absent(t, kind, variable+" is not set (.ci/services start prints it)")
	}
	return dsn
}

// absent ends the test because something is not there: skipped, or failed when ITEST_REQUIRE names it.
func absent(t testing.TB, what, why string) {
	t.Helper()
	if slices.Contains(strings.Split(os.Getenv("ITEST_REQUIRE"), ","), what) {
		t.Fatalf("ITEST_REQUIRE names %q, but %s", what, why)
	}
	t.Skipf("%s (ITEST_REQUIRE=%s would make this a failure)", why, what)
}

func prepare(t testing.TB, d outbox.Dialect, dsn string) *database {
	t.Helper()
	unique := make([]byte, 6)
	_, err := rand.Read(unique)
	require.NoError(t, err)
	name := "t" + hex.EncodeToString(unique)
	db := (&database{dialect: d, source: dsn, table: name + "_out", inbox: name + "_in"}).open(t)
	if d == outbox.SQLite {
		db.SetMaxOpenConns(4)
	}
	require.NoError(t, outbox.Migrate(t.Context(), db.DB, d, db.options()...))
	require.NoError(t, inbox.Migrate(t.Context(), db.DB, d, inbox.WithTable(db.inbox)))
	if d != outbox.SQLite {
		t.Cleanup(func() {
			for _, table := range []string{db.table, db.table + "_shards", db.table + "_relays", db.table + "_schema", db.inbox, db.inbox + "_schema"} {
				_, _ = db.ExecContext(context.Background(), "DROP TABLE IF EXISTS "+table)
			}
		})
	}
	return db
}
