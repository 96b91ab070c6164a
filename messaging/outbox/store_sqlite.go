package outbox

// SQLite has one writer at a time. Every transaction of a relay begins with a
// write, so that it waits for the other writer (by the connection's
// busy_timeout) with a snapshot that is not taken yet: a transaction that reads
// first would be refused instead, whatever the timeout.

// sqliteIn is one text for any number of ids; there are limits to the number of placeholders.
func sqliteIn(ids []int64) (condition string, args []any) {
	return "IN (SELECT value FROM json_each(?))", []any{"[" + joinInts(ids) + "]"}
}
