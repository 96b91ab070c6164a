package event_test

import (
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/expensevault/sharedlibrary/events"
	"github.com/expensevault/sharedlibrary/examples/customservice/internal/event"
	"github.com/expensevault/sharedlibrary/messaging/messagingtest"
)

const (
	itemID   = "7c9e6679-7425-40de-944b-e07fc1f90ae7"
	userID   = "550e8400-e29b-41d4-a716-446655440000"
	category = "660e8400-e29b-41d4-a716-446655440000"
)

func base(id string, hour int) events.Base {
	return events.Base{
		EventID:       uuid.MustParse(id),
		Timestamp:     time.Date(2025, 11, 30, hour, 0, 0, 0, time.UTC),
		CorrelationID: "abc123-def456",
	}
}

func TestJSON(t *testing.T) {
	t.Parallel()
	categoryID := uuid.MustParse(category)
	tests := []struct {
		event  events.IntegrationEvent
		topic  string
		want   string
		ofItem bool
	}{
		{
			&event.ItemCreated{
				Base: base("3fa85f64-5717-4562-b3fc-2c963f66afa6", 10), CustomItemID: uuid.MustParse(itemID), Name: "Sample Item",
				Description: "Item description", UserID: uuid.MustParse(userID), CategoryID: &categoryID, Status: "Active",
			},
			"customservice.item.created",
			`{"eventId":"3fa85f64-5717-4562-b3fc-2c963f66afa6","timestamp":"2025-11-30T10:00:00Z","eventType":"created",` +
				`"eventVersion":"1.0","sourceService":"customservice","correlationId":"abc123-def456",` +
				`"customItemId":"7c9e6679-7425-40de-944b-e07fc1f90ae7","name":"Sample Item","description":"Item description",` +
				`"userId":"550e8400-e29b-41d4-a716-446655440000","categoryId":"660e8400-e29b-41d4-a716-446655440000","status":"Active"}`,
			true,
		},
		{
			&event.ItemUpdated{
				Base: base("4fa85f64-5717-4562-b3fc-2c963f66afa7", 11), CustomItemID: uuid.MustParse(itemID), Name: "Updated Item Name",
				Description: "Updated description", UserID: uuid.MustParse(userID), Status: "Active", ModifiedBy: "user@example.com",
			},
			"customservice.item.updated",
			`{"eventId":"4fa85f64-5717-4562-b3fc-2c963f66afa7","timestamp":"2025-11-30T11:00:00Z","eventType":"updated",` +
				`"eventVersion":"1.0","sourceService":"customservice","correlationId":"abc123-def456",` +
				`"customItemId":"7c9e6679-7425-40de-944b-e07fc1f90ae7","name":"Updated Item Name","description":"Updated description",` +
				`"userId":"550e8400-e29b-41d4-a716-446655440000","status":"Active","modifiedBy":"user@example.com"}`,
			true,
		},
		{
			&event.ItemDeleted{
				Base: base("5fa85f64-5717-4562-b3fc-2c963f66afa8", 12), CustomItemID: uuid.MustParse(itemID), UserID: uuid.MustParse(userID),
				Name: "Deleted Item", DeletedBy: "user@example.com",
			},
			"customservice.item.deleted",
			`{"eventId":"5fa85f64-5717-4562-b3fc-2c963f66afa8","timestamp":"2025-11-30T12:00:00Z","eventType":"deleted",` +
				`"eventVersion":"1.0","sourceService":"customservice","correlationId":"abc123-def456",` +
				`"customItemId":"7c9e6679-7425-40de-944b-e07fc1f90ae7","userId":"550e8400-e29b-41d4-a716-446655440000",` +
				`"name":"Deleted Item","deletedBy":"user@example.com"}`,
			true,
		},
		{
			&event.Notification{
				Base: base("6fa85f64-5717-4562-b3fc-2c963f66afa9", 13), UserID: uuid.MustParse(userID), Message: "Custom notification message",
			},
			"customservice.notification.notification",
			`{"eventId":"6fa85f64-5717-4562-b3fc-2c963f66afa9","timestamp":"2025-11-30T13:00:00Z","eventType":"notification",` +
				`"eventVersion":"1.0","sourceService":"customservice","correlationId":"abc123-def456",` +
				`"userId":"550e8400-e29b-41d4-a716-446655440000","message":"Custom notification message"}`,
			false,
		},
	}
	topics := make([]string, 0, len(tests))
	for _, tt := range tests {
		t.Run(event.Name(tt.event), func(t *testing.T) {
			t.Parallel()
			require.NoError(t, events.Stamp(tt.event))
			body, err := events.Encode(tt.event)
			require.NoError(t, err)
			assert.Equal(t, tt.want, string(body), "the fields of the contract, in its order")
			assert.Equal(t, tt.topic, tt.event.Topic().String())
			assert.Equal(t, userID, tt.event.PartitionKey())
			of, ok := tt.event.(event.OfItem)
			require.Equal(t, tt.ofItem, ok)
			if ok {
				assert.Equal(t, itemID, of.ItemID().String())
			}
			messagingtest.TestEvent(t, tt.event)
		})
		topics = append(topics, tt.topic)
	}
	assert.Equal(t, topics, event.Topics())
}

func TestName(t *testing.T) {
	t.Parallel()
	assert.Equal(t, "ItemCreated", event.Name(&event.ItemCreated{}))
	assert.Equal(t, "nothing", event.Name(nil))
}
