package service_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"sync"
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
	"github.com/expensevault/sharedlibrary/messaging"
	"github.com/expensevault/sharedlibrary/messaging/messagingtest"
	"github.com/expensevault/sharedlibrary/tracing"
)

// bundle is a service with all that is around it.
type bundle struct {
	*service.Service

	store    *store.Store
	cache    cache.Cache
	recorder *messagingtest.Recorder
	log      *bytes.Buffer
}

func setup(t *testing.T) *bundle {
	t.Helper()
	b := &bundle{cache: cache.NewMemory(time.Minute, 100), recorder: &messagingtest.Recorder{}, log: &bytes.Buffer{}}
	b.use(t, b.recorder)
	return b
}

func (b *bundle) use(t *testing.T, p messaging.Publisher) {
	t.Helper()
	var err error
	b.store, err = store.Open(t.Context(), store.Memory)
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, b.store.Close()) })
	b.Service = service.NewDirect(b.store, b.cache, p, slog.New(slog.NewTextHandler(b.log, nil)))
}

func lamp() item.Draft {
	return item.Draft{Name: "Lamp", Description: "of brass", UserID: uuid.New(), ModifiedBy: "user@example.com"}
}

func TestCreatePublishesIntegrationEvent(t *testing.T) {
	t.Parallel()
	s := setup(t)
	ctx := tracing.WithCorrelationID(t.Context(), "abc123-def456")
	category := uuid.New()
	d := lamp()
	d.CategoryID = &category

	it, err := s.Create(ctx, d)
	require.NoError(t, err)

	e := messagingtest.One[*event.ItemCreated](t, s.recorder)
	assert.Equal(t, it.ID, e.CustomItemID)
	assert.Equal(t, "Lamp", e.Name)
	assert.Equal(t, "of brass", e.Description)
	assert.Equal(t, d.UserID, e.UserID)
	assert.Equal(t, &category, e.CategoryID)
	assert.Equal(t, "Active", e.Status)
	assert.Equal(t, "abc123-def456", e.CorrelationID)
	assert.Equal(t, it.CreatedAt, e.Timestamp)
	assert.Equal(t, []byte(d.UserID.String()), s.recorder.Records()[0].Key)

	got, err := s.Get(ctx, it.ID)
	require.NoError(t, err)
	assert.Equal(t, it, got)
}

func TestUpdatePublishesWhatIsNew(t *testing.T) {
	t.Parallel()
	s := setup(t)
	ctx := t.Context()
	it, err := s.Create(ctx, lamp())
	require.NoError(t, err)
	_, err = s.Get(ctx, it.ID) // so that it is in the cache
	require.NoError(t, err)
	s.recorder.Reset()

	changed, err := s.Update(ctx, it.ID, it.Version, item.Draft{Name: "Bright lamp", Status: item.Inactive, ModifiedBy: "other@example.com"})
	require.NoError(t, err)

	e := messagingtest.One[*event.ItemUpdated](t, s.recorder)
	assert.Equal(t, it.ID, e.CustomItemID)
	assert.Equal(t, "Bright lamp", e.Name)
	assert.Equal(t, it.UserID, e.UserID)
	assert.Equal(t, "Inactive", e.Status)
	assert.Equal(t, "other@example.com", e.ModifiedBy)
	assert.Equal(t, changed.UpdatedAt, e.Timestamp)

	got, err := s.Get(ctx, it.ID)
	require.NoError(t, err)
	assert.Equal(t, changed, got, "not what the cache held")
}

func TestDeletePublishesAndHides(t *testing.T) {
	t.Parallel()
	s := setup(t)
	ctx := t.Context()
	it, err := s.Create(ctx, lamp())
	require.NoError(t, err)
	_, err = s.Get(ctx, it.ID)
	require.NoError(t, err)

	require.NoError(t, s.Delete(ctx, it.ID, 0, "user@example.com"))

	e := messagingtest.One[*event.ItemDeleted](t, s.recorder)
	assert.Equal(t, it.ID, e.CustomItemID)
	assert.Equal(t, "Lamp", e.Name)
	assert.Equal(t, "user@example.com", e.DeletedBy)
	_, err = s.Get(ctx, it.ID)
	require.ErrorIs(t, err, item.ErrNotFound)
	require.ErrorIs(t, s.Delete(ctx, it.ID, 0, "user@example.com"), item.ErrNotFound)
	messagingtest.One[*event.ItemDeleted](t, s.recorder)
}

func TestFailedPublishNeverFailsTheCommand(t *testing.T) {
	t.Parallel()
	s := setup(t)
	s.recorder.Err = errors.New("no broker")

	it, err := s.Create(t.Context(), lamp())
	require.NoError(t, err)
	_, err = s.Update(t.Context(), it.ID, 0, draftOf(it, "Bright lamp"))
	require.NoError(t, err)
	require.NoError(t, s.Delete(t.Context(), it.ID, 0, ""))

	assert.Empty(t, s.recorder.Events())
	assert.Equal(t, 3, bytes.Count(s.log.Bytes(), []byte("no broker")), s.log.String())
}

func draftOf(it item.Item, name string) item.Draft {
	return item.Draft{Name: name, UserID: it.UserID}
}

func TestWhatIsRefusedIsNotPublished(t *testing.T) {
	t.Parallel()
	s := setup(t)
	ctx := t.Context()
	_, err := s.Create(ctx, item.Draft{})
	require.ErrorAs(t, err, &item.Invalid{})
	it, err := s.Create(ctx, lamp())
	require.NoError(t, err)
	s.recorder.Reset()

	_, err = s.Update(ctx, it.ID, 7, draftOf(it, "Bright lamp"))
	require.ErrorIs(t, err, item.ErrVersion)
	_, err = s.Update(ctx, it.ID, 0, item.Draft{})
	require.ErrorAs(t, err, &item.Invalid{})
	_, err = s.Update(ctx, uuid.New(), 0, draftOf(it, "Bright lamp"))
	require.ErrorIs(t, err, item.ErrNotFound)
	require.ErrorIs(t, s.Delete(ctx, it.ID, 7, ""), item.ErrVersion)
	require.ErrorAs(t, s.Delete(ctx, it.ID, 0, "a\nb"), &item.Invalid{})

	assert.Empty(t, s.recorder.Events())
	got, err := s.store.Item(ctx, it.ID)
	require.NoError(t, err)
	assert.Equal(t, it, got)
}

// Many at once change one item: the events come in the order of the versions.
func TestEventsHaveTheOrderOfTheCommits(t *testing.T) {
	t.Parallel()
	s := setup(t)
	it, err := s.Create(t.Context(), lamp())
	require.NoError(t, err)
	var (
		wg      sync.WaitGroup
		mu      sync.Mutex
		version = map[string]int64{}
	)
	for range 20 {
		wg.Go(func() {
			for range 10 {
				name := uuid.NewString()
				changed, err := s.Update(t.Context(), it.ID, 0, draftOf(it, name))
				if !assert.NoError(t, err) { //nolint:testifylint // not the test's goroutine
					return
				}
				mu.Lock()
				version[name] = changed.Version
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	updates := messagingtest.All[*event.ItemUpdated](t, s.recorder)
	require.Len(t, updates, 200)
	last := it.UpdatedAt
	for i, e := range updates {
		assert.Equal(t, int64(i+2), version[e.Name])
		assert.True(t, e.Timestamp.After(last))
		last = e.Timestamp
	}
}

// A client that goes away after the commit does not take the event with it.
func TestEventOutlivesTheRequest(t *testing.T) {
	t.Parallel()
	s := setup(t)
	ctx, cancel := context.WithCancel(tracing.WithCorrelationID(t.Context(), "abc"))
	s.use(t, messaging.PublisherFunc(func(ctx context.Context, evs ...events.IntegrationEvent) error {
		cancel()
		return s.recorder.Publish(ctx, evs...)
	}))
	_, err := s.Create(ctx, lamp())
	require.NoError(t, err)
	assert.Equal(t, "abc", messagingtest.One[*event.ItemCreated](t, s.recorder).CorrelationID)

	_, err = s.Create(ctx, lamp())
	_ = err // the request had ended before: either is right, as long as item and event agree
	items, err := s.store.List(t.Context(), uuid.Nil, store.Position{}, 10)
	require.NoError(t, err)
	assert.Len(t, s.recorder.Events(), len(items))
}

// failingCache is away.
type failingCache struct{ cache.Cache }

func (failingCache) Get(context.Context, uuid.UUID) (item.Item, bool, error) {
	return item.Item{}, false, errors.New("no cache")
}
func (failingCache) Put(context.Context, item.Item) error { return errors.New("no cache") }
func (failingCache) Invalidate(context.Context, uuid.UUID, int64) error {
	return errors.New("no cache")
}

func TestCacheAway(t *testing.T) {
	t.Parallel()
	s := setup(t)
	s.cache = failingCache{s.cache}
	s.use(t, s.recorder)
	it, err := s.Create(t.Context(), lamp())
	require.NoError(t, err)
	it, err = s.Update(t.Context(), it.ID, 0, draftOf(it, "Bright lamp"))
	require.NoError(t, err)
	got, err := s.Get(t.Context(), it.ID)
	require.NoError(t, err)
	assert.Equal(t, it, got)
	assert.Contains(t, s.log.String(), "no cache")
	messagingtest.One[*event.ItemUpdated](t, s.recorder)
}
