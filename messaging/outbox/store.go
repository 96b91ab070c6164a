package outbox

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/expensevault/sharedlibrary/messaging"
)

// The states of a row.
const (
	statePending = 0
	stateSent    = 1 // kept for a while, see WithKeepSent
	stateWaiting = 2 // behind a row of its key that is parked, or of its partition that does not go on
	stateParked  = 3
)

// store is the SQL. What differs between the databases is in the files named after them.
type store struct {
	d Dialect
	o options
}

func newStore(d Dialect, o options) *store { return &store{d: d, o: o} }

// errLost says that the shard is no longer ours.
var errLost = errors.New("outbox: the shard belongs to another relay by now")

// lease is the right to relay a shard. Both sides fence with the epoch: the
// database lets nobody else write the shard's row, and brokers refuse a
// producer with a lower one.
type lease struct {
	shard int
	owner string
	epoch int
}

// holding is the condition under which a statement may touch the shard.
const holding = " WHERE shard = ? AND owner = ? AND epoch = ?"

func (l lease) args() []any { return []any{l.shard, l.owner, l.epoch} }

func (s *store) exec(ctx context.Context, x Execer, query string, args ...any) (int64, error) {
	res, err := x.ExecContext(ctx, s.d.Rebind(query), args...)
	if err != nil {
		return 0, err
	}
	return res.RowsAffected()
}

// held runs an update of the shard's row, which must be ours.
func (s *store) held(ctx context.Context, x Execer, l lease, set string, args ...any) error {
	n, err := s.exec(ctx, x, "UPDATE "+s.o.table+"_shards SET revision = revision + 1"+set+holding, append(args, l.args()...)...)
	switch {
	case err != nil:
		return err
	case n == 0:
		return errLost
	}
	return nil
}

// locked runs fn in a transaction during which the shard stays ours. Each
// statement of fn sees what was committed before it.
func (s *store) locked(ctx context.Context, db *sql.DB, l lease, fn func(tx *sql.Tx) error) error {
	return s.tx(ctx, db, func(tx *sql.Tx) error {
		if err := s.held(ctx, tx, l, ""); err != nil {
			return err
		}
		return fn(tx)
	})
}

func (s *store) tx(ctx context.Context, db *sql.DB, fn func(tx *sql.Tx) error) error {
	opts := &sql.TxOptions{Isolation: sql.LevelReadCommitted}
	if s.d == SQLite {
		opts = nil // it is serializable, and drivers refuse to be asked for less
	}
	tx, err := db.BeginTx(ctx, opts)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }() // does nothing after the commit
	if err := fn(tx); err != nil {
		return err
	}
	return tx.Commit()
}

// again runs what may be run again a few times, for a connection that was lost and a writer that was in the way.
func again(ctx context.Context, fn func() error) error {
	const tries = 4
	for n := 1; ; n++ {
		err := fn()
		if err == nil || n == tries || errors.Is(err, errLost) || ctx.Err() != nil {
			return err
		}
		select {
		case <-time.After(time.Duration(n*n) * 20 * time.Millisecond):
		case <-ctx.Done():
			return err
		}
	}
}

// beat says that the relay is at work and how many are.
func (s *store) beat(ctx context.Context, db *sql.DB, relay string) (live int, err error) {
	if _, err := s.exec(ctx, db, s.upsertRelay(), relay, s.o.lease.Milliseconds()); err != nil {
		return 0, err
	}
	err = db.QueryRowContext(ctx, "SELECT COUNT(*) FROM "+s.o.table+"_relays WHERE expires_ms > "+s.d.Now()).Scan(&live)
	return live, err
}

func (s *store) leave(ctx context.Context, db *sql.DB, relay string) error {
	_, err := s.exec(ctx, db, "DELETE FROM "+s.o.table+"_relays WHERE relay = ? OR expires_ms < "+s.d.Now()+" - 60000", relay)
	return err
}

// free are the shards that nobody has.
func (s *store) free(ctx context.Context, db *sql.DB) ([]int, error) {
	return s.ints(ctx, db, "SELECT shard FROM "+s.o.table+"_shards WHERE owner = '' OR expires_ms <= "+s.d.Now()+" ORDER BY shard")
}

// tenure is what an acquired shard comes with.
type tenure struct {
	lease
	producer int64  // -1: none yet
	marks    []mark // begun by whoever had it before, and not finished
	now      int64  // of the database's clock
}

// acquire takes a shard that nobody has, or that the owner has already. The epoch is one higher than any before.
func (s *store) acquire(ctx context.Context, db *sql.DB, shard int, owner string) (tenure, error) {
	t := tenure{lease: lease{shard: shard, owner: owner}}
	now := s.d.Now()
	n, err := s.exec(ctx, db, "UPDATE "+s.o.table+"_shards SET owner = ?, epoch = epoch + 1, expires_ms = "+now+
		" + ?, revision = revision + 1 WHERE shard = ? AND (owner = '' OR owner = ? OR expires_ms <= "+now+")",
		owner, s.o.lease.Milliseconds(), shard, owner)
	if err != nil {
		return t, err
	}
	if n == 0 {
		return t, errLost
	}
	var marks sql.NullString
	err = db.QueryRowContext(ctx, s.d.Rebind("SELECT epoch, producer_id, marks, "+now+" FROM "+s.o.table+"_shards WHERE shard = ? AND owner = ?"), shard, owner).
		Scan(&t.epoch, &t.producer, &marks, &t.now)
	if errors.Is(err, sql.ErrNoRows) {
		return t, errLost
	}
	if err != nil {
		return t, err
	}
	t.marks, err = decodeMarks(marks.String)
	return t, err
}

// adopt gives the shard a producer identity of its own, which begins at epoch 0.
func (s *store) adopt(ctx context.Context, db *sql.DB, l lease, producer int64) error {
	return s.held(ctx, db, l, ", producer_id = ?, epoch = 0", producer)
}

// disown has the next tenure begin with another producer identity.
func (s *store) disown(ctx context.Context, db *sql.DB, l lease) error {
	return s.held(ctx, db, l, ", producer_id = -1")
}

// renew keeps the shards ours, and returns the epochs of those that are.
func (s *store) renew(ctx context.Context, db *sql.DB, owner string, owned []int) (map[int]int, error) {
	if len(owned) > 0 {
		_, err := s.exec(ctx, db, "UPDATE "+s.o.table+"_shards SET expires_ms = "+s.d.Now()+" + ?, revision = revision + 1 WHERE shard IN ("+
			joinInts(owned)+") AND owner = ?", s.o.lease.Milliseconds(), owner)
		if err != nil {
			return nil, err
		}
	}
	out := make(map[int]int)
	err := s.query(ctx, db, func(rows *sql.Rows) error {
		var shard, epoch int
		err := rows.Scan(&shard, &epoch)
		out[shard] = epoch
		return err
	}, "SELECT shard, epoch FROM "+s.o.table+"_shards WHERE owner = ?", owner)
	return out, err
}

func (s *store) release(ctx context.Context, db *sql.DB, l lease) error {
	return s.held(ctx, db, l, ", owner = '', expires_ms = 0")
}

// mark writes which batches are unfinished. It comes before they are sent.
func (s *store) mark(ctx context.Context, x Execer, l lease, marks []mark) error {
	return s.held(ctx, x, l, ", expires_ms = "+s.d.Now()+" + ?, marks = ?", s.o.lease.Milliseconds(), encodeMarks(marks))
}

// settled is what is to become of the rows that were published.
func (s *store) settled(ids string) string {
	if s.d == MySQL {
		return s.mysqlSettled(ids)
	}
	if s.o.keep > 0 {
		return "UPDATE " + s.o.table + " SET state = " + strconv.Itoa(stateSent) + ", changed_ms = " + s.d.Now() + " WHERE id " + ids
	}
	return "DELETE FROM " + s.o.table + " WHERE id " + ids
}

// byID keeps MySQL from reading the whole of a small table, and so from waiting
// for the rows of transactions that are still open.
func (s *store) byID() string {
	if s.d == MySQL {
		return " FORCE INDEX (PRIMARY)"
	}
	return ""
}

// working are the owner's shards that have pending rows, those that are being sent included.
func (s *store) working(ctx context.Context, db *sql.DB, owner string) ([]int, error) {
	return s.ints(ctx, db, "SELECT s.shard FROM "+s.o.table+"_shards s WHERE s.owner = ? AND EXISTS (SELECT 1 FROM "+
		s.o.table+" o WHERE o.shard = s.shard AND o.state = 0)", owner)
}

// row is a record with its place in the outbox.
type row struct {
	id     int64
	record messaging.Record
	bad    error // what is wrong with the row itself
}

// rowColumns say apart what NULL is: some drivers read an empty value as nil.
const rowColumns = "id, topic, record_key, record_value, headers, record_ms, record_key IS NULL, record_value IS NULL"

func scanRow(rows *sql.Rows) (row, error) {
	var r row
	err := r.scan(rows)
	return r, err
}

// scan reads the columns, and those that come after them.
func (r *row) scan(rows *sql.Rows, further ...any) error {
	var headers string
	var ms int64
	var noKey, noValue bool
	columns := []any{&r.id, &r.record.Topic, &r.record.Key, &r.record.Value, &headers, &ms, &noKey, &noValue}
	if err := rows.Scan(append(columns, further...)...); err != nil {
		return err
	}
	if r.record.Key == nil && !noKey {
		r.record.Key = []byte{}
	}
	if r.record.Value == nil && !noValue {
		r.record.Value = []byte{}
	}
	r.record.Timestamp = time.UnixMilli(ms)
	r.record.Headers, r.bad = decodeHeaders(headers)
	return nil
}

// fetchBytes bounds what is read at once, give or take a row.
const fetchBytes = 8 << 20

// fetch returns the first pending rows of a shard, by id and of one snapshot;
// more says that there are others. There is no cursor: a row that is committed
// late is found like any other.
func (s *store) fetch(ctx context.Context, db *sql.DB, shard, limit int) (out []row, more bool, err error) {
	rows, err := db.QueryContext(ctx, s.d.Rebind("SELECT "+rowColumns+" FROM "+s.o.table+" WHERE shard = ? AND state = 0 ORDER BY id LIMIT ?"), shard, limit)
	if err != nil {
		return nil, false, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	size := 0
	for rows.Next() {
		r, err := scanRow(rows)
		if err != nil {
			return nil, false, err
		}
		out = append(out, r)
		if size += r.record.Size(); size > fetchBytes {
			return out, true, nil
		}
	}
	return out, len(out) == limit, rows.Err()
}

// load returns the rows with these ids, by id; some may be missing.
func (s *store) load(ctx context.Context, db *sql.DB, ids []int64) ([]row, error) {
	in, args := s.in(ids)
	var out []row
	err := s.query(ctx, db, func(rows *sql.Rows) error {
		r, err := scanRow(rows)
		out = append(out, r)
		return err
	}, "SELECT "+rowColumns+" FROM "+s.o.table+" WHERE id "+in+" ORDER BY id", args...)
	return out, err
}

// unlockWaiting has the shard's waiting rows looked at again.
func (s *store) unlockWaiting(ctx context.Context, x Execer, shard int) error {
	_, err := s.exec(ctx, x, "UPDATE "+s.o.table+" SET state = 0 WHERE state = 2 AND shard = ?", shard)
	return err
}

// setWaiting takes pending rows out of the way.
func (s *store) setWaiting(ctx context.Context, x Execer, ids []int64) error {
	in, args := s.in(ids)
	_, err := s.exec(ctx, x, "UPDATE "+s.o.table+s.byID()+" SET state = 2, changed_ms = "+s.d.Now()+" WHERE state = 0 AND id "+in, args...)
	return err
}

// setWaitingBehind takes those of the pending rows out of the way that are behind a parked one.
func (s *store) setWaitingBehind(ctx context.Context, tx *sql.Tx, ids []int64, parked map[topicKey]int64) error {
	in, args := s.in(ids)
	var wait []int64
	err := s.query(ctx, tx, func(rows *sql.Rows) error {
		var id int64
		var topic string
		var key []byte
		if err := rows.Scan(&id, &topic, &key); err != nil {
			return err
		}
		if first, ok := parked[topicKey{topic, string(key)}]; ok && id > first {
			wait = append(wait, id)
		}
		return nil
	}, "SELECT id, topic, record_key FROM "+s.o.table+" WHERE state = 0 AND id "+in, args...)
	if err != nil || len(wait) == 0 {
		return err
	}
	return s.setWaiting(ctx, tx, wait)
}

// maxDetail is what the column holds in every dialect.
const maxDetail = 1000

// park takes a row that cannot be published out of the way.
func (s *store) park(ctx context.Context, x Execer, p parking) error {
	retry, args := "0", []any{p.reason, truncate(p.detail, maxDetail)}
	if p.retry > 0 {
		retry = s.d.Now() + " + ?"
		args = append(args, p.retry.Milliseconds())
	}
	_, err := s.exec(ctx, x, "UPDATE "+s.o.table+s.byID()+" SET state = 3, changed_ms = "+s.d.Now()+", reason = ?, detail = ?, retry_ms = "+retry+
		" WHERE state = 0 AND id = ?", append(args, p.id)...)
	return err
}

// parkedKeys are the keys of the shard that have parked rows, with the first of these each.
func (s *store) parkedKeys(ctx context.Context, x queryer, shard int) (map[topicKey]int64, error) {
	out := make(map[topicKey]int64)
	err := s.query(ctx, x, func(rows *sql.Rows) error {
		var id int64
		var topic string
		var key []byte
		if err := rows.Scan(&id, &topic, &key); err != nil {
			return err
		}
		k := topicKey{topic, string(key)}
		if first, ok := out[k]; !ok || id < first {
			out[k] = id
		}
		return nil
	}, "SELECT id, topic, record_key FROM "+s.o.table+" WHERE state = 3 AND shard = ? AND record_key IS NOT NULL", shard)
	return out, err
}

// retryDue has the parked rows whose time has come tried again, and returns in how long the next one's will.
func (s *store) retryDue(ctx context.Context, db *sql.DB, l lease) (released bool, next time.Duration, err error) {
	err = s.locked(ctx, db, l, func(tx *sql.Tx) error {
		n, err := s.exec(ctx, tx, "UPDATE "+s.o.table+" SET state = 0, retry_ms = 0 WHERE state = 3 AND shard = ? AND retry_ms > 0 AND retry_ms <= "+s.d.Now(), l.shard)
		if err != nil {
			return err
		}
		if n > 0 {
			released = true
			if err := s.unlockWaiting(ctx, tx, l.shard); err != nil {
				return err
			}
		}
		var ms sql.NullInt64
		err = tx.QueryRowContext(ctx, s.d.Rebind("SELECT MIN(retry_ms) - "+s.d.Now()+" FROM "+s.o.table+" WHERE state = 3 AND shard = ? AND retry_ms > 0"), l.shard).Scan(&ms)
		if ms.Valid {
			next = max(time.Duration(ms.Int64)*time.Millisecond, time.Millisecond)
		}
		return err
	})
	return released, next, err
}

// clean deletes some of the rows that were published long enough ago.
func (s *store) clean(ctx context.Context, db *sql.DB) (int64, error) {
	const chunk = 1000
	return s.exec(ctx, db, s.cleanStatement(), s.o.keep.Milliseconds(), chunk)
}

type queryer interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
}

func (s *store) query(ctx context.Context, x queryer, each func(*sql.Rows) error, query string, args ...any) (err error) {
	rows, err := x.QueryContext(ctx, s.d.Rebind(query), args...)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		if err := each(rows); err != nil {
			return err
		}
	}
	return rows.Err()
}

func (s *store) ints(ctx context.Context, x queryer, query string, args ...any) ([]int, error) {
	var out []int
	err := s.query(ctx, x, func(rows *sql.Rows) error {
		var n int
		err := rows.Scan(&n)
		out = append(out, n)
		return err
	}, query, args...)
	return out, err
}

func joinInts[T int | int64](ns []T) string {
	var b strings.Builder
	for i, n := range ns {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(strconv.FormatInt(int64(n), 10))
	}
	return b.String()
}

func truncate(s string, n int) string {
	s = strings.ToValidUTF8(strings.ReplaceAll(s, "\x00", ""), "?")
	if len(s) <= n {
		return s
	}
	return strings.ToValidUTF8(s[:n-3], "") + "..."
}

// The dialect decides.

func (s *store) announce(insert string) string {
	if s.d == PostgreSQL && !s.o.silent {
		return postgresAnnounce(insert, s.o.table)
	}
	return insert
}

func (s *store) upsertRelay() string {
	if s.d == MySQL {
		return mysqlUpsertRelay(s.o.table, s.d.Now())
	}
	return "INSERT INTO " + s.o.table + "_relays (relay, expires_ms) VALUES (?, " + s.d.Now() + " + ?) ON CONFLICT (relay) DO UPDATE SET expires_ms = excluded.expires_ms"
}

// in is the condition on id, with its argument where it has one.
func (s *store) in(ids []int64) (condition string, args []any) {
	switch s.d {
	case PostgreSQL:
		return postgresIn(ids)
	case SQLite:
		return sqliteIn(ids)
	default:
		return mysqlIn(ids)
	}
}

// finish writes that these rows are published, together with which batches are still unfinished.
func (s *store) finish(ctx context.Context, db *sql.DB, l lease, rest []mark, ids []int64) error {
	if s.d == PostgreSQL {
		return s.postgresFinish(ctx, db, l, rest, ids)
	}
	return s.tx(ctx, db, func(tx *sql.Tx) error {
		if err := s.held(ctx, tx, l, ", expires_ms = "+s.d.Now()+" + ?, marks = ?", s.o.lease.Milliseconds(), encodeMarks(rest)); err != nil {
			return err
		}
		in, args := s.in(ids)
		_, err := s.exec(ctx, tx, s.settled(in), args...)
		return err
	})
}

func (s *store) cleanStatement() string {
	old := "state = 1 AND changed_ms < " + s.d.Now() + " - ?"
	if s.d == MySQL {
		return "DELETE FROM " + s.o.table + " WHERE " + old + " LIMIT ?"
	}
	return fmt.Sprintf("DELETE FROM %[1]s WHERE id IN (SELECT id FROM %[1]s WHERE %[2]s LIMIT ?)", s.o.table, old)
}
