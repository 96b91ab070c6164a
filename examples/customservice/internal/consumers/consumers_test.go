package consumers_test

import (
	"bytes"
	"log/slog"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/expensevault/sharedlibrary/events"
	"github.com/expensevault/sharedlibrary/examples/customservice/internal/consumers"
	"github.com/expensevault/sharedlibrary/examples/customservice/internal/event"
	"github.com/expensevault/sharedlibrary/examples/customservice/internal/store"
	"github.com/expensevault/sharedlibrary/messaging"
	"github.com/expensevault/sharedlibrary/messaging/messagingtest"
	"github.com/expensevault/sharedlibrary/messaging/outbox"
	"github.com/expensevault/sharedlibrary/tracing"
)

type bundle struct {
	mux      messaging.Mux
	store    *store.Store
	recorder messagingtest.Recorder
	log      bytes.Buffer
}

func setup(t *testing.T, name string) *bundle {
	t.Helper()
	st, err := store.Open(t.Context(), store.Memory)
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, st.Close()) })
	b := &bundle{store: st}
	require.NoError(t, consumers.Register(&b.mux, name, consumers.Needs{
		Store: st, Publisher: &b.recorder, Log: slog.New(tracing.NewLogHandler(slog.NewTextHandler(&b.log, nil))),
	}))
	return b
}

// story is the life of an item: its events in order.
func story(item, user uuid.UUID) []event.OfItem {
	at := func(ms int) events.Base {
		return events.Base{Timestamp: time.UnixMilli(1_700_000_000_000 + int64(ms)).UTC(), CorrelationID: "abc", EventID: uuid.New()}
	}
	return []event.OfItem{
		&event.ItemCreated{Base: at(0), CustomItemID: item, UserID: user, Name: "Lamp", Status: "Active"},
		&event.ItemUpdated{Base: at(1), CustomItemID: item, UserID: user, Name: "Bright lamp", Status: "Inactive"},
		&event.ItemDeleted{Base: at(2), CustomItemID: item, UserID: user, Name: "Bright lamp", DeletedBy: "me"},
	}
}

func TestNames(t *testing.T) {
	t.Parallel()
	groups := map[string]bool{}
	for _, name := range consumers.Names() {
		groups[consumers.Group(name)] = true
	}
	assert.Len(t, groups, 3, "each is a group of its own")
	require.ErrorContains(t, consumers.Register(&messaging.Mux{}, "billing", consumers.Needs{}), "billing")
}

func TestAnalytics(t *testing.T) {
	t.Parallel()
	b := setup(t, consumers.Analytics)
	user := uuid.New()
	kept, gone := story(uuid.New(), user), story(uuid.New(), user)
	messagingtest.Deliver(t, &b.mux, kept[1]) // before what happened first: topics have no order
	messagingtest.Deliver(t, &b.mux, kept[0])
	for range 2 { // twice, as after a restart
		for _, e := range gone {
			messagingtest.Deliver(t, &b.mux, e)
		}
	}
	counts, err := b.store.CountsByUser(t.Context(), user, 10)
	require.NoError(t, err)
	assert.Equal(t, []store.UserCounts{{UserID: user, Items: store.Counts{"Inactive": 1, "Deleted": 1}}}, counts)
	assert.Contains(t, b.log.String(), "analytics received ItemUpdated from topic customservice.item.updated")
	assert.Contains(t, b.log.String(), "correlation_id=abc")
}

func TestNotification(t *testing.T) {
	t.Parallel()
	b := setup(t, consumers.Notification)
	user := uuid.New()
	causes := story(uuid.New(), user)
	for _, e := range causes {
		messagingtest.Deliver(t, &b.mux, e)
	}
	got := messagingtest.All[*event.Notification](t, &b.recorder)
	require.Len(t, got, 3)
	for i, n := range got {
		assert.Equal(t, user, n.UserID)
		assert.Equal(t, "abc", n.CorrelationID)
		assert.Equal(t, causes[i].Metadata().EventID.String(), n.CausationID)
	}
	assert.Equal(t, `Your item "Lamp" has been created.`, got[0].Message)
	assert.Equal(t, `Your item "Bright lamp" has been updated: it is Inactive now.`, got[1].Message)
	assert.Equal(t, `Your item "Bright lamp" has been deleted.`, got[2].Message)

	messagingtest.Deliver(t, &b.mux, causes[0])
	again := messagingtest.All[*event.Notification](t, &b.recorder)[3]
	assert.Equal(t, got[0].EventID, again.EventID, "a redelivery sends the same event again")
}

// With the outbox, the notification is committed with the record that its cause was handled.
func TestNotificationByTheOutbox(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	st, err := store.Open(ctx, store.Memory)
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, st.Close()) })
	var mux messaging.Mux
	committed := 0
	require.NoError(t, consumers.Register(&mux, consumers.Notification, consumers.Needs{
		Store: st, Outbox: outbox.New(st.Dialect()), Committed: func() { committed++ }, Log: slog.New(slog.DiscardHandler),
	}))
	causes := story(uuid.New(), uuid.New())
	count := func() (n int) {
		require.NoError(t, st.DB().QueryRowContext(ctx, "SELECT count(*) FROM outbox").Scan(&n))
		return n
	}
	for range 3 {
		messagingtest.Deliver(t, &mux, causes[0])
	}
	assert.Equal(t, 1, count(), "however often the cause is delivered")
	assert.Positive(t, committed)

	_, err = st.DB().ExecContext(ctx, "ALTER TABLE outbox RENAME TO away")
	require.NoError(t, err)
	require.Error(t, messagingtest.TryDeliver(t, &mux, causes[1]))
	_, err = st.DB().ExecContext(ctx, "ALTER TABLE away RENAME TO outbox")
	require.NoError(t, err)
	messagingtest.Deliver(t, &mux, causes[1])
	assert.Equal(t, 2, count(), "what failed was not recorded as handled")
}

func TestNotificationFailsWithItsPublisher(t *testing.T) {
	t.Parallel()
	b := setup(t, consumers.Notification)
	b.recorder.Err = assert.AnError
	err := messagingtest.TryDeliver(t, &b.mux, story(uuid.New(), uuid.New())[0])
	require.ErrorIs(t, err, assert.AnError, "so that it is delivered again")
}

func TestAudit(t *testing.T) {
	t.Parallel()
	b := setup(t, consumers.Audit)
	itemID, user := uuid.New(), uuid.New()
	happened := story(itemID, user)
	notification := &event.Notification{
		Base: events.Base{
			Timestamp: happened[2].Metadata().Timestamp.Add(time.Second), CausationID: happened[2].Metadata().EventID.String(),
			CorrelationID: "abc", EventID: uuid.New(),
		},
		UserID: user, Message: "Gone.",
	}
	for _, e := range []events.IntegrationEvent{notification, happened[2], happened[0], happened[1], happened[0]} {
		messagingtest.Deliver(t, &b.mux, e)
	}
	trail, err := b.store.Trail(t.Context(), itemID, 10)
	require.NoError(t, err)
	require.Len(t, trail, 4)
	for i, e := range []events.IntegrationEvent{happened[0], happened[1], happened[2], notification} {
		body, err := events.Encode(e)
		require.NoError(t, err)
		assert.Equal(t, e.Topic().String(), trail[i].Topic)
		assert.Equal(t, "abc", trail[i].CorrelationID)
		assert.Equal(t, string(body), string(trail[i].Payload), "byte for byte")
		assert.Equal(t, user, trail[i].UserID)
	}
	assert.Equal(t, happened[2].Metadata().EventID.String(), trail[3].CausationID)
}
