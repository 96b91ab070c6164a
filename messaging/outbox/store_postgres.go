package outbox

import (
	"context"
	"database/sql"
)

// postgresAnnounce has the insert wake who listens, when the transaction commits.
func postgresAnnounce(insert, channel string) string {
	return "WITH written AS (" + insert + " RETURNING 1) SELECT pg_notify('" + channel + "', '') FROM written LIMIT 1"
}

// postgresIn is one text for any number of ids, so that it is prepared once.
// Drivers have types of their own for arrays; all of them have text.
func postgresIn(ids []int64) (condition string, args []any) {
	return "= ANY(string_to_array(?, ',')::bigint[])", []any{joinInts(ids)}
}

// postgresFinish is store.finish in one statement. The shard's row is locked, or
// waited for, before a row of the outbox is touched.
func (s *store) postgresFinish(ctx context.Context, db *sql.DB, l lease, rest []mark, ids []int64) error {
	in, idArgs := postgresIn(ids)
	args := append([]any{s.o.lease.Milliseconds(), encodeMarks(rest)}, l.args()...)
	done, err := s.exec(ctx, db, "WITH ours AS (UPDATE "+s.o.table+"_shards SET revision = revision + 1, expires_ms = "+s.d.Now()+" + ?, marks = ?"+
		holding+" RETURNING shard) "+s.settled(in)+" AND EXISTS (SELECT 1 FROM ours)", append(args, idArgs...)...)
	if err != nil || done > 0 {
		return err
	}
	// None of the rows is there: it was done before, or the shard is another's.
	return s.held(ctx, db, l, "")
}
