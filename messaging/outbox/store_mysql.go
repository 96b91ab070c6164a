package outbox

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
