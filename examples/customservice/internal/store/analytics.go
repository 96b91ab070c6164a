package store

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"
)

// Count says in which status an item is since the moment. What is known of the
// item from a later moment stays: events of several topics come in any order,
// and more than once.
func (s *Store) Count(ctx context.Context, itemID, user uuid.UUID, status string, at time.Time) error {
	_, err := s.write.ExecContext(ctx,
		`INSERT INTO analytics (item_id, user_id, status, event_ms) VALUES ($1, $2, $3, $4)
		 ON CONFLICT (item_id) DO UPDATE SET status = excluded.status, event_ms = excluded.event_ms
		 WHERE excluded.event_ms > analytics.event_ms`, itemID, user, status, millis(at))
	if err != nil {
		return fmt.Errorf("store: count an item: %w", err)
	}
	return nil
}

// Counts is how many items there are, by status.
type Counts map[string]int64

// CountsByStatus counts all items, or with a user other than uuid.Nil that user's.
func (s *Store) CountsByStatus(ctx context.Context, user uuid.UUID) (Counts, error) {
	query, args := "SELECT status, COUNT(*) FROM analytics", []any{}
	if user != uuid.Nil {
		query, args = query+" WHERE user_id = $1", append(args, user)
	}
	rows, err := s.read.QueryContext(ctx, query+" GROUP BY status", args...)
	if err != nil {
		return nil, fmt.Errorf("store: count by status: %w", err)
	}
	defer rows.Close()
	out := Counts{}
	for rows.Next() {
		var (
			status string
			n      int64
		)
		if err := rows.Scan(&status, &n); err != nil {
			return nil, fmt.Errorf("store: count by status: %w", err)
		}
		out[status] = n
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("store: count by status: %w", err)
	}
	return out, nil
}

// UserCounts is how many items a user has, by status.
type UserCounts struct {
	UserID uuid.UUID `json:"userId"`
	Items  Counts    `json:"items"`
}

// CountsByUser counts the items of the users with the most, at most limit users;
// with a user other than uuid.Nil, of that one.
func (s *Store) CountsByUser(ctx context.Context, user uuid.UUID, limit int) ([]UserCounts, error) {
	where, args := "", []any{limit}
	if user != uuid.Nil {
		where, args = "WHERE user_id = $2", append(args, user)
	}
	rows, err := s.read.QueryContext(ctx,
		`SELECT a.user_id, a.status, COUNT(*) FROM analytics a
		 JOIN (SELECT user_id, COUNT(*) AS n FROM analytics `+where+` GROUP BY user_id ORDER BY n DESC, user_id LIMIT $1) top
		 ON top.user_id = a.user_id
		 GROUP BY top.n, a.user_id, a.status ORDER BY top.n DESC, a.user_id, a.status`, args...)
	if err != nil {
		return nil, fmt.Errorf("store: count by user: %w", err)
	}
	defer rows.Close()
	out := []UserCounts{}
	for rows.Next() {
		var (
			id     uuid.UUID
			status string
			n      int64
		)
		if err := rows.Scan(&id, &status, &n); err != nil {
			return nil, fmt.Errorf("store: count by user: %w", err)
		}
		if len(out) == 0 || out[len(out)-1].UserID != id {
			out = append(out, UserCounts{UserID: id, Items: Counts{}})
		}
		out[len(out)-1].Items[status] = n
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("store: count by user: %w", err)
	}
	return out, nil
}
