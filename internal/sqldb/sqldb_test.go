package sqldb_test

import (
	"strings"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/expensevault/sharedlibrary/internal/sqldb"
)

func TestCheckName(t *testing.T) {
	t.Parallel()
	for _, good := range []string{"outbox", "_o", "a1", strings.Repeat("a", 63)} {
		require.NoError(t, sqldb.CheckName(good), good)
	}
	for _, bad := range []string{"", "1a", "Outbox", "out box", "out-box", "out.box", `out"box`, "outbox;drop table x", "ö", "outbox\n", strings.Repeat("a", 64)} {
		require.Error(t, sqldb.CheckName(bad), bad)
	}
	require.NoError(t, sqldb.CheckName(strings.Repeat("a", 56), "_shards", "_x"))
	require.Error(t, sqldb.CheckName(strings.Repeat("a", 57), "_shards", "_x"))
}

func TestRebind(t *testing.T) {
	t.Parallel()
	const query = "UPDATE t SET a = ? WHERE b = ? AND c IN (?)"
	assert.Equal(t, "UPDATE t SET a = $1 WHERE b = $2 AND c IN ($3)", sqldb.PostgreSQL.Rebind(query))
	assert.Equal(t, query, sqldb.MySQL.Rebind(query))
	assert.Equal(t, query, sqldb.SQLite.Rebind(query))
}

func TestStatements(t *testing.T) {
	t.Parallel()
	files := fstest.MapFS{
		"schema/sqlite/002_more.sql": {Data: []byte("ALTER TABLE box ADD x INT;")},
		"schema/sqlite/001_box.sql":  {Data: []byte("-- What it is.\nCREATE TABLE box (\n  a INT, -- a; comment\n\n  b INT\n);\n\nCREATE INDEX box_a ON box (a);\n")},
		"schema/mysql/002_gap.sql":   {Data: []byte("X;")},
	}
	got, err := sqldb.Statements(files, sqldb.SQLite, "box", "crate")
	require.NoError(t, err)
	assert.Equal(t, [][]string{{"CREATE TABLE crate (\n  a INT,\n  b INT\n)", "CREATE INDEX crate_a ON crate (a)"}, {"ALTER TABLE crate ADD x INT"}}, got)
	_, err = sqldb.Statements(files, sqldb.MySQL, "box", "crate")
	require.ErrorContains(t, err, "not number 1")
	_, err = sqldb.Statements(files, 0, "box", "crate")
	require.ErrorIs(t, err, sqldb.ErrDialect)
}
