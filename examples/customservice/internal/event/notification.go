package event

import (
	"github.com/google/uuid"

	"github.com/expensevault/sharedlibrary/events"
)

// Notification is a message for a user. Its causation ID names the event that
// it is about.
type Notification struct {
	events.Base

	UserID  uuid.UUID `json:"userId"`
	Message string    `json:"message"`
}

// Topic is customservice.notification.notification.
func (*Notification) Topic() events.Topic {
	return events.NewTopic(Service, "notification", "notification")
}

// PartitionKey is the user.
func (e *Notification) PartitionKey() string { return e.UserID.String() }
