package outbox_test

import (
	"context"
	"database/sql"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/expensevault/sharedlibrary/events"
	"github.com/expensevault/sharedlibrary/messaging"
	"github.com/expensevault/sharedlibrary/messaging/messagingtest"
	"github.com/expensevault/sharedlibrary/messaging/outbox"
	"github.com/expensevault/sharedlibrary/tracing"
)

// thing is the event of these tests.
type thing struct {
	events.Base
	Key string `json:"key"`
	N   int    `json:"n"`
}

func (*thing) Topic() events.Topic    { return events.NewTopic("itest", "thing", "happened") }
func (e *thing) PartitionKey() string { return e.Key }

// stored reads all records back, by the package's own reader of parked rows.
func stored(t testing.TB, db *database) []messaging.Record {
	t.Helper()
	db.exec(t, "UPDATE "+db.table+" SET state = 3")
	parked, err := db.outbox().Parked(t.Context(), db.DB, 1000)
	require.NoError(t, err)
	recs := make([]messaging.Record, len(parked))
	for i, p := range parked {
		recs[i] = p.Record
	}
	return recs
}

func TestPublisherConforms(t *testing.T) {
	t.Parallel()
	eachDatabase(t, func(t *testing.T, db *database) {
		messagingtest.TestPublisher(t, func(t testing.TB) (messaging.Publisher, func() []messaging.Record) {
			t.Helper()
			db.exec(t, "DELETE FROM "+db.table)
			box := db.outbox()
			// Each call in a transaction of its own.
			publish := func(ctx context.Context, evs ...events.IntegrationEvent) error {
				tx, err := db.BeginTx(t.Context(), nil) //nolint:contextcheck // what an ended context means to Publish is tested, not to BeginTx
				if err != nil {
					return err
				}
				if err := box.In(tx).Publish(ctx, evs...); err != nil {
					return errors.Join(err, tx.Rollback())
				}
				return tx.Commit()
			}
			return messaging.PublisherFunc(publish), func() []messaging.Record { return stored(t, db) }
		})
	})
}

func TestTheWholeRecordIsInTheRow(t *testing.T) {
	t.Parallel()
	eachDatabase(t, func(t *testing.T, db *database) {
		now := time.UnixMilli(time.Now().UnixMilli())
		want := []messaging.Record{
			{Topic: "a.b.c", Key: []byte("k\x00\xff"), Value: []byte("v\x00\xfe'\"\\"), Timestamp: now, Headers: []messaging.Header{
				{Key: "text", Value: []byte("ä\x00<&> \u2028")}, {Key: "bytes", Value: []byte{0xff, 0}}, {Key: "null"}, {Key: "empty", Value: []byte{}}, {Key: "text", Value: []byte("twice")},
			}},
			{Topic: "a.b.c", Timestamp: now}, // a tombstone without a key
			{Topic: "a.b.c", Key: []byte{}, Value: []byte{}, Timestamp: now},
		}
		require.NoError(t, db.outbox().In(db).PublishRecords(t.Context(), want...))
		assert.Equal(t, want, stored(t, db))
	})
}

func TestContextTravelsInTheRow(t *testing.T) {
	t.Parallel()
	eachDatabase(t, func(t *testing.T, db *database) {
		ctx := tracing.WithCausationID(tracing.WithCorrelationID(t.Context(), "the-correlation"), "the-cause")
		e := &thing{Key: "k"}
		require.NoError(t, db.outbox().Do(ctx, db.DB, func(tx *sql.Tx) error { return db.outbox().In(tx).Publish(ctx, e) }))
		rec := stored(t, db)[0]
		want, err := messaging.Encode(ctx, e)
		require.NoError(t, err)
		assert.Equal(t, want.Value, rec.Value)
		assert.Equal(t, want.Headers, rec.Headers)
		assert.True(t, want.Timestamp.Equal(rec.Timestamp))
	})
}

func TestSettingsNameTheTopic(t *testing.T) {
	t.Parallel()
	db := openSQLite(t)
	cfg := messaging.DefaultConfig()
	cfg.Topics = map[string]string{"itest.thing.happened": "other"}
	cfg.Headers = messaging.HeadersNone
	require.NoError(t, db.outbox(outbox.WithEncode(cfg.Encode)).In(db).Publish(t.Context(), &thing{Key: "k"}))
	rec := stored(t, db)[0]
	assert.Equal(t, "other", rec.Topic)
	assert.Empty(t, rec.Headers)
}

func TestRolledBackIsGone(t *testing.T) {
	t.Parallel()
	eachDatabase(t, func(t *testing.T, db *database) {
		refused := errors.New("refused")
		err := db.outbox().Do(t.Context(), db.DB, func(tx *sql.Tx) error {
			require.NoError(t, db.outbox().In(tx).Publish(t.Context(), &thing{Key: "k"}))
			return refused
		})
		require.ErrorIs(t, err, refused)
		assert.Panics(t, func() {
			_ = db.outbox().Do(t.Context(), db.DB, func(tx *sql.Tx) error {
				require.NoError(t, db.outbox().In(tx).Publish(t.Context(), &thing{Key: "k"}))
				panic("panic")
			})
		})
		assert.Zero(t, db.rows(t))
	})
}

func TestManyEventsOfOneCall(t *testing.T) {
	t.Parallel()
	eachDatabase(t, func(t *testing.T, db *database) {
		evs := make([]events.IntegrationEvent, 250)
		for i := range evs {
			evs[i] = &thing{Key: "k", N: i}
		}
		require.NoError(t, db.outbox().Do(t.Context(), db.DB, func(tx *sql.Tx) error { return db.outbox().In(tx).Publish(t.Context(), evs...) }))
		for i, rec := range stored(t, db) {
			var e thing
			require.NoError(t, events.Decode(rec.Value, &e))
			require.Equal(t, i, e.N)
		}
		assert.Equal(t, 250, db.rows(t))
	})
}

func TestConnectionAndTransactionsOfOthers(t *testing.T) {
	t.Parallel()
	db := openSQLite(t)
	conn, err := db.Conn(t.Context())
	require.NoError(t, err)
	require.NoError(t, db.outbox().In(conn).Publish(t.Context(), &thing{Key: "k"}))
	require.NoError(t, conn.Close())
	assert.Equal(t, 1, db.rows(t))

	var none *sql.Tx
	require.ErrorContains(t, db.outbox().In(none).Publish(t.Context(), &thing{Key: "k"}), "there is no transaction")
	require.ErrorContains(t, db.outbox().In(nil).Publish(t.Context(), &thing{Key: "k"}), "there is no transaction")
}

func TestNamesOfTables(t *testing.T) {
	t.Parallel()
	db := openSQLite(t)
	for _, bad := range []string{"", "out box", "outbox; DROP TABLE x", "Outbox", strings.Repeat("a", 56)} {
		box := outbox.New(outbox.SQLite, outbox.WithTable(bad))
		require.ErrorContains(t, box.In(db).Publish(t.Context(), &thing{Key: "k"}), "table's name")
		_, err := box.Backlog(t.Context(), db.DB)
		require.ErrorContains(t, err, "table's name")
		require.ErrorContains(t, outbox.Migrate(t.Context(), db.DB, outbox.SQLite, outbox.WithTable(bad)), "table's name")
	}
	require.ErrorContains(t, outbox.New(0).In(db).Publish(t.Context(), &thing{Key: "k"}), "dialect")
}

func TestMigrateAgainAndAtOnce(t *testing.T) {
	t.Parallel()
	eachDatabase(t, func(t *testing.T, db *database) {
		require.NoError(t, db.outbox().In(db).Publish(t.Context(), &thing{Key: "k"}))
		done := make(chan error)
		for range 4 {
			other := db.open(t)
			go func() { done <- outbox.Migrate(t.Context(), other.DB, other.dialect, other.options()...) }()
		}
		for range 4 {
			require.NoError(t, <-done)
		}
		assert.Equal(t, 1, db.rows(t), "what is there stays")
		assert.Equal(t, 1, db.int(t, "SELECT COUNT(*) FROM "+db.table+"_schema"))
		assert.Equal(t, 8, db.int(t, "SELECT COUNT(*) FROM "+db.table+"_shards"))
	})
}

func TestMigrateAnewAtOnce(t *testing.T) {
	t.Parallel()
	eachDatabase(t, func(t *testing.T, db *database) {
		db.table += "2"
		done := make(chan error)
		for range 4 {
			other := db.open(t)
			go func() { done <- outbox.Migrate(t.Context(), other.DB, other.dialect, other.options()...) }()
		}
		for range 4 {
			require.NoError(t, <-done)
		}
		require.NoError(t, db.outbox().In(db).Publish(t.Context(), &thing{Key: "k"}))
		for _, table := range []string{"", "_shards", "_relays", "_schema"} {
			db.exec(t, "DROP TABLE "+db.table+table)
		}
	})
}

func TestBacklog(t *testing.T) {
	t.Parallel()
	eachDatabase(t, func(t *testing.T, db *database) {
		b, err := db.outbox().Backlog(t.Context(), db.DB)
		require.NoError(t, err)
		assert.Zero(t, b)
		for i := range 4 {
			require.NoError(t, db.outbox().In(db).Publish(t.Context(), &thing{Key: "k", N: i}))
		}
		db.exec(t, "UPDATE "+db.table+" SET created_ms = created_ms - 60000, state = 2 WHERE id = (SELECT * FROM (SELECT MIN(id) FROM "+db.table+") x)")
		db.exec(t, "UPDATE "+db.table+" SET state = 3 WHERE id = (SELECT * FROM (SELECT MAX(id) FROM "+db.table+") x)")
		b, err = db.outbox().Backlog(t.Context(), db.DB)
		require.NoError(t, err)
		assert.Equal(t, int64(3), b.Pending)
		assert.Equal(t, int64(1), b.Parked)
		assert.InDelta(t, time.Minute, b.Oldest, float64(10*time.Second))
	})
}
