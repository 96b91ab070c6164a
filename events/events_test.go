package events_test

import (
	"github.com/google/uuid"

	"github.com/expensevault/sharedlibrary/events"
)

type itemCreated struct {
	events.Base
	CustomItemID uuid.UUID `json:"customItemId"`
	Name         string    `json:"name"`
	Description  string    `json:"description"`
	UserID       uuid.UUID `json:"userId"`
	CategoryID   uuid.UUID `json:"categoryId"`
	Status       string    `json:"status"`
}

func (*itemCreated) Topic() events.Topic {
	return events.NewTopic("customservice", "item", "created")
}
func (e *itemCreated) PartitionKey() string { return e.UserID.String() }

type itemUpdated struct {
	events.Base
	CustomItemID uuid.UUID `json:"customItemId"`
	Name         string    `json:"name"`
	Description  string    `json:"description"`
	UserID       uuid.UUID `json:"userId"`
	Status       string    `json:"status"`
	ModifiedBy   string    `json:"modifiedBy"`
}

func (*itemUpdated) Topic() events.Topic {
	return events.NewTopic("customservice", "item", "updated")
}
func (e *itemUpdated) PartitionKey() string { return e.UserID.String() }

type itemDeleted struct {
	events.Base
	CustomItemID uuid.UUID `json:"customItemId"`
	UserID       uuid.UUID `json:"userId"`
	Name         string    `json:"name"`
	DeletedBy    string    `json:"deletedBy"`
}

func (*itemDeleted) Topic() events.Topic {
	return events.NewTopic("customservice", "item", "deleted")
}
func (e *itemDeleted) PartitionKey() string { return e.UserID.String() }

// versioned has a schema of its own version.
type versioned struct {
	itemCreated
	version string
}

func (e *versioned) EventVersion() string { return e.version }

// byPointer embeds the envelope as a pointer, and is an event by value.
type byPointer struct {
	*events.Base
	Name string `json:"name"`
}

func (byPointer) Topic() events.Topic  { return events.NewTopic("a", "b", "c") }
func (byPointer) PartitionKey() string { return "" }

// Common stands between the event and its envelope.
type Common struct {
	Tenant string `json:"tenant"`
	events.Base
}

func (c *Common) Topic() events.Topic { return events.NewTopic(c.Tenant, "b", "c") }

type byNestedPointer struct{ *Common }

func (byNestedPointer) PartitionKey() string { return "" }

// badTopic has a topic that Kafka would refuse.
type badTopic struct{ itemCreated }

func (*badTopic) Topic() events.Topic { return events.NewTopic("custom service", "item", "created") }
