package cache

import (
	"container/list"
	"context"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/expensevault/sharedlibrary/examples/customservice/internal/item"
)

// Memory is a [Cache] in this process.
type Memory struct {
	ttl  time.Duration
	size int

	mu      sync.Mutex
	entries map[uuid.UUID]*list.Element
	used    list.List // of *entry, the last used in front
}

type entry struct {
	id      uuid.UUID
	item    *item.Item // nil: a mark
	version int64
	expires time.Time
}

// NewMemory returns a cache of at most size items, each for as long as ttl. The
// one that was not used for the longest time makes room.
func NewMemory(ttl time.Duration, size int) *Memory {
	return &Memory{ttl: ttl, size: max(size, 1), entries: make(map[uuid.UUID]*list.Element)}
}

// Get implements [Cache]. The error is always nil.
func (m *Memory) Get(_ context.Context, id uuid.UUID) (item.Item, bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	e := m.find(id)
	if e == nil || e.item == nil {
		return item.Item{}, false, nil
	}
	return copied(*e.item), true, nil
}

// Put implements [Cache]. The error is always nil.
func (m *Memory) Put(_ context.Context, it item.Item) error {
	it = copied(it)
	m.set(&entry{id: it.ID, item: &it, version: it.Version})
	return nil
}

// Invalidate implements [Cache]. The error is always nil.
func (m *Memory) Invalidate(_ context.Context, id uuid.UUID, version int64) error {
	m.set(&entry{id: id, version: version})
	return nil
}

// Ping implements [Cache]. The error is always nil.
func (*Memory) Ping(context.Context) error { return nil }

// Kind implements [Cache].
func (*Memory) Kind() string { return "memory" }

// Close implements [Cache]. There is nothing to close.
func (*Memory) Close() error { return nil }

// Len is the number of entries.
func (m *Memory) Len() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.used.Len()
}

func (m *Memory) set(e *entry) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if old := m.find(e.id); old != nil {
		if old.version > e.version {
			return
		}
		m.remove(m.entries[e.id])
	}
	e.expires = time.Now().Add(m.ttl)
	m.entries[e.id] = m.used.PushFront(e)
	for m.used.Len() > m.size {
		m.remove(m.used.Back())
	}
}

// find returns the entry that is not expired, or nil.
func (m *Memory) find(id uuid.UUID) *entry {
	el := m.entries[id]
	if el == nil {
		return nil
	}
	e := el.Value.(*entry)
	if !time.Now().Before(e.expires) {
		m.remove(el)
		return nil
	}
	m.used.MoveToFront(el)
	return e
}

func (m *Memory) remove(el *list.Element) {
	delete(m.entries, el.Value.(*entry).id)
	m.used.Remove(el)
}

// copied keeps callers from changing what others read.
func copied(it item.Item) item.Item {
	if it.CategoryID != nil {
		category := *it.CategoryID
		it.CategoryID = &category
	}
	return it
}
