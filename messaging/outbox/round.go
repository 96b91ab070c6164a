package outbox

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"time"

	"github.com/expensevault/sharedlibrary/internal/failpoint"
	"github.com/expensevault/sharedlibrary/messaging"
)

// round is what becomes of the pending rows that were fetched together. Rows
// keep their order within a key because everything that holds one of them back
// holds those behind it back as well: a busy partition, a batch that is full, a
// row that is parked.
type round struct {
	w       *worker
	fresh   map[stream]*batch
	size    map[stream]int
	full    map[stream]bool // takes no more in this round
	inBatch map[int64]struct{}
	keyless map[string]int32 // the partition of rows without a key
	parks   []parking
	behind  []int64 // rows behind one that is parked
	late    []int64 // rows for a stream that is busy with an earlier batch
	left    bool    // rows that only this round has no place for
}

// round fetches pending rows, marks batches of them and begins to send these.
func (w *worker) round(ctx context.Context) error {
	s, db := w.run.store, w.run.db
	w.more = false
	r := &round{
		w: w, fresh: make(map[stream]*batch), size: make(map[stream]int), full: make(map[stream]bool),
		inBatch: make(map[int64]struct{}), keyless: make(map[string]int32),
	}
	for _, b := range w.busy {
		for _, id := range b.IDs {
			r.inBatch[id] = struct{}{}
		}
	}
	rows, more, err := s.fetch(ctx, db, w.shard, s.o.rows+len(r.inBatch))
	if err != nil {
		return err
	}
	if err := failpoint.Hit(ctx, "fetched"); err != nil {
		return err
	}
	for i := range rows {
		if err := r.add(ctx, &rows[i]); err != nil {
			return err
		}
	}
	for _, t := range w.topics {
		t.err = nil // its rows are parked; others have it asked for again
	}
	if err := r.putAside(ctx, more); err != nil {
		return err
	}
	if r.left || more && len(r.fresh) > 0 {
		w.more = true
	}
	return r.begin(ctx)
}

// add finds a row its place.
func (r *round) add(ctx context.Context, row *row) error {
	w := r.w
	if _, sending := r.inBatch[row.id]; sending {
		return nil
	}
	rec := &row.record
	if rec.Key != nil {
		if first, ok := w.parked[topicKey{rec.Topic, string(rec.Key)}]; ok && row.id > first {
			r.behind = append(r.behind, row.id)
			return nil
		}
	}
	if err := checkRow(row); err != nil {
		r.park(row, err, reasonOf(err))
		return nil
	}
	t := w.topics[rec.Topic]
	if t == nil {
		t = &topic{}
		w.topics[rec.Topic] = t
	}
	switch {
	case t.err != nil:
		r.park(row, t.err, reasonOf(t.err))
		return nil //nolint:nilerr // the row is parked with it
	case !t.known:
		if !t.busy && t.again.IsZero() {
			w.resolve(ctx, rec.Topic, rec.Key)
		}
		r.late = append(r.late, row.id)
		return nil
	}
	partition, err := r.partition(ctx, rec)
	if err != nil {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		t.known = false // asked for again, apart from this goroutine
		w.resolve(ctx, rec.Topic, rec.Key)
		r.late = append(r.late, row.id)
		return nil
	}
	r.place(row, stream{rec.Topic, partition})
	return nil
}

// partition asks for what the publisher knows by now, which takes no time.
func (r *round) partition(ctx context.Context, rec *messaging.Record) (int32, error) {
	if rec.Key == nil {
		if p, ok := r.keyless[rec.Topic]; ok {
			return p, nil
		}
	}
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	p, err := r.w.run.sender.PartitionFor(ctx, rec.Topic, rec.Key)
	if err == nil && rec.Key == nil {
		r.keyless[rec.Topic] = p
	}
	return p, err
}

// place puts the row into its stream's batch of this round.
func (r *round) place(row *row, to stream) {
	w := r.w
	if w.busy[to] != nil {
		r.late = append(r.late, row.id)
		return
	}
	size := row.record.Size()
	b := r.fresh[to]
	if b != nil {
		most := w.most[to]
		if r.full[to] || r.size[to]+size > messaging.MaxBatchBytes || most > 0 && len(b.IDs) >= most {
			r.full[to], r.left = true, true
			return
		}
	} else {
		b = &batch{mark: mark{
			Topic: to.topic, Partition: to.partition, ProducerID: w.identity.ProducerID, Epoch: w.identity.Epoch,
			Sequence: w.sequence[to], Millis: w.clock(),
		}}
		r.fresh[to] = b
	}
	b.IDs = append(b.IDs, row.id)
	b.recs = append(b.recs, row.record)
	r.size[to] += size
}

func (r *round) park(row *row, err error, reason string) {
	r.parks = append(r.parks, r.w.parking(row.id, err, reason))
	r.w.parkKey(row.id, &row.record)
}

// parkKey has the rows behind this one wait.
func (w *worker) parkKey(id int64, rec *messaging.Record) {
	if rec.Key == nil {
		return
	}
	k := topicKey{rec.Topic, string(rec.Key)}
	if first, ok := w.parked[k]; !ok || id < first {
		w.parked[k] = id
	}
}

func (w *worker) parking(id int64, err error, reason string) parking {
	p := parking{id: id, reason: reason, detail: err.Error()}
	if reason == ReasonUnknownTopic || reason == ReasonNotAuthorized {
		p.retry = w.run.store.o.repark
	}
	return p
}

// putAside writes which rows are parked, and which wait.
func (r *round) putAside(ctx context.Context, more bool) error {
	w := r.w
	s := w.run.store
	// Rows of busy streams stay where they are, unless they would hide the others.
	var hidden []int64
	if more && len(r.late) > s.o.rows/2 {
		hidden = r.late
	}
	if len(r.parks) == 0 && len(r.behind) == 0 && len(hidden) == 0 {
		return nil
	}
	behind := make(map[int64]struct{}, len(r.behind))
	for _, id := range r.behind {
		behind[id] = struct{}{}
	}
	err := s.locked(ctx, w.run.db, w.lease, func(tx *sql.Tx) error {
		for _, p := range r.parks {
			if err := s.park(ctx, tx, p); err != nil {
				return err
			}
		}
		// What is parked may have been retried or dropped by others: only what is still so makes others wait.
		parked, err := s.parkedKeys(ctx, tx, w.shard)
		if err != nil {
			return err
		}
		w.parked = parked
		if len(r.behind) > 0 {
			if err := s.setWaitingBehind(ctx, tx, r.behind, parked); err != nil {
				return err
			}
		}
		if len(hidden) > 0 {
			return s.setWaiting(ctx, tx, hidden)
		}
		return nil
	})
	if err != nil {
		return err
	}
	if len(hidden) > 0 {
		w.waiting, w.more = true, true
	}
	if len(r.behind) > 0 {
		w.more = true // those that need not wait
	}
	for _, p := range r.parks {
		w.log.ErrorContext(ctx, "An event of the outbox cannot be published and is parked; those of its key wait", "id", p.id, "reason", p.reason, "error", p.detail)
		if p.retry > 0 {
			w.retrySoon(p.retry)
		}
	}
	return nil
}

func (w *worker) retrySoon(d time.Duration) {
	if at := time.Now().Add(d); w.retry.IsZero() || at.Before(w.retry) {
		w.retry = at
	}
}

// begin marks the batches, and only then sends them.
func (r *round) begin(ctx context.Context) error {
	w := r.w
	if len(r.fresh) == 0 {
		return nil
	}
	maps.Copy(w.busy, r.fresh)
	marks := w.unfinished()
	if err := failpoint.Hit(ctx, "unmarked"); err != nil {
		return err
	}
	if err := again(ctx, func() error { return w.run.store.mark(ctx, w.run.db, w.lease, marks) }); err != nil {
		return err
	}
	if err := failpoint.Hit(ctx, "marked"); err != nil {
		return err
	}
	w.run.progress.Add(1)
	for _, b := range r.fresh {
		w.send(ctx, b)
	}
	return nil
}

// legalTopic is what Kafka takes.
const legalTopic = `^[a-zA-Z0-9._-]{1,249}$`

// checkRow refuses what Kafka would refuse.
func checkRow(r *row) error {
	if r.bad != nil {
		return fmt.Errorf("%w: %w", messaging.ErrInvalidEvent, r.bad)
	}
	name := r.record.Topic
	if ok, err := regexp.MatchString(legalTopic, name); err != nil || !ok || name == "." || name == ".." {
		return fmt.Errorf("%w: Kafka has no topics named %q", messaging.ErrInvalidEvent, name)
	}
	if n := r.record.Size(); n > messaging.MaxBatchBytes {
		return fmt.Errorf("%w: %d bytes, the limit is %d", messaging.ErrTooLarge, n, messaging.MaxBatchBytes)
	}
	return nil
}

// reasonOf is why a record can never be published; "" for what passes.
func reasonOf(err error) string {
	switch {
	case errors.Is(err, messaging.ErrTooLarge):
		return ReasonTooLarge
	case errors.Is(err, messaging.ErrInvalidEvent):
		return ReasonInvalid
	case errors.Is(err, messaging.ErrUnknownTopic):
		return ReasonUnknownTopic
	case errors.Is(err, messaging.ErrNotAuthorized):
		return ReasonNotAuthorized
	}
	var typed interface{ ErrorType() string }
	if errors.As(err, &typed) {
		switch typed.ErrorType() {
		case "INVALID_RECORD", "INVALID_TIMESTAMP", "INVALID_TOPIC_EXCEPTION", "POLICY_VIOLATION", "UNSUPPORTED_FOR_MESSAGE_FORMAT":
			return ReasonInvalid
		}
	}
	return ""
}
