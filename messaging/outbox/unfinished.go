package outbox

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"
)

// Unfinished is a batch that a relay began and that nobody knows to be
// acknowledged. There are some at any moment; one that is old waits for a
// broker, or for [Outbox.Settle], by what the relay's log says.
type Unfinished struct {
	Shard     int
	Topic     string
	Partition int32
	IDs       []int64 // of its rows, in order
	Since     time.Duration
}

// Unfinished returns the batches that are begun and not finished.
func (o *Outbox) Unfinished(ctx context.Context, db *sql.DB) ([]Unfinished, error) {
	if o.err != nil {
		return nil, o.err
	}
	s := o.store
	var out []Unfinished
	err := s.query(ctx, db, func(rows *sql.Rows) error {
		var shard int
		var text string
		var now int64
		if err := rows.Scan(&shard, &text, &now); err != nil {
			return err
		}
		marks, err := decodeMarks(text)
		for _, m := range marks {
			out = append(out, Unfinished{Shard: shard, Topic: m.Topic, Partition: m.Partition, IDs: m.IDs, Since: time.Duration(now-m.Millis) * time.Millisecond})
		}
		return err
	}, "SELECT shard, marks, "+s.d.Now()+" FROM "+s.o.table+"_shards WHERE marks IS NOT NULL ORDER BY shard")
	if err != nil {
		return nil, fmt.Errorf("outbox: read the unfinished batches: %w", err)
	}
	return out, nil
}

// ErrFinished says that there is no such unfinished batch any more.
var ErrFinished = errors.New("outbox: there is no such unfinished batch")

// Settle ends an unfinished batch by what an operator knows: with written, its
// events stand in the topic, and its rows are done; without, they do not, and
// its rows are published anew. It is for batches about which the relay says
// that it cannot tell, and takes the shard from the relay that has it. The
// error is [ErrFinished] where there is no such batch.
func (o *Outbox) Settle(ctx context.Context, db *sql.DB, batch Unfinished, written bool) error {
	if o.err != nil {
		return o.err
	}
	s := o.store
	err := s.tx(ctx, db, func(tx *sql.Tx) error {
		// From now on no relay writes the shard's row under the lease that it has.
		_, err := s.exec(ctx, tx, "UPDATE "+s.o.table+"_shards SET revision = revision + 1, owner = '', expires_ms = 0 WHERE shard = ?", batch.Shard)
		if err != nil {
			return err
		}
		var text sql.NullString
		if err := tx.QueryRowContext(ctx, s.d.Rebind("SELECT marks FROM "+s.o.table+"_shards WHERE shard = ?"), batch.Shard).Scan(&text); err != nil {
			return err
		}
		marks, err := decodeMarks(text.String)
		if err != nil {
			return err
		}
		var rest []mark
		var ids []int64
		for _, m := range marks {
			if m.Topic == batch.Topic && m.Partition == batch.Partition && len(m.IDs) == len(batch.IDs) && m.IDs[0] == batch.IDs[0] {
				ids = m.IDs
				continue
			}
			rest = append(rest, m)
		}
		if ids == nil {
			return ErrFinished
		}
		if _, err := s.exec(ctx, tx, "UPDATE "+s.o.table+"_shards SET marks = ? WHERE shard = ?", encodeMarks(rest), batch.Shard); err != nil || !written {
			return err
		}
		in, args := s.in(ids)
		_, err = s.exec(ctx, tx, s.settled(in), args...)
		return err
	})
	if err != nil && !errors.Is(err, ErrFinished) {
		return fmt.Errorf("outbox: settle a batch: %w", err)
	}
	return err
}
