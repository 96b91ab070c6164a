package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"
)

// AuditEntry is one event as it reached the audit consumer.
type AuditEntry struct {
	EventID       uuid.UUID       `json:"eventId"`
	Topic         string          `json:"topic"`
	Partition     int32           `json:"partition"`
	Offset        int64           `json:"offset"`
	ItemID        uuid.UUID       `json:"-"` // uuid.Nil: an event that is not about an item
	UserID        uuid.UUID       `json:"userId"`
	Time          time.Time       `json:"time"` // the event's own
	CorrelationID string          `json:"correlationId"`
	CausationID   string          `json:"causationId,omitempty"`
	Payload       json.RawMessage `json:"payload"` // as it stands in the topic
}

const auditColumns = "event_id, topic, source_part, source_offset, item_id, user_id, event_ms, correlation_id, causation_id, payload"

// Append adds the entry to the trail. An event that is there already is an
// error. The trail can't be changed otherwise: the database refuses it.
func (tx *Tx) Append(ctx context.Context, e AuditEntry) error {
	_, err := tx.ExecContext(ctx,
		`INSERT INTO audit (`+auditColumns+`)
		 VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)`,
		e.EventID, e.Topic, e.Partition, e.Offset, uuid.NullUUID{UUID: e.ItemID, Valid: e.ItemID != uuid.Nil}, e.UserID,
		millis(e.Time), e.CorrelationID, e.CausationID, string(e.Payload))
	if err != nil {
		return fmt.Errorf("store: append to the audit trail: %w", err)
	}
	return nil
}

// Trail returns what happened to the item, in the order in which it happened,
// and what its events caused. At most limit entries, the oldest.
func (s *Store) Trail(ctx context.Context, itemID uuid.UUID, limit int) ([]AuditEntry, error) {
	return s.trail(ctx, `item_id = $1 OR item_id IS NULL AND causation_id IN (SELECT CAST(event_id AS TEXT) FROM audit WHERE item_id = $1)
		 ORDER BY event_ms, seq LIMIT $2`, itemID, limit)
}

// TrailOfUser returns the last entries about the user, at most limit, in the
// order in which it happened.
func (s *Store) TrailOfUser(ctx context.Context, user uuid.UUID, limit int) ([]AuditEntry, error) {
	trail, err := s.trail(ctx, "user_id = $1 ORDER BY event_ms DESC, seq DESC LIMIT $2", user, limit)
	slices.Reverse(trail)
	return trail, err
}

func (s *Store) trail(ctx context.Context, condition string, args ...any) ([]AuditEntry, error) {
	query := "SELECT " + auditColumns + " FROM audit WHERE " + condition //nolint:gosec // a constant of the two functions above
	rows, err := s.read.QueryContext(ctx, query, args...)
	trail, err := collect(rows, err, func(rows *sql.Rows) (AuditEntry, error) {
		var (
			e       AuditEntry
			of      uuid.NullUUID
			ms      int64
			payload string
		)
		err := rows.Scan(&e.EventID, &e.Topic, &e.Partition, &e.Offset, &of, &e.UserID, &ms, &e.CorrelationID, &e.CausationID, &payload)
		e.ItemID, e.Time, e.Payload = of.UUID, fromMillis(ms), json.RawMessage(payload)
		return e, err
	})
	if err != nil {
		return nil, fmt.Errorf("store: read the audit trail: %w", err)
	}
	return trail, nil
}
