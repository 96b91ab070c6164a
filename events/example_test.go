package events_test

import (
	"fmt"
	"time"

	"github.com/google/uuid"

	"github.com/expensevault/sharedlibrary/events"
)

// NotificationSent is a whole event: its fields, its topic, its key.
type NotificationSent struct {
	events.Base
	UserID  uuid.UUID `json:"userId"`
	Message string    `json:"message"`
}

func (*NotificationSent) Topic() events.Topic {
	return events.NewTopic("customservice", "notification", "sent")
}

func (e *NotificationSent) PartitionKey() string { return e.UserID.String() }

func Example() {
	e := &NotificationSent{
		UserID:  uuid.MustParse("550e8400-e29b-41d4-a716-446655440000"),
		Message: "Custom notification message",
	}
	// Publishing does this; an ID and a time are set here only so that the output is known.
	e.EventID = uuid.MustParse("3fa85f64-5717-4562-b3fc-2c963f66afa6")
	e.Timestamp = time.Date(2025, 11, 30, 10, 30, 0, 0, time.UTC)
	if err := events.Stamp(e); err != nil {
		fmt.Println(err)
		return
	}
	body, err := events.Encode(e)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(e.Topic())
	fmt.Println(string(body))

	var read NotificationSent
	if err := events.Decode(body, &read); err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(read.Message)
	// Output:
	// customservice.notification.sent
	// {"eventId":"3fa85f64-5717-4562-b3fc-2c963f66afa6","timestamp":"2025-11-30T10:30:00Z","eventType":"sent","eventVersion":"1.0","sourceService":"customservice","userId":"550e8400-e29b-41d4-a716-446655440000","message":"Custom notification message"}
	// Custom notification message
}

func ExampleParseTopic() {
	topic, err := events.ParseTopic("customservice.item.created")
	fmt.Println(topic.Service, topic.Domain, topic.Event, err)
	_, err = events.ParseTopic("customservice.item_created")
	fmt.Println(err)
	// Output:
	// customservice item created <nil>
	// events: topic "customservice.item_created" does not have three parts: write {service}.{domain}.{event-type}
}
