// Package service holds what customservice does: the handlers of its commands
// and queries. A command persists, invalidates the cache, and publishes.
package service

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/google/uuid"

	"github.com/expensevault/sharedlibrary/events"
	"github.com/expensevault/sharedlibrary/examples/customservice/internal/cache"
	"github.com/expensevault/sharedlibrary/examples/customservice/internal/event"
	"github.com/expensevault/sharedlibrary/examples/customservice/internal/item"
	"github.com/expensevault/sharedlibrary/examples/customservice/internal/store"
	"github.com/expensevault/sharedlibrary/messaging"
	"github.com/expensevault/sharedlibrary/messaging/outbox"
)

// Service answers the commands and queries about items.
type Service struct {
	store     *store.Store
	cache     cache.Cache
	box       *outbox.Outbox      // nil: publisher
	committed func()              // after each transaction with box
	publisher messaging.Publisher // without box
	log       *slog.Logger
	turns     turns
}

// New returns a service whose commands write their event into the outbox, in
// the transaction of the item's row; committed is called after each of them. A
// command that fails has published nothing, and one that succeeds will have.
func New(s *store.Store, c cache.Cache, box *outbox.Outbox, committed func(), log *slog.Logger) *Service {
	return &Service{store: s, cache: c, box: box, committed: committed, log: log, turns: newTurns()}
}

// NewDirect returns a service whose commands publish after the commit, as the
// guide does: an error of the publisher is logged and never fails a command,
// and the event is lost. Commands wait for the publisher, so that whoever must
// not wait for a broker gives one that queues.
func NewDirect(s *store.Store, c cache.Cache, p messaging.Publisher, log *slog.Logger) *Service {
	return &Service{store: s, cache: c, publisher: messaging.BestEffort(p, log), log: log, turns: newTurns()}
}

// Create makes an item. The error may be an [item.Invalid].
func (s *Service) Create(ctx context.Context, d item.Draft) (item.Item, error) {
	it, err := item.New(d)
	if err != nil {
		return item.Item{}, err
	}
	done, err := s.turns.wait(ctx, it.UserID)
	if err != nil {
		return item.Item{}, err
	}
	defer done()
	ctx, cancel := detach(ctx)
	defer cancel()

	// There is nothing in the cache yet.
	err = s.do(ctx, func(tx *store.Tx) (event.OfItem, error) {
		if err := tx.Insert(ctx, &it); err != nil {
			return nil, err
		}
		return &event.ItemCreated{
			Base:         events.Base{Timestamp: it.CreatedAt},
			CustomItemID: it.ID,
			Name:         it.Name,
			Description:  it.Description,
			UserID:       it.UserID,
			CategoryID:   it.CategoryID,
			Status:       string(it.Status),
		}, nil
	}, func() {})
	if err != nil {
		return item.Item{}, err
	}
	return it, nil
}

// Update replaces what the draft says. A version other than 0 must be the
// item's. The error may be [item.ErrNotFound], [item.ErrVersion] or an [item.Invalid].
func (s *Service) Update(ctx context.Context, id uuid.UUID, version int64, d item.Draft) (item.Item, error) {
	it, err := s.change(ctx, id, version, func(tx *store.Tx, it *item.Item) error {
		if err := it.Change(d); err != nil {
			return err
		}
		return tx.Update(ctx, it)
	}, func(it item.Item) event.OfItem {
		return &event.ItemUpdated{
			Base:         events.Base{Timestamp: it.UpdatedAt},
			CustomItemID: it.ID,
			Name:         it.Name,
			Description:  it.Description,
			UserID:       it.UserID,
			Status:       string(it.Status),
			ModifiedBy:   it.ModifiedBy,
		}
	})
	return it, err
}

// Delete takes an item away from its user; its row stays in the database.
// Version and errors are as for Update.
func (s *Service) Delete(ctx context.Context, id uuid.UUID, version int64, by string) error {
	if err := item.CheckPerson("deletedBy", by); err != nil {
		return err
	}
	_, err := s.change(ctx, id, version, func(tx *store.Tx, it *item.Item) error {
		return tx.Delete(ctx, it, by)
	}, func(it item.Item) event.OfItem {
		return &event.ItemDeleted{
			Base:         events.Base{Timestamp: it.UpdatedAt},
			CustomItemID: it.ID,
			UserID:       it.UserID,
			Name:         it.Name,
			DeletedBy:    by,
		}
	})
	return err
}

func (s *Service) change(ctx context.Context, id uuid.UUID, version int64,
	write func(*store.Tx, *item.Item) error, tell func(item.Item) event.OfItem,
) (item.Item, error) {
	it, err := s.store.Item(ctx, id) // for the owner only: what it says may be old when our turn comes
	if err != nil {
		return item.Item{}, err
	}
	done, err := s.turns.wait(ctx, it.UserID)
	if err != nil {
		return item.Item{}, err
	}
	defer done()
	ctx, cancel := detach(ctx)
	defer cancel()

	err = s.do(ctx, func(tx *store.Tx) (event.OfItem, error) {
		if it, err = tx.Item(ctx, id); err != nil {
			return nil, err
		}
		if version != 0 && version != it.Version {
			return nil, item.ErrVersion
		}
		if err := write(tx, &it); err != nil {
			return nil, err
		}
		return tell(it), nil
	}, func() {
		if err := s.cache.Invalidate(ctx, it.ID, it.Version); err != nil {
			s.log.WarnContext(ctx, "Failed to invalidate the cache: others may read the old item until it expires",
				slog.String("item", it.ID.String()), slog.Any("error", err))
		}
	})
	if err != nil {
		return item.Item{}, err
	}
	return it, nil
}

// do persists by write, invalidates the cache, and publishes what write
// returned: with the row, or in the end.
func (s *Service) do(ctx context.Context, write func(*store.Tx) (event.OfItem, error), invalidate func()) error {
	var e event.OfItem
	err := s.store.InTx(ctx, func(tx *store.Tx) (err error) {
		if e, err = write(tx); err != nil || s.box == nil {
			return err
		}
		return s.box.In(tx).Publish(ctx, e)
	})
	if err != nil {
		return err
	}
	invalidate()
	if s.box == nil {
		_ = s.publisher.Publish(ctx, e) // logged by BestEffort
		return nil
	}
	s.committed()
	s.log.InfoContext(ctx, fmt.Sprintf("Wrote to the outbox %s for item %s to topic %s", event.Name(e), e.ItemID(), e.Topic()),
		slog.String("user", e.PartitionKey()), slog.String("event_id", e.Metadata().EventID.String()))
	return nil
}

// detach keeps a client that goes away from ending a command between its
// commit and its event. It keeps correlation and trace.
func detach(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(ctx), commandTimeout)
}

const commandTimeout = 15 * time.Second

// Get returns an item, from the cache where it is there.
func (s *Service) Get(ctx context.Context, id uuid.UUID) (item.Item, error) {
	it, ok, err := s.cache.Get(ctx, id)
	if err != nil {
		s.log.WarnContext(ctx, "Failed to read the cache", slog.Any("error", err))
	}
	if ok {
		return it, nil
	}
	cacheAnswers := err == nil
	if it, err = s.store.Item(ctx, id); err != nil {
		return item.Item{}, err
	}
	if cacheAnswers {
		if err := s.cache.Put(ctx, it); err != nil {
			s.log.WarnContext(ctx, "Failed to fill the cache", slog.Any("error", err))
		}
	}
	return it, nil
}

// List returns a page of items, the oldest first; see [store.Store.List].
func (s *Service) List(ctx context.Context, user uuid.UUID, after store.Position, limit int) ([]item.Item, error) {
	return s.store.List(ctx, user, after, limit)
}
