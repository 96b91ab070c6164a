package event

import (
	"github.com/google/uuid"

	"github.com/expensevault/sharedlibrary/events"
)

// ItemCreated says that a user has a new item. The key of all events about
// items is the user, so that those of one user keep their order within a topic.
type ItemCreated struct {
	events.Base

	CustomItemID uuid.UUID  `json:"customItemId"`
	Name         string     `json:"name"`
	Description  string     `json:"description"`
	UserID       uuid.UUID  `json:"userId"`
	CategoryID   *uuid.UUID `json:"categoryId,omitempty"`
	Status       string     `json:"status"`
}

// Topic is customservice.item.created.
func (*ItemCreated) Topic() events.Topic { return events.NewTopic(Service, "item", "created") }

// PartitionKey is the user.
func (e *ItemCreated) PartitionKey() string { return e.UserID.String() }

// ItemID is the item.
func (e *ItemCreated) ItemID() uuid.UUID { return e.CustomItemID }

// ItemUpdated says what an item looks like after a change.
type ItemUpdated struct {
	events.Base

	CustomItemID uuid.UUID `json:"customItemId"`
	Name         string    `json:"name"`
	Description  string    `json:"description"`
	UserID       uuid.UUID `json:"userId"`
	Status       string    `json:"status"`
	ModifiedBy   string    `json:"modifiedBy"`
}

// Topic is customservice.item.updated.
func (*ItemUpdated) Topic() events.Topic { return events.NewTopic(Service, "item", "updated") }

// PartitionKey is the user.
func (e *ItemUpdated) PartitionKey() string { return e.UserID.String() }

// ItemID is the item.
func (e *ItemUpdated) ItemID() uuid.UUID { return e.CustomItemID }

// ItemDeleted says that a user's item is gone. The service keeps its row.
type ItemDeleted struct {
	events.Base

	CustomItemID uuid.UUID `json:"customItemId"`
	UserID       uuid.UUID `json:"userId"`
	Name         string    `json:"name"`
	DeletedBy    string    `json:"deletedBy"`
}

// Topic is customservice.item.deleted.
func (*ItemDeleted) Topic() events.Topic { return events.NewTopic(Service, "item", "deleted") }

// PartitionKey is the user.
func (e *ItemDeleted) PartitionKey() string { return e.UserID.String() }

// ItemID is the item.
func (e *ItemDeleted) ItemID() uuid.UUID { return e.CustomItemID }
