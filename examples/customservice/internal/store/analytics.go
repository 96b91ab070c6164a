package store

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"github.com/google/uuid"
)

// Count says in which status an item is since the moment. What is known of the
// item from a later moment stays: events of several topics come in any order,
// and more than once.
func (tx *Tx) Count(ctx context.Context, itemID, user uuid.UUID, status string, at time.Time) error {
	_, err := tx.ExecContext(ctx,
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

// UserCounts is how many items a user has, by status.
type UserCounts struct {
	UserID uuid.UUID `json:"userId"`
	Items  Counts    `json:"items"`
}

// count is a row of the queries below.
type count struct {
	user   uuid.UUID
	status string
	n      int64
}

// CountsByStatus counts all items, or with a user other than uuid.Nil that user's.
func (s *Store) CountsByStatus(ctx context.Context, user uuid.UUID) (Counts, error) {
	rows, err := s.read.QueryContext(ctx,
		"SELECT status, COUNT(*) FROM analytics WHERE $1 OR user_id = $2 GROUP BY status", user == uuid.Nil, user)
	counts, err := collect(rows, err, func(rows *sql.Rows) (c count, err error) {
		err = rows.Scan(&c.status, &c.n)
		return c, err
	})
	if err != nil {
		return nil, fmt.Errorf("store: count by status: %w", err)
	}
	out := Counts{}
	for _, c := range counts {
		out[c.status] = c.n
	}
	return out, nil
}

// CountsByUser counts the items of the users with the most, at most limit users;
// with a user other than uuid.Nil, of that one.
func (s *Store) CountsByUser(ctx context.Context, user uuid.UUID, limit int) ([]UserCounts, error) {
	rows, err := s.read.QueryContext(ctx,
		`SELECT a.user_id, a.status, COUNT(*) FROM analytics a
		 JOIN (SELECT user_id, COUNT(*) AS n FROM analytics WHERE $1 OR user_id = $2
		       GROUP BY user_id ORDER BY n DESC, user_id LIMIT $3) top
		 ON top.user_id = a.user_id
		 GROUP BY top.n, a.user_id, a.status ORDER BY top.n DESC, a.user_id, a.status`, user == uuid.Nil, user, limit)
	counts, err := collect(rows, err, func(rows *sql.Rows) (c count, err error) {
		err = rows.Scan(&c.user, &c.status, &c.n)
		return c, err
	})
	if err != nil {
		return nil, fmt.Errorf("store: count by user: %w", err)
	}
	out := []UserCounts{}
	for _, c := range counts {
		if len(out) == 0 || out[len(out)-1].UserID != c.user {
			out = append(out, UserCounts{UserID: c.user, Items: Counts{}})
		}
		out[len(out)-1].Items[c.status] = c.n
	}
	return out, nil
}
