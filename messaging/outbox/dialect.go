package outbox

import "github.com/expensevault/sharedlibrary/internal/sqldb"

// Dialect is the kind of database that the outbox's tables are in.
type Dialect = sqldb.Dialect

// The dialects.
const (
	PostgreSQL = sqldb.PostgreSQL // 12 and later, by any driver
	SQLite     = sqldb.SQLite     // 3.35 and later
	MySQL      = sqldb.MySQL      // MySQL 8 and MariaDB 10.5, and later
)
