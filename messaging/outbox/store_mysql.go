package outbox

import (
	"strconv"
	"strings"
)

// Numbers of affected rows are those that changed, or those that were found, by
// a setting of the driver: every update of a shard's row changes its revision,
// so that they are the same.

// mysqlIn names the ids themselves: there is no way to give a list as one argument that uses the index.
func mysqlIn(ids []int64) (condition string, args []any) {
	return "IN (" + joinInts(ids) + ")", nil
}

func mysqlUpsertRelay(table, now string) string {
	return "INSERT INTO " + table + "_relays (relay, expires_ms) VALUES (?, " + now + " + ?) ON DUPLICATE KEY UPDATE expires_ms = VALUES(expires_ms)"
}

// mysqlSettled is store.settled. The ids are joined, for a small table would be
// read as a whole by an IN, and the statement would wait for the rows of every
// transaction that is still open.
func (s *store) mysqlSettled(in string) string {
	ids := strings.TrimSuffix(strings.TrimPrefix(in, "IN ("), ")")
	from := "(SELECT " + strings.ReplaceAll(ids, ",", " AS id UNION ALL SELECT ") + " AS id) x STRAIGHT_JOIN " + s.o.table + " o ON o.id = x.id"
	if s.o.keep > 0 {
		return "UPDATE " + from + " SET o.state = " + strconv.Itoa(stateSent) + ", o.changed_ms = " + s.d.Now()
	}
	return "DELETE o FROM " + from
}
