package sqldb

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"
)

// lockTimeout bounds the wait for another process that migrates.
const lockTimeout = time.Minute

// Statements returns the statements of all migrations of the dialect, in order,
// by the version that they lead to. Files are named <version>_<what>.sql and
// write the tables' names with the prefix base; table takes its place.
func Statements(files fs.FS, d Dialect, base, table string) ([][]string, error) {
	if err := d.Check(); err != nil {
		return nil, err
	}
	names, err := fs.Glob(files, path.Join("schema", d.folder(), "*.sql"))
	if err != nil {
		return nil, err
	}
	slices.Sort(names)
	out := make([][]string, len(names))
	for i, name := range names {
		version, _, _ := strings.Cut(path.Base(name), "_")
		if n, err := strconv.Atoi(version); err != nil || n != i+1 {
			return nil, fmt.Errorf("the migration %s is not number %d", name, i+1)
		}
		text, err := fs.ReadFile(files, name)
		if err != nil {
			return nil, err
		}
		out[i] = split(strings.ReplaceAll(string(text), base, table))
	}
	return out, nil
}

// split returns the statements of a file, without its comments. A semicolon at a line's end ends a statement.
func split(text string) []string {
	var out []string
	var b strings.Builder
	for line := range strings.Lines(text) {
		if code, _, _ := strings.Cut(line, "--"); strings.TrimSpace(code) != "" {
			b.WriteString(strings.TrimRight(code, " \n") + "\n")
		}
		if s := strings.TrimSpace(b.String()); strings.HasSuffix(s, ";") {
			out = append(out, strings.TrimSuffix(s, ";"))
			b.Reset()
		}
	}
	if s := strings.TrimSpace(b.String()); s != "" {
		out = append(out, s)
	}
	return out
}

// Migrate brings the tables that begin with the name table to the newest
// version. The name must have been checked. Any number of processes may call it
// at once; what is there already stays.
func Migrate(ctx context.Context, db *sql.DB, d Dialect, files fs.FS, base, table string) error {
	migrations, err := Statements(files, d, base, table)
	if err != nil {
		return err
	}
	conn, err := db.Conn(ctx) // locks belong to a connection
	if err != nil {
		return err
	}
	m := migrator{conn: conn, dialect: d, table: table + "_schema"}
	return errors.Join(m.run(ctx, migrations), conn.Close())
}

type migrator struct {
	conn    *sql.Conn
	dialect Dialect
	table   string
}

func (m *migrator) run(ctx context.Context, migrations [][]string) (err error) {
	begin, end, undo := "BEGIN", "COMMIT", "ROLLBACK"
	switch m.dialect {
	case SQLite:
		begin = "BEGIN IMMEDIATE"
	case MySQL: // its DDL commits by itself
		begin = fmt.Sprintf("DO GET_LOCK('%s', %d)", m.table, int(lockTimeout.Seconds()))
		end = fmt.Sprintf("DO RELEASE_LOCK('%s')", m.table)
		undo = end
	default:
	}
	if err := m.begin(ctx, begin); err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_, undone := m.conn.ExecContext(context.WithoutCancel(ctx), undo)
			err = errors.Join(err, undone)
		}
	}()
	if m.dialect == PostgreSQL {
		if err := m.exec(ctx, "SELECT pg_advisory_xact_lock(hashtext('"+m.table+"'))"); err != nil {
			return err
		}
	}
	if err := m.exec(ctx, "CREATE TABLE IF NOT EXISTS "+m.table+" (version INTEGER NOT NULL PRIMARY KEY, applied_ms BIGINT NOT NULL)"); err != nil {
		return err
	}
	var have int
	if err := m.conn.QueryRowContext(ctx, "SELECT COALESCE(MAX(version), 0) FROM "+m.table).Scan(&have); err != nil {
		return err
	}
	for i := have; i < len(migrations); i++ {
		for _, statement := range migrations[i] {
			if err := m.exec(ctx, statement); err != nil {
				return err
			}
		}
		if err := m.exec(ctx, fmt.Sprintf("INSERT INTO %s (version, applied_ms) VALUES (%d, %s)", m.table, i+1, m.dialect.Now())); err != nil {
			return err
		}
	}
	return m.exec(ctx, end)
}

// begin waits for SQLite's one writer longer than the connection's busy_timeout may.
func (m *migrator) begin(ctx context.Context, statement string) error {
	late := time.Now().Add(lockTimeout)
	for {
		err := m.exec(ctx, statement)
		if err == nil || !m.dialect.Busy(err) || time.Now().After(late) {
			return err
		}
		select {
		case <-time.After(20 * time.Millisecond):
		case <-ctx.Done():
			return errors.Join(ctx.Err(), err)
		}
	}
}

func (m *migrator) exec(ctx context.Context, statement string) error {
	if _, err := m.conn.ExecContext(ctx, statement); err != nil {
		first, _, _ := strings.Cut(statement, "\n")
		return fmt.Errorf("%s: %w", first, err)
	}
	return nil
}

// Busy reports whether err is SQLite's about another connection that writes.
// Drivers have types of their own for it; the text is SQLite's.
func (d Dialect) Busy(err error) bool {
	if d != SQLite || err == nil {
		return false
	}
	text := err.Error()
	return strings.Contains(text, "database is locked") || strings.Contains(text, "database table is locked") || strings.Contains(text, "SQLITE_BUSY")
}
