package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"

	"github.com/expensevault/sharedlibrary/examples/customservice/internal/item"
)

const itemColumns = "id, user_id, category_id, name, description, status, modified_by, version, created_ms, updated_ms"

// Insert adds a new item, and sets its times and its version.
func (tx *Tx) Insert(ctx context.Context, it *item.Item) error {
	now, err := tx.tick(ctx, it.UserID)
	if err != nil {
		return err
	}
	it.CreatedAt, it.UpdatedAt, it.Version = now, now, 1
	_, err = tx.ExecContext(ctx,
		"INSERT INTO items ("+itemColumns+") VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
		it.ID, it.UserID, optional(it.CategoryID), it.Name, it.Description, it.Status, it.ModifiedBy, it.Version,
		millis(it.CreatedAt), millis(it.UpdatedAt))
	if err != nil {
		return fmt.Errorf("store: insert item: %w", err)
	}
	return nil
}

// Item returns an item and keeps others from changing it until the transaction
// ends. The error is [item.ErrNotFound] where there is none or it is deleted.
func (tx *Tx) Item(ctx context.Context, id uuid.UUID) (item.Item, error) {
	return scanItem(tx.QueryRowContext(ctx,
		"SELECT "+itemColumns+" FROM items WHERE id = $1 AND deleted_ms IS NULL"+tx.store.dialect.forUpdate, id))
}

// Update writes the item that [Tx.Item] returned, and sets UpdatedAt and Version.
func (tx *Tx) Update(ctx context.Context, it *item.Item) error {
	now, err := tx.tick(ctx, it.UserID)
	if err != nil {
		return err
	}
	it.UpdatedAt = now
	it.Version++
	_, err = tx.ExecContext(ctx,
		`UPDATE items SET category_id = $1, name = $2, description = $3, status = $4, modified_by = $5, version = $6, updated_ms = $7
		 WHERE id = $8`,
		optional(it.CategoryID), it.Name, it.Description, it.Status, it.ModifiedBy, it.Version, millis(it.UpdatedAt), it.ID)
	if err != nil {
		return fmt.Errorf("store: update item: %w", err)
	}
	return nil
}

// Delete marks the item that [Tx.Item] returned as deleted; its row stays. It
// sets UpdatedAt, to the moment of the deletion, and Version.
func (tx *Tx) Delete(ctx context.Context, it *item.Item, by string) error {
	now, err := tx.tick(ctx, it.UserID)
	if err != nil {
		return err
	}
	it.UpdatedAt = now
	it.Version++
	_, err = tx.ExecContext(ctx,
		"UPDATE items SET version = $1, updated_ms = $2, deleted_ms = $2, deleted_by = $3 WHERE id = $4",
		it.Version, millis(it.UpdatedAt), by, it.ID)
	if err != nil {
		return fmt.Errorf("store: delete item: %w", err)
	}
	return nil
}

// tick returns the moment of a change of one of the user's items: now, but at
// least a millisecond after the user's last one. The row stays locked until the
// commit, so that these moments have the order of the commits, from whichever
// process. Consumers that read several topics sort by them.
func (tx *Tx) tick(ctx context.Context, user uuid.UUID) (time.Time, error) {
	var last int64
	err := tx.QueryRowContext(ctx,
		`INSERT INTO user_clocks (user_id, last_ms) VALUES ($1, $2)
		 ON CONFLICT (user_id) DO UPDATE SET last_ms =
		 	CASE WHEN excluded.last_ms > user_clocks.last_ms THEN excluded.last_ms ELSE user_clocks.last_ms + 1 END
		 RETURNING last_ms`, user, millis(tx.store.now())).Scan(&last)
	if err != nil {
		return time.Time{}, fmt.Errorf("store: the user's clock: %w", err)
	}
	return fromMillis(last), nil
}

// Item returns an item, or [item.ErrNotFound].
func (s *Store) Item(ctx context.Context, id uuid.UUID) (item.Item, error) {
	return scanItem(s.read.QueryRowContext(ctx, "SELECT "+itemColumns+" FROM items WHERE id = $1 AND deleted_ms IS NULL", id))
}

// Position is behind which item a page begins.
type Position struct {
	CreatedMillis int64
	ID            uuid.UUID
}

// After is the position behind the item.
func After(it item.Item) Position { return Position{CreatedMillis: millis(it.CreatedAt), ID: it.ID} }

// List returns at most limit items behind the position, the oldest first; the
// zero position is before them all. A user other than uuid.Nil gets its own only.
func (s *Store) List(ctx context.Context, user uuid.UUID, after Position, limit int) ([]item.Item, error) {
	query := "SELECT " + itemColumns + ` FROM items
		WHERE deleted_ms IS NULL AND (created_ms > $1 OR created_ms = $1 AND id > $2)`
	args := []any{after.CreatedMillis, after.ID, limit}
	if user != uuid.Nil {
		query += " AND user_id = $4"
		args = append(args, user)
	}
	rows, err := s.read.QueryContext(ctx, query+" ORDER BY created_ms, id LIMIT $3", args...)
	items, err := collect(rows, err, func(rows *sql.Rows) (item.Item, error) { return scanItem(rows) })
	if err != nil {
		return nil, fmt.Errorf("store: list items: %w", err)
	}
	return items, nil
}

func scanItem(row interface{ Scan(dest ...any) error }) (item.Item, error) {
	var (
		it               item.Item
		category         uuid.NullUUID
		created, updated int64
	)
	err := row.Scan(&it.ID, &it.UserID, &category, &it.Name, &it.Description, &it.Status, &it.ModifiedBy, &it.Version, &created, &updated)
	if errors.Is(err, sql.ErrNoRows) {
		return item.Item{}, item.ErrNotFound
	}
	if err != nil {
		return item.Item{}, fmt.Errorf("store: read item: %w", err)
	}
	if category.Valid {
		it.CategoryID = &category.UUID
	}
	it.CreatedAt, it.UpdatedAt = fromMillis(created), fromMillis(updated)
	return it, nil
}

func optional(id *uuid.UUID) uuid.NullUUID {
	if id == nil {
		return uuid.NullUUID{}
	}
	return uuid.NullUUID{UUID: *id, Valid: true}
}
