package service_test

import (
	"log/slog"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/expensevault/sharedlibrary/events"
	"github.com/expensevault/sharedlibrary/examples/customservice/internal/cache"
	"github.com/expensevault/sharedlibrary/examples/customservice/internal/event"
	"github.com/expensevault/sharedlibrary/examples/customservice/internal/item"
	"github.com/expensevault/sharedlibrary/examples/customservice/internal/service"
	"github.com/expensevault/sharedlibrary/examples/customservice/internal/store"
	"github.com/expensevault/sharedlibrary/messaging/outbox"
)

// The rows of the item and of its event are committed together, or neither is.
func TestOutbox(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	st, err := store.Open(ctx, store.Memory)
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, st.Close()) })
	committed := 0
	s := service.New(st, cache.NewMemory(time.Minute, 100), outbox.New(st.Dialect()), func() { committed++ }, slog.New(slog.DiscardHandler))
	written := func() (topics []string) {
		rows, err := st.DB().QueryContext(ctx, "SELECT topic FROM outbox ORDER BY id")
		require.NoError(t, err)
		defer func() { require.NoError(t, rows.Close()) }()
		for rows.Next() {
			var topic string
			require.NoError(t, rows.Scan(&topic))
			topics = append(topics, topic)
		}
		require.NoError(t, rows.Err())
		return topics
	}

	it, err := s.Create(ctx, lamp())
	require.NoError(t, err)
	it, err = s.Update(ctx, it.ID, 0, draftOf(it, "Bright lamp"))
	require.NoError(t, err)
	_, err = s.Update(ctx, it.ID, 7, draftOf(it, "Dark lamp"))
	require.ErrorIs(t, err, item.ErrVersion)
	_, err = s.Create(ctx, item.Draft{})
	require.Error(t, err)
	want := []string{(*event.ItemCreated)(nil).Topic().String(), (*event.ItemUpdated)(nil).Topic().String()}
	assert.Equal(t, want, written(), "what is refused is not written")
	assert.Equal(t, 2, committed)

	_, err = st.DB().ExecContext(ctx, "ALTER TABLE outbox RENAME TO away")
	require.NoError(t, err)
	_, err = s.Create(ctx, lamp())
	require.Error(t, err, "no event, no item")
	require.Error(t, s.Delete(ctx, it.ID, 0, ""))
	_, err = st.DB().ExecContext(ctx, "ALTER TABLE away RENAME TO outbox")
	require.NoError(t, err)
	items, err := st.List(ctx, uuid.Nil, store.Position{}, 10)
	require.NoError(t, err)
	assert.Equal(t, []item.Item{it}, items)
	assert.Equal(t, want, written())
	assert.Equal(t, 2, committed)

	var value []byte
	require.NoError(t, st.DB().QueryRowContext(ctx, "SELECT record_value FROM outbox ORDER BY id LIMIT 1").Scan(&value))
	var e event.ItemCreated
	require.NoError(t, events.Decode(value, &e))
	assert.Equal(t, it.CreatedAt, e.Timestamp)
}
