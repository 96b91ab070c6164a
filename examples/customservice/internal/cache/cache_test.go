package cache_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/expensevault/sharedlibrary/examples/customservice/internal/cache"
	"github.com/expensevault/sharedlibrary/examples/customservice/internal/item"
	"github.com/expensevault/sharedlibrary/examples/customservice/internal/servicetest"
)

func sample(version int64) item.Item {
	category := uuid.New()
	at := time.Now().UTC().Truncate(time.Millisecond)
	return item.Item{
		ID: uuid.New(), Name: "Lamp", UserID: uuid.New(), CategoryID: &category, Status: item.Active, Version: version,
		CreatedAt: at, UpdatedAt: at,
	}
}

func TestCaches(t *testing.T) {
	t.Parallel()
	for name, open := range map[string]func(t *testing.T) cache.Cache{
		"memory": func(*testing.T) cache.Cache { return cache.NewMemory(time.Minute, 100) },
		"redis": func(t *testing.T) cache.Cache {
			t.Helper()
			r, err := cache.NewRedis(servicetest.Address(t, "redis", "TEST_REDIS_ADDR"), time.Minute)
			require.NoError(t, err)
			return r
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := open(t)
			t.Cleanup(func() { assert.NoError(t, c.Close()) })
			ctx := t.Context()
			it := sample(3)

			_, ok, err := c.Get(ctx, it.ID)
			require.NoError(t, err)
			assert.False(t, ok)

			require.NoError(t, c.Put(ctx, it))
			got, ok, err := c.Get(ctx, it.ID)
			require.NoError(t, err)
			require.True(t, ok)
			assert.Equal(t, it, got)

			require.NoError(t, c.Invalidate(ctx, it.ID, 4))
			_, ok, err = c.Get(ctx, it.ID)
			require.NoError(t, err)
			assert.False(t, ok)

			require.NoError(t, c.Put(ctx, it))
			_, ok, err = c.Get(ctx, it.ID)
			require.NoError(t, err)
			assert.False(t, ok, "a reader who was slow does not put back what has changed")

			it.Version = 4
			require.NoError(t, c.Put(ctx, it))
			require.NoError(t, c.Invalidate(ctx, it.ID, 3))
			got, ok, err = c.Get(ctx, it.ID)
			require.NoError(t, err)
			require.True(t, ok, "an old change does not remove what is newer")
			assert.Equal(t, it, got)
		})
	}
}

func TestMemoryForgets(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := cache.NewMemory(time.Minute, 2)
		items := []item.Item{sample(1), sample(1), sample(1)}
		get := func(i int) bool {
			_, ok, err := m.Get(t.Context(), items[i].ID)
			require.NoError(t, err)
			return ok
		}
		require.NoError(t, m.Put(t.Context(), items[0]))
		require.NoError(t, m.Put(t.Context(), items[1]))
		assert.True(t, get(0))
		require.NoError(t, m.Put(t.Context(), items[2]))
		assert.Equal(t, 2, m.Len())
		assert.True(t, get(0))
		assert.False(t, get(1), "the one that was not used for the longest time made room")

		time.Sleep(time.Minute) //nolint:forbidigo // time is the bubble's
		assert.False(t, get(0))
		assert.Equal(t, 1, m.Len(), "what is found expired is removed")
	})
}

func TestMemoryKeepsItsOwnCopy(t *testing.T) {
	t.Parallel()
	m := cache.NewMemory(time.Minute, 2)
	it := sample(1)
	want := *it.CategoryID
	require.NoError(t, m.Put(t.Context(), it))
	*it.CategoryID = uuid.New()
	got, _, err := m.Get(t.Context(), it.ID)
	require.NoError(t, err)
	assert.Equal(t, want, *got.CategoryID)
}

func TestRedisAway(t *testing.T) {
	t.Parallel()
	r, err := cache.NewRedis("127.0.0.1:1", time.Minute)
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, r.Close()) })
	begin := time.Now()
	_, ok, err := r.Get(t.Context(), uuid.New())
	require.Error(t, err)
	assert.False(t, ok)
	assert.Less(t, time.Since(begin), 5*time.Second)

	_, err = cache.NewRedis("redis://:hunter2@127.0.0.1:70000:1/x", time.Minute)
	require.ErrorContains(t, err, "address of Redis")
	assert.NotContains(t, err.Error(), "hunter2")
}
