package store

import (
	"context"
	"fmt"
	"strings"

	"github.com/expensevault/sharedlibrary/messaging/outbox"
)

// dialect is in what the databases differ.
type dialect struct {
	name      string
	kind      outbox.Dialect
	uuid      string   // the type of an identity
	serial    string   // of a number that grows by itself
	forUpdate string   // what locks the rows that a query returns
	lock      string   // what keeps two processes from making the tables at once
	after     []string // what follows the tables
}

func sqlite() dialect {
	return dialect{
		name:   "SQLite",
		kind:   outbox.SQLite,
		uuid:   "TEXT",
		serial: "INTEGER PRIMARY KEY AUTOINCREMENT",
		after: []string{
			`CREATE TRIGGER IF NOT EXISTS audit_keeps_rows BEFORE DELETE ON audit
			 BEGIN SELECT RAISE(ABORT, 'audit is append-only'); END`,
			`CREATE TRIGGER IF NOT EXISTS audit_keeps_words BEFORE UPDATE ON audit
			 BEGIN SELECT RAISE(ABORT, 'audit is append-only'); END`,
		},
	}
}

func postgres() dialect {
	return dialect{
		name:      "PostgreSQL",
		kind:      outbox.PostgreSQL,
		uuid:      "UUID",
		serial:    "BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY",
		forUpdate: " FOR UPDATE",
		lock:      "SELECT pg_advisory_xact_lock(7236921034)",
		after: []string{
			`CREATE OR REPLACE FUNCTION audit_append_only() RETURNS trigger LANGUAGE plpgsql AS
			 $$ BEGIN RAISE EXCEPTION 'audit is append-only'; END $$`,
			`CREATE OR REPLACE TRIGGER audit_keeps BEFORE UPDATE OR DELETE ON audit
			 FOR EACH ROW EXECUTE FUNCTION audit_append_only()`,
		},
	}
}

// tables returns what makes the tables; times are milliseconds since 1970.
func (d dialect) tables() []string {
	types := strings.NewReplacer("{uuid}", d.uuid, "{serial}", d.serial)
	out := []string{
		`CREATE TABLE IF NOT EXISTS items (
			id          {uuid} PRIMARY KEY,
			user_id     {uuid} NOT NULL,
			category_id {uuid},
			name        TEXT   NOT NULL,
			description TEXT   NOT NULL,
			status      TEXT   NOT NULL,
			modified_by TEXT   NOT NULL,
			version     BIGINT NOT NULL,
			created_ms  BIGINT NOT NULL,
			updated_ms  BIGINT NOT NULL,
			deleted_ms  BIGINT,
			deleted_by  TEXT
		)`,
		`CREATE INDEX IF NOT EXISTS items_in_order ON items (created_ms, id) WHERE deleted_ms IS NULL`,
		`CREATE INDEX IF NOT EXISTS items_of_user ON items (user_id, created_ms, id) WHERE deleted_ms IS NULL`,
		`CREATE TABLE IF NOT EXISTS user_clocks (
			user_id {uuid} PRIMARY KEY,
			last_ms BIGINT NOT NULL
		)`,
		`CREATE TABLE IF NOT EXISTS audit (
			seq            {serial},
			event_id       {uuid} NOT NULL UNIQUE,
			topic          TEXT   NOT NULL,
			source_part    INTEGER NOT NULL,
			source_offset  BIGINT NOT NULL,
			item_id        {uuid},
			user_id        {uuid} NOT NULL,
			event_ms       BIGINT NOT NULL,
			correlation_id TEXT   NOT NULL,
			causation_id   TEXT   NOT NULL,
			payload        TEXT   NOT NULL
		)`,
		`CREATE INDEX IF NOT EXISTS audit_of_item ON audit (item_id, event_ms)`,
		`CREATE INDEX IF NOT EXISTS audit_of_user ON audit (user_id, event_ms)`,
		`CREATE INDEX IF NOT EXISTS audit_of_cause ON audit (causation_id)`,
		`CREATE TABLE IF NOT EXISTS analytics (
			item_id  {uuid} PRIMARY KEY,
			user_id  {uuid} NOT NULL,
			status   TEXT   NOT NULL,
			event_ms BIGINT NOT NULL
		)`,
		`CREATE INDEX IF NOT EXISTS analytics_of_user ON analytics (user_id, status)`,
	}
	for i, statement := range out {
		out[i] = types.Replace(statement)
	}
	return append(out, d.after...)
}

func (s *Store) migrate(ctx context.Context) error {
	return s.InTx(ctx, func(tx *Tx) error {
		if s.dialect.lock != "" {
			if _, err := tx.ExecContext(ctx, s.dialect.lock); err != nil {
				return err
			}
		}
		for _, statement := range s.dialect.tables() {
			if _, err := tx.ExecContext(ctx, statement); err != nil {
				name, _, _ := strings.Cut(statement, "(")
				return fmt.Errorf("%s: %w", strings.TrimSpace(name), err)
			}
		}
		return nil
	})
}
