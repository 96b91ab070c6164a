// Package item is the domain of customservice: items and the
// rules that they follow.
package item

import (
	"errors"
	"time"

	"github.com/google/uuid"
)

// ErrNotFound says that there is no such item, or that it is deleted.
var ErrNotFound = errors.New("item: not found")

// ErrVersion says that the item is not at the version that the caller expects.
var ErrVersion = errors.New("item: it has been changed since")

// Status is where an item stands in its life.
type Status string

// The statuses of an item. A deleted item has none: nobody sees it any more.
const (
	Active   Status = "Active"
	Inactive Status = "Inactive"
	Archived Status = "Archived"
)

// Statuses returns all of them, in the order of an item's life.
func Statuses() []Status { return []Status{Active, Inactive, Archived} }

// Item is what the service keeps for its users.
type Item struct {
	ID          uuid.UUID  `json:"id"`
	Name        string     `json:"name"`
	Description string     `json:"description"`
	UserID      uuid.UUID  `json:"userId"` // the owner, who never changes: the item's events are ordered by it
	CategoryID  *uuid.UUID `json:"categoryId,omitempty"`
	Status      Status     `json:"status"`
	ModifiedBy  string     `json:"modifiedBy,omitempty"`
	// Version counts the changes, from 1.
	Version   int64     `json:"version"`
	CreatedAt time.Time `json:"createdAt"`
	// UpdatedAt is the moment of the last change, in whole milliseconds. No two
	// changes of one user's items share it, and it grows in the order in which
	// they were committed.
	UpdatedAt time.Time `json:"updatedAt"`
}

// Draft is what a client may say about an item.
type Draft struct {
	Name        string
	Description string
	UserID      uuid.UUID
	CategoryID  *uuid.UUID
	Status      Status // "": Active for a new item, unchanged for an old one
	ModifiedBy  string // who does it; may be empty
}
