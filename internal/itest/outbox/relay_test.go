package outbox_test

import (
	"context"
	"database/sql"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/expensevault/sharedlibrary/events"
	"github.com/expensevault/sharedlibrary/internal/failpoint"
	"github.com/expensevault/sharedlibrary/messaging"
	"github.com/expensevault/sharedlibrary/messaging/outbox"
)

const topicName = "itest.thing.happened"

// running is a relay at work.
type running struct {
	t      testing.TB
	cancel context.CancelFunc
	done   chan error
}

// start runs a relay until it is stopped, or the test ends.
func start(t testing.TB, ctx context.Context, db *database, k outbox.Sender, opts ...outbox.Option) *running { //nolint:revive // t first, as everywhere
	t.Helper()
	ctx, cancel := context.WithCancel(ctx)
	r := &running{t: t, cancel: cancel, done: make(chan error, 1)}
	opts = append([]outbox.Option{outbox.WithLogger(slog.New(slog.DiscardHandler)), outbox.WithPoll(2*time.Millisecond, 20*time.Millisecond)}, opts...)
	relay := outbox.NewRelay(db.DB, db.dialect, k, db.options(opts...)...)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		r.done <- relay.Run(ctx)
	}()
	t.Cleanup(func() { // nothing of it meets the next test
		cancel()
		if f, ok := ctx.Value(freezerKey{}).(*freezer); ok {
			f.thaw()
		}
		select {
		case <-ended:
		case <-time.After(time.Minute):
			t.Error("the relay does not end")
		}
	})
	return r
}

// stop ends it as a service does.
func (r *running) stop() {
	r.t.Helper()
	r.cancel()
	select {
	case err := <-r.done:
		require.NoError(r.t, err)
	case <-time.After(time.Minute):
		require.FailNow(r.t, "the relay does not end")
	}
}

// emptied waits until nothing is pending.
func emptied(t testing.TB, db *database) {
	t.Helper()
	eventually(t, "the outbox is not empty", func() bool {
		b, err := db.outbox().Backlog(t.Context(), db.DB)
		return err == nil && b.Pending == 0
	})
}

// eventually asks again and again.
func eventually(t testing.TB, what string, f func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	late := time.After(4 * time.Minute)
	for !f() {
		select {
		case <-tick.C:
		case <-late:
			require.FailNow(t, what)
		}
	}
}

// freezer makes a relay stand still at a place, with all its goroutines: as SIGSTOP does, and, as long as nobody thaws
// it, SIGKILL.
type freezer struct {
	point  string
	nth    int
	frozen chan struct{}
	thawed chan struct{}

	mu sync.Mutex
	is bool
}

func newFreezer(t testing.TB, point string, nth int) *freezer {
	t.Helper()
	f := &freezer{point: point, nth: nth, frozen: make(chan struct{}), thawed: make(chan struct{})}
	t.Cleanup(f.thaw)
	return f
}

type freezerKey struct{}

func (f *freezer) context(t testing.TB) context.Context {
	t.Helper()
	return failpoint.With(context.WithValue(t.Context(), freezerKey{}, f), f.hook)
}

func (f *freezer) hook(point string) error {
	f.mu.Lock()
	if !f.is && point == f.point {
		if f.nth--; f.nth == 0 {
			f.is = true
			close(f.frozen)
		}
	}
	is := f.is
	f.mu.Unlock()
	if is {
		<-f.thawed
	}
	return nil
}

func (f *freezer) wait(t testing.TB) {
	t.Helper()
	select {
	case <-f.frozen:
	case <-time.After(time.Minute):
		require.FailNow(t, "the relay does not come to "+f.point)
	}
}

func (f *freezer) thaw() {
	f.mu.Lock()
	defer f.mu.Unlock()
	select {
	case <-f.thawed:
	default:
		close(f.thawed)
	}
}

// expire ends all leases, though their holders do not know.
func expire(t testing.TB, db *database) {
	t.Helper()
	db.exec(t, "UPDATE "+db.table+"_shards SET expires_ms = 0")
	db.exec(t, "DELETE FROM "+db.table+"_relays")
}

func TestRelayPublishes(t *testing.T) {
	t.Parallel()
	eachDatabase(t, func(t *testing.T, db *database) {
		k, l := newKafka(), newLedger()
		for i := range 20 {
			l.publish(t, db, fmt.Sprint("before-", i%7), 3)
		}
		r := start(t, t.Context(), db, k)
		for i := range 20 {
			l.publish(t, db, fmt.Sprint("during-", i%7), 3)
		}
		emptied(t, db)
		r.stop()
		l.check(t, k.records(topicName))
		assert.Zero(t, db.rows(t), "published rows are deleted")
		assert.Zero(t, db.int(t, "SELECT COUNT(*) FROM "+db.table+"_shards WHERE owner <> ''"), "shards are given back")
		assert.Zero(t, db.int(t, "SELECT COUNT(*) FROM "+db.table+"_relays"))
		resent, fenced := k.counts()
		assert.Zero(t, resent+fenced)
	})
}

func TestRecordArrivesAsItWasWritten(t *testing.T) {
	t.Parallel()
	eachDatabase(t, func(t *testing.T, db *database) {
		k := newKafka()
		now := time.UnixMilli(time.Now().UnixMilli())
		want := messaging.Record{
			Topic: topicName, Key: []byte("k\xff"), Value: []byte("\x00v"), Timestamp: now,
			Headers: []messaging.Header{{Key: "a", Value: []byte("b")}, {Key: "n"}, {Key: "e", Value: []byte{}}, {Key: "x", Value: []byte{0xfe}}},
		}
		require.NoError(t, db.outbox().In(db).PublishRecords(t.Context(), want))
		start(t, t.Context(), db, k)
		emptied(t, db)
		assert.Equal(t, []messaging.Record{want}, k.records(topicName))
	})
}

// crashPoints are all places at which a relay can die, in the order in which it comes to them.
func crashPoints() []string {
	return []string{"beat", "acquired", "rebuilt", "recovered", "identified", "look", "fetched", "unmarked", "marked", "send", "sent", "acknowledged", "finished"}
}

// overtaken is emptied, when one that stands still may have taken a shard at the last moment, for an hour.
func overtaken(t testing.TB, db *database) {
	t.Helper()
	eventually(t, "the outbox is not empty", func() bool {
		_, err := db.ExecContext(t.Context(), db.bind("UPDATE "+db.table+"_shards SET expires_ms = 0 WHERE expires_ms > "+db.dialect.Now()+" + ?"), time.Minute.Milliseconds())
		if err != nil {
			return false
		}
		b, err := db.outbox().Backlog(t.Context(), db.DB)
		return err == nil && b.Pending == 0
	})
}

// TestCrashAtEveryPoint has a relay die at each place, and another one take over.
func TestCrashAtEveryPoint(t *testing.T) {
	t.Parallel()
	eachDatabase(t, func(t *testing.T, db *database) {
		for _, point := range crashPoints() {
			for _, nth := range []int{1, 3} {
				t.Run(fmt.Sprintf("%s %d", point, nth), func(t *testing.T) {
					fresh(t, db)
					k, l := newKafka(), newLedger()
					f := newFreezer(t, point, nth)
					for i := range 30 {
						l.publish(t, db, fmt.Sprint("k", i%10), 1)
					}
					start(t, f.context(t), db, k, outbox.WithLease(time.Hour), outbox.WithBatchRows(2))
					if point == "beat" && nth == 3 {
						return // a quarter of the lease later
					}
					f.wait(t)
					l.publish(t, db, "later", 2)
					expire(t, db)
					start(t, t.Context(), db, k)
					overtaken(t, db)
					l.check(t, k.records(topicName))
					// The dead one was only frozen, and goes on as if nothing had been.
					f.thaw()
					l.publish(t, db, "after", 5)
					emptied(t, db)
					l.check(t, k.records(topicName))
				})
			}
		}
	})
}

// fresh empties the tables.
func fresh(t testing.TB, db *database) {
	t.Helper()
	db.exec(t, "DELETE FROM "+db.table)
	db.exec(t, "UPDATE "+db.table+"_shards SET owner = '', expires_ms = 0, producer_id = -1, epoch = -1, marks = NULL")
	db.exec(t, "DELETE FROM "+db.table+"_relays")
}

// TestCrashWhileTakingOver has one relay die with a batch begun, a second one die while it takes over, and a third one do it.
func TestCrashWhileTakingOver(t *testing.T) {
	t.Parallel()
	eachDatabase(t, func(t *testing.T, db *database) {
		for _, first := range []string{"marked", "sent", "acknowledged"} {
			for _, second := range []string{"acquired", "rebuilt", "send", "sent", "acknowledged", "finished", "recovered", "fetched", "marked"} {
				t.Run(first+", "+second, func(t *testing.T) {
					fresh(t, db)
					k, l := newKafka(), newLedger()
					for i := range 20 {
						l.publish(t, db, fmt.Sprint("k", i%10), 1)
					}
					a := newFreezer(t, first, 2)
					start(t, a.context(t), db, k, outbox.WithLease(time.Hour), outbox.WithBatchRows(2))
					a.wait(t)
					expire(t, db)
					b := newFreezer(t, second, 1)
					start(t, b.context(t), db, k, outbox.WithLease(time.Hour), outbox.WithBatchRows(2))
					b.wait(t)
					expire(t, db)
					start(t, t.Context(), db, k)
					overtaken(t, db)
					l.check(t, k.records(topicName))
					b.thaw()
					a.thaw()
					l.publish(t, db, "after", 5)
					emptied(t, db)
					l.check(t, k.records(topicName))
				})
			}
		}
	})
}

// TestFrozenRelayIsFencedByTheBroker: its batch comes when another one has the shard, and has written with it.
func TestFrozenRelayIsFencedByTheBroker(t *testing.T) {
	t.Parallel()
	eachDatabase(t, func(t *testing.T, db *database) {
		k, l := newKafka(), newLedger()
		l.publish(t, db, "key", 3)
		f := newFreezer(t, "send", 1)
		frozen := start(t, f.context(t), db, k, outbox.WithLease(time.Hour))
		f.wait(t)
		expire(t, db)
		start(t, t.Context(), db, k)
		emptied(t, db)
		l.publish(t, db, "key", 3) // the next epoch
		emptied(t, db)
		l.check(t, k.records(topicName))
		_, fenced := k.counts()
		require.Zero(t, fenced)
		f.thaw()
		eventually(t, "nothing was fenced", func() bool { _, n := k.counts(); return n > 0 })
		l.check(t, k.records(topicName))
		frozen.cancel()
		require.NoError(t, <-frozen.done)
	})
}

// TestLeaseEndsByTheDatabasesClock is the take-over as it happens, with nobody's help.
func TestLeaseEndsByTheDatabasesClock(t *testing.T) {
	t.Parallel()
	eachDatabase(t, func(t *testing.T, db *database) {
		k, l := newKafka(), newLedger()
		l.publish(t, db, "key", 3)
		f := newFreezer(t, "sent", 1)
		start(t, f.context(t), db, k, outbox.WithLease(time.Second))
		f.wait(t)
		start(t, t.Context(), db, k, outbox.WithLease(time.Second))
		emptied(t, db)
		l.check(t, k.records(topicName))
		resent, _ := k.counts()
		assert.Equal(t, 1, resent, "the batch was there, and was sent again as it was")
		f.thaw()
		l.publish(t, db, "key", 3)
		emptied(t, db)
		l.check(t, k.records(topicName))
	})
}

func TestSeveralRelaysShareTheShards(t *testing.T) {
	t.Parallel()
	eachDatabase(t, func(t *testing.T, db *database) {
		k, l := newKafka(), newLedger()
		var relays []*running
		for range 3 {
			relays = append(relays, start(t, t.Context(), db.open(t), k, outbox.WithLease(time.Second)))
		}
		owners := func() int {
			return db.int(t, "SELECT COUNT(DISTINCT owner) FROM "+db.table+"_shards WHERE owner <> ''")
		}
		eventually(t, "not all have shards", func() bool {
			return owners() == 3 && db.int(t, "SELECT COUNT(*) FROM "+db.table+"_shards WHERE owner = ''") == 0
		})
		for i := range 60 {
			l.publish(t, db, fmt.Sprint("k", i%12), 2)
			if i == 30 {
				relays[0].stop()
			}
		}
		emptied(t, db)
		l.check(t, k.records(topicName))
		eventually(t, "the others have not taken the shards", func() bool {
			return owners() == 2 && db.int(t, "SELECT COUNT(*) FROM "+db.table+"_shards WHERE owner = ''") == 0
		})
	})
}

// TestWritersAndLongTransactions: rows that are committed late, and rolled back, while others flow.
func TestWritersAndLongTransactions(t *testing.T) {
	t.Parallel()
	eachServer(t, func(t *testing.T, db *database) {
		k, l := newKafka(), newLedger()
		start(t, t.Context(), db, k)
		start(t, t.Context(), db.open(t), k)
		long, err := db.BeginTx(t.Context(), nil) // has an early id, and commits last
		require.NoError(t, err)
		require.NoError(t, db.outbox().In(long).Publish(t.Context(), l.one("long")))
		var wg sync.WaitGroup
		for w := range 8 {
			key := fmt.Sprint("w", w)
			wg.Go(func() {
				for i := range 40 {
					tx, err := db.BeginTx(t.Context(), nil)
					if !assert.NoError(t, err) {
						return
					}
					assert.NoError(t, db.outbox().In(tx).Publish(t.Context(), l.one(key)))
					if i%4 == 3 {
						assert.NoError(t, tx.Rollback()) //nolint:testifylint // not the test's goroutine
						continue
					}
					assert.NoError(t, tx.Commit())
					l.committed(key)
				}
			})
		}
		wg.Wait()
		emptied(t, db) // the long transaction holds nobody up
		l.check(t, k.records(topicName))
		require.NoError(t, long.Commit())
		l.committed("long")
		emptied(t, db)
		l.check(t, k.records(topicName))
	})
}

func TestWakeUpWithoutPolling(t *testing.T) {
	t.Parallel()
	db := openSQLite(t)
	k, l := newKafka(), newLedger()
	var signal outbox.Signal
	start(t, t.Context(), db, k, outbox.WithSignal(&signal), outbox.WithPoll(time.Hour, time.Hour))
	box := db.outbox(outbox.WithSignal(&signal))
	for range 20 {
		require.NoError(t, box.Do(t.Context(), db.DB, func(tx *sql.Tx) error { return box.In(tx).Publish(t.Context(), l.one("k")) }))
		l.committed("k")
		select {
		case <-k.arrivals:
		case <-time.After(time.Minute):
			require.FailNow(t, "the relay was not woken")
		}
	}
	l.check(t, k.records(topicName))
}

func TestSentRowsAreKeptForAWhile(t *testing.T) {
	t.Parallel()
	eachDatabase(t, func(t *testing.T, db *database) {
		k, l := newKafka(), newLedger()
		r := start(t, t.Context(), db, k, outbox.WithKeepSent(time.Hour))
		l.publish(t, db, "k", 5)
		emptied(t, db)
		l.check(t, k.records(topicName))
		r.stop()
		assert.Equal(t, 5, db.int(t, "SELECT COUNT(*) FROM "+db.table+" WHERE state = 1"))
		db.exec(t, "UPDATE "+db.table+" SET changed_ms = changed_ms - 7200000 WHERE id <> (SELECT * FROM (SELECT MAX(id) FROM "+db.table+") x)")
		start(t, t.Context(), db, k, outbox.WithKeepSent(time.Hour))
		eventually(t, "old rows are not deleted", func() bool { return db.rows(t) == 1 })
		l.check(t, k.records(topicName))
	})
}

func TestArgumentsThatMakeNoSense(t *testing.T) {
	t.Parallel()
	db := openSQLite(t)
	for want, r := range map[string]*outbox.Relay{
		"there is no database":  outbox.NewRelay(nil, outbox.SQLite, newKafka()),
		"there is no publisher": outbox.NewRelay(db.DB, outbox.SQLite, nil),
		"dialect":               outbox.NewRelay(db.DB, 7, newKafka()),
		"WithLease":             outbox.NewRelay(db.DB, outbox.SQLite, newKafka(), outbox.WithLease(time.Millisecond)),
		"WithPoll":              outbox.NewRelay(db.DB, outbox.SQLite, newKafka(), outbox.WithPoll(2, 1)),
		"WithBatchRows":         outbox.NewRelay(db.DB, outbox.SQLite, newKafka(), outbox.WithBatchRows(0)),
	} {
		require.ErrorContains(t, r.Run(t.Context()), want)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.NoError(t, outbox.NewRelay(db.DB, outbox.SQLite, newKafka(), db.options()...).Run(ctx))
}

func TestClosedPublisherEndsRun(t *testing.T) {
	t.Parallel()
	db := openSQLite(t)
	k, l := newKafka(), newLedger()
	k.before = func(s sent) error { return refuse(s.topic, false, messaging.ErrClosed) }
	l.publish(t, db, "k", 1)
	require.ErrorIs(t, <-start(t, t.Context(), db, k).done, messaging.ErrClosed)
	k.set(func() { k.before = nil })
	start(t, t.Context(), db, k)
	emptied(t, db)
	l.check(t, k.records(topicName))
}

// poison is a record that is refused by name.
func parkedOnes(t testing.TB, db *database) []outbox.Parked {
	t.Helper()
	p, err := db.outbox().Parked(t.Context(), db.DB, 100)
	require.NoError(t, err)
	return p
}

func TestPoisonIsParkedAndItsKeyWaits(t *testing.T) {
	t.Parallel()
	eachDatabase(t, func(t *testing.T, db *database) {
		k, l := newKafka(), newLedger()
		k.largest = 500_000
		box := db.outbox()
		l.publish(t, db, "key", 2)
		for _, key := range []string{"key", "gone"} { // too large for the broker
			big := messaging.Record{Topic: topicName, Key: []byte(key), Value: []byte(strings.Repeat("x", 600_000))}
			require.NoError(t, box.In(db).PublishRecords(t.Context(), big))
		}
		require.NoError(t, box.In(db).PublishRecords(t.Context(), // too large for us, and no topic at all
			messaging.Record{Topic: topicName, Key: []byte("huge"), Value: []byte(strings.Repeat("x", 1_000_001))},
			messaging.Record{Topic: "no topic", Key: []byte("odd"), Value: []byte("x")}))
		l.publish(t, db, "other", 5)
		stop := start(t, t.Context(), db, k)
		eventually(t, "not all are parked", func() bool { return len(parkedOnes(t, db)) == 4 })
		emptied(t, db)
		l.check(t, k.records(topicName))

		held := newLedger() // behind the poison
		held.next["key"] = 2
		held.publish(t, db, "key", 3)
		l.publish(t, db, "other", 5)
		eventually(t, "those behind it do not wait", func() bool {
			b, err := box.Backlog(t.Context(), db.DB)
			return err == nil && b.Pending == 3 && db.int(t, "SELECT COUNT(*) FROM "+db.table+" WHERE state = 2") == 3
		})
		l.check(t, k.records(topicName))
		stop.stop()
		start(t, t.Context(), db, k) // it holds for the next owner as well

		reasons := map[string]string{}
		var key int64
		for _, p := range parkedOnes(t, db) {
			reasons[string(p.Record.Key)] = p.Reason
			assert.NotEmpty(t, p.Detail)
			assert.WithinDuration(t, time.Now(), p.Since, time.Minute)
			if string(p.Record.Key) == "key" {
				key = p.ID
			}
		}
		assert.Equal(t, map[string]string{"key": "too_large", "gone": "too_large", "huge": "too_large", "odd": "invalid"}, reasons)

		require.NoError(t, box.Retry(t.Context(), db.DB, key)) // in vain
		eventually(t, "it is not parked again", func() bool {
			return len(parkedOnes(t, db)) == 4 && db.int(t, "SELECT COUNT(*) FROM "+db.table+" WHERE state = 2") == 3
		})
		l.check(t, k.records(topicName))
		require.NoError(t, box.Drop(t.Context(), db.DB, key))
		require.ErrorIs(t, box.Drop(t.Context(), db.DB, key), outbox.ErrNotParked)
		require.ErrorIs(t, box.Retry(t.Context(), db.DB, 1<<40), outbox.ErrNotParked)
		emptied(t, db)
		l.next["key"] = 5
		l.check(t, k.records(topicName))
	})
}

func TestRetriedInItsPlace(t *testing.T) {
	t.Parallel()
	eachDatabase(t, func(t *testing.T, db *database) {
		k, l := newKafka(), newLedger()
		k.largest = 1
		l.publish(t, db, "key", 3)
		start(t, t.Context(), db, k)
		eventually(t, "the first is not parked", func() bool {
			return len(parkedOnes(t, db)) > 0 && db.int(t, "SELECT COUNT(*) FROM "+db.table+" WHERE state = 0") == 0
		})
		k.set(func() { k.largest = 0 })
		for _, p := range parkedOnes(t, db) {
			require.NoError(t, db.outbox().Retry(t.Context(), db.DB, p.ID))
		}
		emptied(t, db)
		l.check(t, k.records(topicName))
	})
}

// other is an event for another topic.
type other struct{ thing }

func (*other) Topic() events.Topic { return events.NewTopic("itest", "other", "happened") }

func TestMissingTopicAndMissingRightHealThemselves(t *testing.T) {
	t.Parallel()
	eachDatabase(t, func(t *testing.T, db *database) {
		const missing = "itest.other.happened"
		k, l, lo := newKafka(), newLedger(), newLedger()
		k.forbid[topicName] = true
		publishOther := func(n int) {
			for range n {
				e := lo.one("key")
				require.NoError(t, db.outbox().In(db).Publish(t.Context(), &other{thing{Key: "key", N: e.N}}))
				lo.committed("key")
			}
		}
		l.publish(t, db, "key", 3)
		publishOther(3)
		start(t, t.Context(), db, k, outbox.WithRetryParked(50*time.Millisecond))
		reasons := func() map[string]bool {
			out := map[string]bool{}
			for _, p := range parkedOnes(t, db) {
				out[p.Reason] = true
			}
			return out
		}
		seen := map[string]bool{}
		eventually(t, "not parked", func() bool {
			for r := range reasons() {
				seen[r] = true
			}
			return len(seen) == 2
		})
		assert.Equal(t, map[string]bool{"not_authorized": true, "unknown_topic": true}, seen)
		l.publish(t, db, "key", 2)
		publishOther(2)
		k.create(missing)
		eventually(t, "the new topic is not found", func() bool { return len(k.records(missing)) == 5 })
		lo.check(t, k.records(missing))
		k.set(func() { delete(k.forbid, topicName) })
		eventually(t, "the right is not tried", func() bool { return len(k.records(topicName)) == 5 })
		l.check(t, k.records(topicName))
		emptied(t, db)
		assert.Zero(t, db.rows(t))
	})
}

// TestStuckPartitionHoldsNobodyUp: one partition's broker is away, and its rows are more than are fetched at once.
func TestStuckPartitionHoldsNobodyUp(t *testing.T) {
	t.Parallel()
	eachDatabase(t, func(t *testing.T, db *database) {
		k, l := newKafka(), newLedger()
		stuck, err := k.PartitionFor(t.Context(), topicName, []byte("k0"))
		require.NoError(t, err)
		k.before = func(s sent) error {
			if s.partition == stuck {
				return away(s)
			}
			return nil
		}
		elsewhere := 0
		for i := range 40 {
			key := fmt.Sprint("k", i)
			l.publish(t, db, key, 5)
			if p, _ := k.PartitionFor(t.Context(), topicName, []byte(key)); p != stuck {
				elsewhere += 5
			}
		}
		start(t, t.Context(), db, k, outbox.WithBatchRows(4))
		eventually(t, "the others wait", func() bool { return len(k.records(topicName)) == elsewhere })
		k.set(func() { k.before = nil })
		emptied(t, db)
		l.check(t, k.records(topicName))
	})
}

func TestLostAnswersDoubleNothing(t *testing.T) {
	t.Parallel()
	eachDatabase(t, func(t *testing.T, db *database) {
		k, l := newKafka(), newLedger()
		var mu sync.Mutex
		n := 0
		k.after = func(s sent) error { // every other answer is lost
			mu.Lock()
			defer mu.Unlock()
			if n++; n%2 == 1 {
				return away(s)
			}
			return nil
		}
		start(t, t.Context(), db, k, outbox.WithBatchRows(3))
		for i := range 30 {
			l.publish(t, db, fmt.Sprint("k", i%5), 1)
		}
		emptied(t, db)
		l.check(t, k.records(topicName))
		resent, _ := k.counts()
		assert.Positive(t, resent)
	})
}

// TestEpochsEnd: behind 32767 comes another producer identity.
func TestEpochsEnd(t *testing.T) {
	t.Parallel()
	eachDatabase(t, func(t *testing.T, db *database) {
		k, l := newKafka(), newLedger()
		l.publish(t, db, "key", 1)
		start(t, t.Context(), db, k).stop()
		emptiedBy := func() {
			r := start(t, t.Context(), db, k)
			emptied(t, db)
			r.stop()
		}
		emptiedBy()
		db.exec(t, "UPDATE "+db.table+"_shards SET epoch = 32766")
		before := db.int(t, "SELECT MAX(producer_id) FROM "+db.table+"_shards")
		for range 3 {
			l.publish(t, db, "key", 2)
			emptiedBy()
		}
		l.check(t, k.records(topicName))
		assert.Greater(t, db.int(t, "SELECT MIN(producer_id) FROM "+db.table+"_shards"), before)
		assert.Equal(t, 1, db.int(t, "SELECT MAX(epoch) FROM "+db.table+"_shards"))
	})
}

// TestProducerIsForgotten: an unfinished batch that is older than the brokers' memory is looked for in the topic.
func TestProducerIsForgotten(t *testing.T) {
	t.Parallel()
	eachDatabase(t, func(t *testing.T, db *database) {
		for point, resent := range map[string]int{"marked": 0, "sent": 0} { // not written, written
			t.Run(point, func(t *testing.T) {
				fresh(t, db)
				k, l := newKafka(), newLedger()
				l.publish(t, db, "key", 3)
				f := newFreezer(t, point, 1)
				start(t, f.context(t), db, k, outbox.WithLease(time.Hour))
				f.wait(t)
				expire(t, db)
				k.forget()
				start(t, t.Context(), db, k, outbox.WithProducerMemory(1))
				emptied(t, db)
				l.check(t, k.records(topicName))
				got, _ := k.counts()
				assert.Equal(t, resent, got)
			})
		}
	})
}

// endless is a topic whose end says nothing: too much was written since.
type endless struct{ *kafka }

func (endless) Tail(_ context.Context, _ string, _ int32, n int) ([]messaging.Record, error) {
	return make([]messaging.Record, n), nil
}

func TestWhatNobodyKnowsIsForAnOperator(t *testing.T) {
	t.Parallel()
	eachDatabase(t, func(t *testing.T, db *database) {
		for _, written := range []bool{true, false} {
			t.Run(fmt.Sprint("written ", written), func(t *testing.T) {
				fresh(t, db)
				k, l := newKafka(), newLedger()
				l.publish(t, db, "key", 3)
				f := newFreezer(t, map[bool]string{true: "sent", false: "marked"}[written], 1)
				start(t, f.context(t), db, k, outbox.WithLease(time.Hour))
				f.wait(t)
				expire(t, db)
				k.forget()
				start(t, t.Context(), db, endless{k}, outbox.WithProducerMemory(1), outbox.WithLease(time.Second))
				l.publish(t, db, "key", 1) // waits
				var batches []outbox.Unfinished
				eventually(t, "nobody has the shard", func() bool {
					return db.int(t, "SELECT COUNT(*) FROM "+db.table+"_shards WHERE marks IS NOT NULL AND epoch > 0") == 1
				})
				batches, err := db.outbox().Unfinished(t.Context(), db.DB)
				require.NoError(t, err)
				require.Len(t, batches, 1)
				assert.Equal(t, topicName, batches[0].Topic)
				assert.Len(t, batches[0].IDs, 3)
				require.NoError(t, db.outbox().Settle(t.Context(), db.DB, batches[0], written))
				require.ErrorIs(t, db.outbox().Settle(t.Context(), db.DB, batches[0], written), outbox.ErrFinished)
				emptied(t, db)
				l.check(t, k.records(topicName))
			})
		}
	})
}

// TestBrokersStateIsNotOurs: a broker that lost the end of its log, and a database that was set back.
func TestBrokersStateIsNotOurs(t *testing.T) {
	t.Parallel()
	eachDatabase(t, func(t *testing.T, db *database) {
		k, l := newKafka(), newLedger()
		r := start(t, t.Context(), db, k)
		l.publish(t, db, "key", 3)
		emptied(t, db)
		k.set(func() { // out of sequence
			for _, p := range k.topics[topicName] {
				for _, st := range p.producers {
					st.next--
					st.last = nil
				}
			}
		})
		l.publish(t, db, "key", 3)
		emptied(t, db)
		l.check(t, k.records(topicName))
		r.stop()
		db.exec(t, "UPDATE "+db.table+"_shards SET epoch = -1") // fenced, though the lease is ours
		start(t, t.Context(), db, k)
		k.set(func() {
			for _, p := range k.topics[topicName] {
				for _, st := range p.producers {
					st.epoch = 100
				}
			}
		})
		l.publish(t, db, "key", 3)
		emptied(t, db)
		l.check(t, k.records(topicName))
	})
}
