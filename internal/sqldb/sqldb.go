// Package sqldb has what packages outbox and inbox share: in what the databases
// differ, the names of tables, and migrations.
package sqldb

import (
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// Dialect is the kind of a database. The zero value is none.
type Dialect int8

// The dialects.
const (
	PostgreSQL Dialect = iota + 1 // 12 and later
	SQLite                        // 3.35 and later
	MySQL                         // MySQL 8 and MariaDB 10.5, and later
)

// String is the dialect's name.
func (d Dialect) String() string {
	switch d {
	case PostgreSQL:
		return "PostgreSQL"
	case SQLite:
		return "SQLite"
	case MySQL:
		return "MySQL"
	default:
		return fmt.Sprintf("Dialect(%d)", int8(d))
	}
}

// ErrDialect is the error of a dialect that is none.
var ErrDialect = errors.New("the dialect must be PostgreSQL, SQLite or MySQL")

// Check returns an error for a dialect that is none.
func (d Dialect) Check() error {
	if d < PostgreSQL || d > MySQL {
		return fmt.Errorf("%w, not %s", ErrDialect, d)
	}
	return nil
}

// Rebind writes the placeholders, which are question marks in query, as the
// dialect wants them. There must be no other question mark in query.
func (d Dialect) Rebind(query string) string {
	if d != PostgreSQL {
		return query
	}
	var b strings.Builder
	b.Grow(len(query) + 16)
	for n := 1; ; n++ {
		before, after, found := strings.Cut(query, "?")
		b.WriteString(before)
		if !found {
			return b.String()
		}
		b.WriteByte('$')
		b.WriteString(strconv.Itoa(n))
		query = after
	}
}

// Now is an expression for the database's clock in milliseconds since 1970. It
// does not depend on the session's time zone.
func (d Dialect) Now() string {
	switch d {
	case PostgreSQL:
		return "(extract(epoch from clock_timestamp()) * 1000)::bigint"
	case MySQL:
		return "(TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(3)) DIV 1000)"
	default:
		return "CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER)"
	}
}

// folder is where the migrations of the dialect lie.
func (d Dialect) folder() string { return strings.ToLower(d.String()) }

// CheckName returns an error for a table's name that must not stand in SQL as it
// is: the only ones that may are ^[a-z_][a-z0-9_]{0,62}$, with the longest of
// the suffixes that are put behind it.
func CheckName(name string, suffixes ...string) error {
	longest := 0
	for _, s := range suffixes {
		longest = max(longest, len(s))
	}
	if ok, err := regexp.MatchString(`^[a-z_][a-z0-9_]{0,62}$`, name); err != nil || !ok {
		return fmt.Errorf("the table's name %q must be a-z, 0-9 and _, not begin with a digit, and have 63 characters at most", name)
	}
	if most := 63 - longest; len(name) > most {
		return fmt.Errorf("the table's name %q must have %d characters at most: further names are made of it", name, most)
	}
	return nil
}
