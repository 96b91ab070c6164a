// Package cache holds items that were read, in this process or in Redis.
//
// A reader that was slow must not put back what a writer has changed in the
// meantime. Therefore an entry knows the version of its item, and a change
// leaves a mark with the new version: what is older is not stored.
package cache

import (
	"context"

	"github.com/google/uuid"

	"github.com/expensevault/sharedlibrary/examples/customservice/internal/item"
)

// Cache is a cache of items. Any number of goroutines may use it. Its errors
// are no reason to fail: the database has it all.
type Cache interface {
	// Get returns the item, and whether it is there.
	Get(ctx context.Context, id uuid.UUID) (item.Item, bool, error)
	// Put stores an item that was read, unless something newer is known of it.
	Put(ctx context.Context, it item.Item) error
	// Invalidate removes the item, which has been changed to the version.
	Invalidate(ctx context.Context, id uuid.UUID, version int64) error
	// Ping returns nil when the cache answers.
	Ping(ctx context.Context) error
	// Kind is the cache's name, for people.
	Kind() string
	// Close ends its connections.
	Close() error
}
