package store_test

import (
	"context"
	"database/sql"
	"encoding/json"
	"net/url"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/expensevault/sharedlibrary/examples/customservice/internal/item"
	"github.com/expensevault/sharedlibrary/examples/customservice/internal/servicetest"
	"github.com/expensevault/sharedlibrary/examples/customservice/internal/store"
)

// everywhere runs the test on each database, with a store of its own.
func everywhere(t *testing.T, test func(t *testing.T, s *store.Store)) {
	t.Helper()
	sources := map[string]func(t *testing.T) string{
		"memory":   func(*testing.T) string { return store.Memory },
		"file":     func(t *testing.T) string { t.Helper(); return filepath.Join(t.TempDir(), "100% odd?#.db") },
		"postgres": postgresSchema,
	}
	for name, source := range sources {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, err := store.Open(t.Context(), source(t))
			require.NoError(t, err)
			t.Cleanup(func() { assert.NoError(t, s.Close()) })
			test(t, s)
		})
	}
}

// postgresSchema makes a schema for one test.
func postgresSchema(t *testing.T) string {
	t.Helper()
	dsn := servicetest.Address(t, "postgres", "TEST_POSTGRES_DSN")
	db, err := sql.Open("pgx", dsn)
	require.NoError(t, err)
	schema := "t" + strings.ReplaceAll(uuid.NewString(), "-", "")
	_, err = db.ExecContext(t.Context(), "CREATE SCHEMA "+schema)
	require.NoError(t, err)
	t.Cleanup(func() {
		_, err := db.ExecContext(context.Background(), "DROP SCHEMA "+schema+" CASCADE")
		assert.NoError(t, err)
		assert.NoError(t, db.Close())
	})
	u, err := url.Parse(dsn)
	require.NoError(t, err)
	q := u.Query()
	q.Set("search_path", schema)
	u.RawQuery = q.Encode()
	return u.String()
}

func insert(t *testing.T, s *store.Store, d item.Draft) item.Item {
	t.Helper()
	it, err := item.New(d)
	require.NoError(t, err)
	require.NoError(t, s.InTx(t.Context(), func(tx *store.Tx) error { return tx.Insert(t.Context(), &it) }))
	return it
}

func TestItems(t *testing.T) {
	t.Parallel()
	everywhere(t, func(t *testing.T, s *store.Store) {
		t.Helper()
		ctx := t.Context()
		category := uuid.New()
		begin := time.Now().Truncate(time.Millisecond)
		it := insert(t, s, item.Draft{Name: "Lamp", Description: "ö'\"", UserID: uuid.New(), CategoryID: &category, ModifiedBy: "me"})
		assert.Equal(t, int64(1), it.Version)
		assert.Equal(t, it.CreatedAt, it.UpdatedAt)
		assert.False(t, it.CreatedAt.Before(begin))

		got, err := s.Item(ctx, it.ID)
		require.NoError(t, err)
		assert.Equal(t, it, got)

		before := it.UpdatedAt
		require.NoError(t, s.InTx(ctx, func(tx *store.Tx) error {
			got, err := tx.Item(ctx, it.ID)
			require.NoError(t, err)
			require.NoError(t, got.Change(item.Draft{Name: "Dark lamp", Status: item.Archived}))
			require.NoError(t, tx.Update(ctx, &got))
			it = got
			return nil
		}))
		assert.Equal(t, int64(2), it.Version)
		assert.True(t, it.UpdatedAt.After(before), "no two changes in one millisecond")
		got, err = s.Item(ctx, it.ID)
		require.NoError(t, err)
		assert.Equal(t, it, got)
		assert.Nil(t, got.CategoryID, "a draft replaces")

		require.ErrorIs(t, s.InTx(ctx, func(tx *store.Tx) error {
			gone, err := tx.Item(ctx, it.ID)
			require.NoError(t, err)
			require.NoError(t, tx.Delete(ctx, &gone, "me"))
			return assert.AnError
		}), assert.AnError)
		_, err = s.Item(ctx, it.ID)
		require.NoError(t, err, "a transaction that fails changes nothing")

		require.NoError(t, s.InTx(ctx, func(tx *store.Tx) error { return tx.Delete(ctx, &it, "me") }))
		_, err = s.Item(ctx, it.ID)
		require.ErrorIs(t, err, item.ErrNotFound)
		require.ErrorIs(t, s.InTx(ctx, func(tx *store.Tx) error { _, err := tx.Item(ctx, it.ID); return err }), item.ErrNotFound)
	})
}

func TestList(t *testing.T) {
	t.Parallel()
	everywhere(t, func(t *testing.T, s *store.Store) {
		t.Helper()
		ctx := t.Context()
		users := []uuid.UUID{uuid.New(), uuid.New()}
		var all []uuid.UUID
		for i := range 7 {
			all = append(all, insert(t, s, item.Draft{Name: "Lamp", UserID: users[i%2]}).ID)
		}
		deleted := insert(t, s, item.Draft{Name: "Gone", UserID: users[0]})
		require.NoError(t, s.InTx(ctx, func(tx *store.Tx) error { return tx.Delete(ctx, &deleted, "") }))

		var (
			seen []uuid.UUID
			at   store.Position
		)
		for {
			page, err := s.List(ctx, uuid.Nil, at, 3)
			require.NoError(t, err)
			for _, it := range page {
				seen = append(seen, it.ID)
			}
			if len(page) < 3 {
				break
			}
			at = store.After(page[2])
		}
		assert.ElementsMatch(t, all, seen)

		page, err := s.List(ctx, users[1], store.Position{}, 100)
		require.NoError(t, err)
		var got []uuid.UUID
		for _, it := range page {
			got = append(got, it.ID)
		}
		assert.Equal(t, []uuid.UUID{all[1], all[3], all[5]}, got, "one user's are in the order in which they were made")
	})
}

func TestClockOfAUserNeverStandsStill(t *testing.T) {
	t.Parallel()
	everywhere(t, func(t *testing.T, s *store.Store) {
		t.Helper()
		user := uuid.New()
		var (
			wg   sync.WaitGroup
			mu   sync.Mutex
			seen = map[int64]bool{}
		)
		for range 8 {
			wg.Go(func() {
				for range 5 {
					it, err := item.New(item.Draft{Name: "Lamp", UserID: user})
					assert.NoError(t, err)
					assert.NoError(t, s.InTx(t.Context(), func(tx *store.Tx) error { return tx.Insert(t.Context(), &it) }))
					mu.Lock()
					assert.False(t, seen[it.CreatedAt.UnixMilli()], "two changes have one moment")
					seen[it.CreatedAt.UnixMilli()] = true
					mu.Unlock()
				}
			})
		}
		wg.Wait()
		assert.Len(t, seen, 40)
	})
}

func TestAudit(t *testing.T) {
	t.Parallel()
	everywhere(t, func(t *testing.T, s *store.Store) {
		t.Helper()
		ctx := t.Context()
		itemID, user := uuid.New(), uuid.New()
		at := time.Now().UTC().Truncate(time.Millisecond)
		appendTo := func(s *store.Store, e store.AuditEntry) error {
			return s.InTx(ctx, func(tx *store.Tx) error { return tx.Append(ctx, e) })
		}
		entry := func(n int, of uuid.UUID, cause string) store.AuditEntry {
			return store.AuditEntry{
				EventID: uuid.New(), Topic: "customservice.item.updated", Partition: 2, Offset: int64(n), ItemID: of, UserID: user,
				Time: at.Add(time.Duration(n) * time.Millisecond), CorrelationID: "c", CausationID: cause,
				Payload: json.RawMessage(`{"name": "as it was", "n":1}`),
			}
		}
		first, second := entry(1, itemID, ""), entry(2, itemID, "")
		caused := entry(3, uuid.Nil, first.EventID.String())
		other, alien := entry(4, uuid.New(), ""), entry(5, uuid.Nil, uuid.NewString())
		for _, e := range []store.AuditEntry{second, caused, first, other, alien} {
			require.NoError(t, appendTo(s, e))
		}
		again := first
		again.Payload = json.RawMessage(`{"name":"changed"}`)
		require.Error(t, appendTo(s, again), "an event has one entry")

		got, err := s.Trail(ctx, itemID, 10)
		require.NoError(t, err)
		assert.Equal(t, []store.AuditEntry{first, second, caused}, got)
		got, err = s.Trail(ctx, itemID, 1)
		require.NoError(t, err)
		assert.Equal(t, []store.AuditEntry{first}, got)
		got, err = s.TrailOfUser(ctx, user, 10)
		require.NoError(t, err)
		assert.Equal(t, []store.AuditEntry{first, second, caused, other, alien}, got)
		got, err = s.TrailOfUser(ctx, user, 2)
		require.NoError(t, err)
		assert.Equal(t, []store.AuditEntry{other, alien}, got, "the last ones")
		got, err = s.Trail(ctx, uuid.New(), 10)
		require.NoError(t, err)
		assert.Empty(t, got)

		for _, statement := range []string{"UPDATE audit SET payload = '{}'", "DELETE FROM audit"} {
			err := s.InTx(ctx, func(tx *store.Tx) error { _, err := tx.ExecContext(ctx, statement); return err })
			require.ErrorContains(t, err, "append-only")
		}
	})
}

func TestAnalytics(t *testing.T) {
	t.Parallel()
	everywhere(t, func(t *testing.T, s *store.Store) {
		t.Helper()
		ctx := t.Context()
		many, few := uuid.New(), uuid.New()
		items := []uuid.UUID{uuid.New(), uuid.New(), uuid.New()}
		at := time.Now()
		count := func(it, user uuid.UUID, status string, after int) {
			t.Helper()
			require.NoError(t, s.InTx(ctx, func(tx *store.Tx) error {
				return tx.Count(ctx, it, user, status, at.Add(time.Duration(after)*time.Millisecond))
			}))
		}
		count(items[0], many, "Deleted", 9)
		count(items[0], many, "Active", 1) // comes late, from another topic
		count(items[1], many, "Active", 1)
		count(items[1], many, "Active", 1) // comes twice
		count(items[2], few, "Active", 1)
		count(items[2], few, "Inactive", 2)

		all, err := s.CountsByStatus(ctx, uuid.Nil)
		require.NoError(t, err)
		assert.Equal(t, store.Counts{"Active": 1, "Inactive": 1, "Deleted": 1}, all)
		one, err := s.CountsByStatus(ctx, few)
		require.NoError(t, err)
		assert.Equal(t, store.Counts{"Inactive": 1}, one)

		users, err := s.CountsByUser(ctx, uuid.Nil, 10)
		require.NoError(t, err)
		wantMany := store.UserCounts{UserID: many, Items: store.Counts{"Active": 1, "Deleted": 1}}
		wantFew := store.UserCounts{UserID: few, Items: store.Counts{"Inactive": 1}}
		assert.Equal(t, []store.UserCounts{wantMany, wantFew}, users)
		users, err = s.CountsByUser(ctx, uuid.Nil, 1)
		require.NoError(t, err)
		assert.Equal(t, []store.UserCounts{wantMany}, users)
		users, err = s.CountsByUser(ctx, few, 10)
		require.NoError(t, err)
		assert.Equal(t, []store.UserCounts{wantFew}, users)
	})
}

func TestFileIsSharedAndKept(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "items.db")
	first, err := store.Open(t.Context(), path)
	require.NoError(t, err)
	second, err := store.Open(t.Context(), path)
	require.NoError(t, err)
	it := insert(t, first, item.Draft{Name: "Lamp", UserID: uuid.New()})
	_, err = second.Item(t.Context(), it.ID)
	require.NoError(t, err)
	require.NoError(t, first.Close())
	require.NoError(t, second.Close())

	third, err := store.Open(t.Context(), path)
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, third.Close()) })
	_, err = third.Item(t.Context(), it.ID)
	require.NoError(t, err)
}

func TestOpenFails(t *testing.T) {
	t.Parallel()
	_, err := store.Open(t.Context(), filepath.Join(t.TempDir(), "no", "such", "folder.db"))
	require.ErrorContains(t, err, "SQLite")
	_, err = store.Open(t.Context(), "postgres://someone:hunter2@127.0.0.1:1/nowhere?connect_timeout=2")
	require.ErrorContains(t, err, "PostgreSQL")
	assert.NotContains(t, err.Error(), "hunter2")
}
