package messaging_test

import (
	"testing"

	"github.com/google/uuid"

	"github.com/expensevault/sharedlibrary/events"
	"github.com/expensevault/sharedlibrary/messaging"
)

type benchmarkEvent struct {
	events.Base
	CustomItemID uuid.UUID `json:"customItemId"`
	Name         string    `json:"name"`
	Description  string    `json:"description"`
	UserID       uuid.UUID `json:"userId"`
	CategoryID   uuid.UUID `json:"categoryId"`
	Status       string    `json:"status"`
}

func (*benchmarkEvent) Topic() events.Topic {
	return events.NewTopic("customservice", "item", "created")
}
func (e *benchmarkEvent) PartitionKey() string { return e.UserID.String() }

// BenchmarkEncode is all that a caller does before the engine has the record: stamp, JSON, key and the default headers.
func BenchmarkEncode(b *testing.B) {
	e := &benchmarkEvent{
		CustomItemID: uuid.New(), Name: "Sample Item", Description: "Item description",
		UserID: uuid.New(), CategoryID: uuid.New(), Status: "Active",
	}
	b.ReportAllocs()
	for b.Loop() {
		e.Base = events.Base{CorrelationID: "abc123-def456"}
		if _, err := messaging.Encode(b.Context(), e); err != nil {
			b.Fatal(err)
		}
	}
}
