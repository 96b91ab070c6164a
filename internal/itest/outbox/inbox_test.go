package outbox_test

import (
	"context"
	"database/sql"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/expensevault/sharedlibrary/events"
	"github.com/expensevault/sharedlibrary/internal/failpoint"
	"github.com/expensevault/sharedlibrary/messaging"
	"github.com/expensevault/sharedlibrary/messaging/inbox"
	"github.com/expensevault/sharedlibrary/messaging/messagingtest"
)

// heard is an event with an effect.
type heard struct {
	events.Base

	What string `json:"what"`
}

func (*heard) Topic() events.Topic    { return events.NewTopic("inboxtest", "thing", "heard") }
func (e *heard) PartitionKey() string { return "key" }

// effects is a table of what handlers did.
func effects(t *testing.T, db *database) string {
	t.Helper()
	table := db.inbox + "_effects"
	db.exec(t, "CREATE TABLE "+table+" (what VARCHAR(100) NOT NULL)")
	t.Cleanup(func() { _, _ = db.ExecContext(context.WithoutCancel(t.Context()), "DROP TABLE "+table) })
	return table
}

func (d *database) in(group string, opts ...inbox.Option) *inbox.Inbox {
	return inbox.New(d.DB, d.dialect, group, append([]inbox.Option{inbox.WithTable(d.inbox)}, opts...)...)
}

func (d *database) act(table, what string) func(context.Context, *sql.Tx) error {
	return func(ctx context.Context, tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, d.bind("INSERT INTO "+table+" (what) VALUES (?)"), what)
		return err
	}
}

func TestInboxHandlesOnce(t *testing.T) {
	t.Parallel()
	eachDatabase(t, func(t *testing.T, db *database) {
		t.Helper()
		ctx, table := t.Context(), effects(t, db)
		commits := 0
		a, b := db.in("a", inbox.WithAfterCommit(func() { commits++ })), db.in("b")
		for i := range 3 {
			first, err := a.Handle(ctx, "1", db.act(table, "a1"))
			require.NoError(t, err)
			assert.Equal(t, i == 0, first)
		}
		first, err := b.Handle(ctx, "1", db.act(table, "b1"))
		require.NoError(t, err)
		assert.True(t, first, "groups do not see each other")
		assert.Equal(t, 2, db.int(t, "SELECT COUNT(*) FROM "+table))
		assert.Equal(t, 1, commits)

		// Same bytes, and nothing else, are the same ID.
		for _, id := range []string{"é", "e", "E", "é ", "é"} {
			first, err := a.Handle(ctx, id, db.act(table, id))
			require.NoError(t, err)
			assert.True(t, first || id == "é", "%q", id)
		}
		assert.Equal(t, 6, db.int(t, "SELECT COUNT(*) FROM "+table))
	})
}

// What fails leaves no trace: neither the effect nor the record, whatever way it fails in.
func TestInboxRollsBack(t *testing.T) {
	t.Parallel()
	eachDatabase(t, func(t *testing.T, db *database) {
		t.Helper()
		ctx, table := t.Context(), effects(t, db)
		in, boom := db.in("a"), errors.New("boom")
		_, err := in.Handle(ctx, "1", func(ctx context.Context, tx *sql.Tx) error {
			return errors.Join(db.act(table, "x")(ctx, tx), boom)
		})
		require.ErrorIs(t, err, boom)
		assert.PanicsWithValue(t, "ouch", func() {
			_, _ = in.Handle(ctx, "1", func(ctx context.Context, tx *sql.Tx) error {
				assert.NoError(t, db.act(table, "x")(ctx, tx))
				panic("ouch")
			})
		})
		gone, cancel := context.WithCancel(ctx)
		_, err = in.Handle(gone, "1", func(ctx context.Context, tx *sql.Tx) error {
			defer cancel()
			return db.act(table, "x")(ctx, tx)
		})
		require.Error(t, err, "a context that ends before the commit")
		for _, point := range []string{"inbox: recorded", "inbox: handled"} {
			dying := failpoint.With(ctx, func(p string) error {
				if p == point {
					return boom
				}
				return nil
			})
			_, err := in.Handle(dying, "1", db.act(table, "x"))
			require.ErrorIs(t, err, boom)
		}
		assert.Zero(t, db.int(t, "SELECT COUNT(*) FROM "+table))
		first, err := in.Handle(ctx, "1", db.act(table, "1"))
		require.NoError(t, err)
		assert.True(t, first, "the next delivery is a first one")

		// Once it is committed, it is, also when nobody hears of it.
		lost := failpoint.With(ctx, func(p string) error {
			if p == "inbox: committed" {
				return boom
			}
			return nil
		})
		_, err = in.Handle(lost, "2", db.act(table, "2"))
		require.ErrorIs(t, err, boom)
		first, err = in.Handle(ctx, "2", db.act(table, "2"))
		require.NoError(t, err)
		assert.False(t, first, "the row decides")
		assert.Equal(t, 2, db.int(t, "SELECT COUNT(*) FROM "+table))
	})
}

// The same events at once, on several consumers, have one effect each.
func TestInboxAtOnce(t *testing.T) {
	t.Parallel()
	eachDatabase(t, func(t *testing.T, db *database) {
		t.Helper()
		const consumers, messages = 4, 25
		table := effects(t, db)
		var (
			wg     sync.WaitGroup
			firsts atomic.Int64
		)
		ids := make([]string, messages)
		for i := range ids {
			ids[i] = uuid.NewString()
		}
		for range consumers {
			in := db.open(t).in("a")
			wg.Go(func() {
				for _, id := range ids {
					for { // a database may refuse one of two transactions at once: the delivery comes again
						first, err := in.Handle(t.Context(), id, db.act(table, id))
						if err == nil {
							if first {
								firsts.Add(1)
							}
							break
						}
						if t.Context().Err() != nil {
							return
						}
					}
				}
			})
		}
		wg.Wait()
		assert.EqualValues(t, messages, firsts.Load())
		assert.Equal(t, messages, db.int(t, "SELECT COUNT(*) FROM "+table))
		assert.Equal(t, messages, db.int(t, "SELECT COUNT(DISTINCT what) FROM "+table))
	})
}

// A handler's events go with its effect: once, or not at all.
func TestInboxWithOutbox(t *testing.T) {
	t.Parallel()
	eachDatabase(t, func(t *testing.T, db *database) {
		t.Helper()
		table, box, fail := effects(t, db), db.outbox(), true
		var mux messaging.Mux
		mux.Use(db.in("a").Middleware())
		messaging.Handle(&mux, func(ctx context.Context, e *heard) error {
			if err := db.act(table, e.What)(ctx, inbox.Tx(ctx)); err != nil {
				return err
			}
			if err := box.In(inbox.Tx(ctx)).Publish(ctx, &heard{What: "what follows"}); err != nil {
				return err
			}
			if fail {
				return errors.New("not yet")
			}
			return nil
		})
		e := &heard{Base: events.Base{EventID: uuid.New(), CorrelationID: "abc"}, What: "x"}
		require.ErrorContains(t, messagingtest.TryDeliver(t, &mux, e), "not yet")
		assert.Zero(t, db.rows(t), "the event is rolled back with its cause")
		fail = false
		messagingtest.Deliver(t, &mux, e)
		messagingtest.Deliver(t, &mux, e)
		assert.Equal(t, 1, db.rows(t))
		assert.Equal(t, 1, db.int(t, "SELECT COUNT(*) FROM "+table))
		var headers string
		require.NoError(t, db.QueryRowContext(t.Context(), "SELECT headers FROM "+db.table).Scan(&headers))
		assert.NotEmpty(t, headers)
		assert.Nil(t, inbox.Tx(t.Context()), "there is no transaction outside of a handler")
	})
}

func TestInboxIsCleaned(t *testing.T) {
	t.Parallel()
	eachDatabase(t, func(t *testing.T, db *database) {
		t.Helper()
		ctx, table := t.Context(), effects(t, db)
		in := db.in("a")
		for _, id := range []string{"old", "new"} {
			_, err := in.Handle(ctx, id, db.act(table, id))
			require.NoError(t, err)
		}
		db.exec(t, "UPDATE "+db.inbox+" SET handled_ms = handled_ms - 7200000 WHERE message_id = 'old'")
		n, err := in.Clean(ctx, 3*time.Hour)
		require.NoError(t, err)
		assert.Zero(t, n)
		n, err = in.Clean(ctx, time.Hour)
		require.NoError(t, err)
		assert.EqualValues(t, 1, n)
		for id, again := range map[string]bool{"old": true, "new": false} {
			first, err := in.Handle(ctx, id, db.act(table, id))
			require.NoError(t, err)
			assert.Equal(t, again, first, id)
		}
	})
}

func TestInboxMisused(t *testing.T) {
	t.Parallel()
	ctx, db := t.Context(), openSQLite(t)
	nothing := func(context.Context, *sql.Tx) error { assert.Fail(t, "must not be called"); return nil }
	for want, in := range map[string]*inbox.Inbox{
		"there is no database": inbox.New(nil, inbox.SQLite, "a"),
		"group must have":      inbox.New(db.DB, inbox.SQLite, ""),
		"x; DROP":              inbox.New(db.DB, inbox.SQLite, "a", inbox.WithTable("x; DROP TABLE y")),
	} {
		_, err := in.Handle(ctx, "1", nothing)
		require.ErrorContains(t, err, want)
		_, err = in.Clean(ctx, time.Hour)
		require.ErrorContains(t, err, want)
		require.ErrorContains(t, in.KeepClean(ctx, time.Hour), want)
	}
	for _, id := range []string{"", strings.Repeat("x", 321)} {
		_, err := db.in("a").Handle(ctx, id, nothing)
		require.ErrorIs(t, err, inbox.ErrNoID)
	}
	gone, cancel := context.WithCancel(ctx)
	cancel()
	_, err := db.in("a").Handle(gone, "1", nothing)
	require.ErrorIs(t, err, context.Canceled)
	require.NoError(t, db.in("a").KeepClean(gone, time.Hour))
}
