package outbox

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/expensevault/sharedlibrary/internal/backoff"
	"github.com/expensevault/sharedlibrary/internal/failpoint"
	"github.com/expensevault/sharedlibrary/messaging"
)

// resolve asks for a topic's partitions, apart from the worker: it may take a while.
func (w *worker) resolve(ctx context.Context, name string, key []byte) {
	w.topics[name].busy = true
	w.inFlight++
	go func() {
		_, err := w.run.sender.PartitionFor(ctx, name, key)
		w.results <- result{topic: name, err: err}
	}()
}

// resolved is the answer.
func (w *worker) resolved(res result) {
	t := w.topics[res.topic]
	t.busy, w.more = false, true
	switch {
	case res.err == nil:
		t.known, t.tries = true, 0
		w.run.outage.over()
	case reasonOf(res.err) != "":
		t.err = res.err
	default:
		w.run.outage.failed(res.err)
		t.again = time.Now().Add(retryPause().Pause(t.tries))
		t.tries++
	}
}

func retryPause() backoff.Policy {
	return backoff.Policy{Min: 100 * time.Millisecond, Max: 5 * time.Second}
}

// send begins an attempt at a marked batch.
func (w *worker) send(ctx context.Context, b *batch) {
	b.again = time.Time{}
	b.attempt++
	w.inFlight++
	go func() { w.results <- w.try(ctx, b) }()
}

// try sends a batch as its mark has it.
func (w *worker) try(ctx context.Context, b *batch) (res result) {
	res.batch = b
	if b.maybe && time.Since(b.tried) > w.run.store.o.memory {
		// The brokers may have forgotten the producer, and would take the batch for a new one.
		switch found, err := w.inTopic(ctx, b); {
		case err != nil:
			return result{batch: b, stuck: err}
		case found:
			return res
		}
	}
	if err := failpoint.Hit(ctx, "send"); err != nil {
		res.err = err
		return res
	}
	b.tried = time.Now()
	_, res.err = w.run.sender.PublishSequenced(ctx, messaging.Identity{ProducerID: b.ProducerID, Epoch: b.Epoch}, b.Topic, b.Partition, b.Sequence, b.recs)
	if err := failpoint.Hit(ctx, "sent"); err != nil {
		res.err = err
		return res
	}
	fenced, sequence := errors.Is(res.err, messaging.ErrFenced), errors.Is(res.err, messaging.ErrSequence)
	refused := b.maybe && messaging.SafeToRetry(res.err) && reasonOf(res.err) != ""
	if !fenced && !sequence && !refused || ctx.Err() != nil {
		return res
	}
	if fenced {
		if err := w.run.store.held(ctx, w.run.db, w.lease, ""); err != nil {
			res.err = err
			return res
		}
	}
	found, err := w.inTopic(ctx, b)
	switch {
	case found:
		res.err = nil
	case err == nil:
		res.absent = true
	case sequence && errors.Is(err, errNotSeen):
		// The broker knows the producer, and its last batches are not this one.
		res.absent = true
	default:
		res.stuck = errors.Join(err, res.err)
	}
	return res
}

// errNotSeen says that a batch is not among the last records of its partition; there are others before these.
var errNotSeen = errors.New("it is not among the last records of the partition")

// inTopic looks for the batch at the end of its partition. The error says that it can't be told.
func (w *worker) inTopic(ctx context.Context, b *batch) (bool, error) {
	const few, many = 1_000, 20_000
	seen := -1
	for _, n := range []int{few, many} {
		tail, err := w.run.sender.Tail(ctx, b.Topic, b.Partition, n)
		if err != nil {
			return false, fmt.Errorf("the end of the partition cannot be read: %w", err)
		}
		if containsRecords(tail, b.recs) {
			return true, nil
		}
		if len(tail) == seen { // looking further back finds nothing more: that is the whole partition
			return false, nil
		}
		seen = len(tail)
	}
	return false, fmt.Errorf("%w: of its last %d", errNotSeen, many)
}

// containsRecords reports whether recs stand in tail, one behind the other.
func containsRecords(tail, recs []messaging.Record) bool {
	for from := 0; from+len(recs) <= len(tail); from++ {
		same := true
		for i := range recs {
			if !sameRecord(&tail[from+i], &recs[i]) {
				same = false
				break
			}
		}
		if same {
			return true
		}
	}
	return false
}

// sameRecord compares what identifies an event: its ID is in the value.
func sameRecord(a, b *messaging.Record) bool {
	return bytes.Equal(a.Value, b.Value) && bytes.Equal(a.Key, b.Key) && (a.Key == nil) == (b.Key == nil) && (a.Value == nil) == (b.Value == nil)
}

// failed decides about a batch that was not acknowledged.
func (w *worker) failed(ctx context.Context, res result) error {
	b := res.batch
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	switch reason := reasonOf(res.err); {
	case res.stuck != nil:
		w.log.ErrorContext(ctx, "An unfinished batch of the outbox can be neither sent again nor given up: nobody knows whether it is in the topic. "+
			"Its partition waits; look for its events there and call Outbox.Settle", w.attrs(b, res.stuck)...)
		w.later(b)
		return nil //nolint:nilerr // it is tried again
	case errors.Is(res.err, errLost):
		return res.err
	case errors.Is(res.err, messaging.ErrClosed):
		return classifyClosed(res.err)
	case res.absent && (errors.Is(res.err, messaging.ErrFenced) || errors.Is(res.err, messaging.ErrSequence)):
		return w.startOver(ctx, b, res.err)
	case reason != "" && messaging.SafeToRetry(res.err) && (!b.maybe || res.absent):
		return w.refused(ctx, b, res.err, reason)
	case !messaging.SafeToRetry(res.err):
		b.maybe = true
	}
	w.run.outage.failed(res.err)
	w.log.WarnContext(ctx, "A batch of the outbox was not acknowledged and will be sent again", w.attrs(b, res.err)...)
	w.later(b)
	return nil
}

func (w *worker) attrs(b *batch, err error) []any {
	return []any{"messaging.destination.name", b.Topic, "messaging.destination.partition.id", b.Partition, "rows", len(b.IDs), "first", b.IDs[0], "attempt", b.attempt, "error", err}
}

func (w *worker) later(b *batch) { b.again = time.Now().Add(retryPause().Pause(b.attempt - 1)) }

// startOver gives a batch up that is not in the topic and that brokers do not
// take under its identity; its rows are pending again, for another one.
func (w *worker) startOver(ctx context.Context, b *batch, cause error) error {
	s, db := w.run.store, w.run.db
	rest := w.unfinished(b)
	if err := again(ctx, func() error { return s.mark(ctx, db, w.lease, rest) }); err != nil {
		return err
	}
	delete(w.busy, b.stream())
	if errors.Is(cause, messaging.ErrFenced) {
		// The lease is ours, and yet somebody has a higher epoch: a database that was set back, perhaps.
		if err := s.disown(ctx, db, w.lease); err != nil {
			return err
		}
	}
	return fmt.Errorf("%w: %w", errRenew, cause)
}

// refused parks what the broker will not take. The batch is not in the topic.
func (w *worker) refused(ctx context.Context, b *batch, cause error, reason string) error {
	s, db := w.run.store, w.run.db
	var parks []parking
	switch {
	case reason == ReasonUnknownTopic || reason == ReasonNotAuthorized || len(b.IDs) == 1:
		for i, id := range b.IDs {
			parks = append(parks, w.parking(id, cause, reason))
			w.parkKey(id, &b.recs[i])
		}
	default: // one of them may be to blame, or all of them together
		w.most[b.stream()] = max(len(b.IDs)/2, 1)
	}
	rest := w.unfinished(b)
	err := s.tx(ctx, db, func(tx *sql.Tx) error {
		if err := s.mark(ctx, tx, w.lease, rest); err != nil {
			return err
		}
		for _, p := range parks {
			if err := s.park(ctx, tx, p); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, p := range parks {
		w.log.ErrorContext(ctx, "An event of the outbox cannot be published and is parked; those of its key wait", "id", p.id, "reason", p.reason, "error", p.detail)
		if p.retry > 0 {
			w.retrySoon(p.retry)
		}
	}
	if reason == ReasonUnknownTopic {
		delete(w.topics, b.Topic)
	}
	w.freed(b)
	return w.unlock(ctx)
}
