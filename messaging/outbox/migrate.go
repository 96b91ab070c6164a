package outbox

import (
	"context"
	"database/sql"
	"embed"
	"fmt"

	"github.com/expensevault/sharedlibrary/internal/sqldb"
)

// Schema holds the tables as plain SQL, for those who have a migration tool of
// their own: schema/postgresql, schema/sqlite and schema/mysql, in files that
// are to be run once each, in order. They name the default table; further
// versions of this package add files and never change one.
//
//go:embed schema
var Schema embed.FS

// Migrate makes the tables, or brings them to this version; tables that are as
// they should be stay as they are. Any number of processes may call it at once.
// Only [WithTable] of the options matters. The user of db needs the right to
// create tables. Which versions were applied stands in outbox_schema.
func Migrate(ctx context.Context, db *sql.DB, d Dialect, opts ...Option) error {
	o := newOptions(opts)
	if err := o.check(d); err != nil {
		return err
	}
	if err := sqldb.Migrate(ctx, db, d, Schema, defaultTable, o.table); err != nil {
		return fmt.Errorf("outbox: migrate: %w", err)
	}
	return nil
}
