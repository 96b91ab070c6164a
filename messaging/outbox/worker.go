package outbox

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"sync/atomic"
	"time"

	"github.com/expensevault/sharedlibrary/internal/failpoint"
	"github.com/expensevault/sharedlibrary/messaging"
)

var (
	// errFatal ends Run.
	errFatal = errors.New("outbox: the publisher was closed while the relay runs")
	// errRenew has the shard taken anew, with the next epoch.
	errRenew = errors.New("outbox: a new epoch is needed")
)

// worker relays one shard, for as long as the lease is ours. Its fields belong
// to its goroutine, but for what others are said to use.
type worker struct {
	lease

	run   *run
	log   *slog.Logger
	marks []mark    // of whoever had the shard before
	born  time.Time // when the database's clock said now
	now   int64

	identity messaging.Identity
	sequence map[stream]int32   // of the next record, under this identity
	most     map[stream]int     // rows of a batch, where a larger one was refused
	busy     map[stream]*batch  // marked and not finished
	parked   map[topicKey]int64 // keys with a parked row, and the first of these. More than there are, never fewer
	topics   map[string]*topic
	inFlight int  // batches and topics that are being worked on
	recover  int  // batches of former owners that were not tried yet
	more     bool // there may be pending rows
	waiting  bool // rows were put aside for a busy stream
	retry    time.Time
	results  chan result

	work     chan struct{} // others': look for rows
	leaving  chan struct{} // others': settle and give the shard back
	left     bool          // the run's: leaving is closed
	fence    atomic.Int64  // others': the epoch
	cancel   context.CancelCauseFunc
	ctxDone  context.Context //nolint:containedctx // the life of the worker
	deadline *time.Timer     // of the lease
	err      error           // how it ended; others' when it has
}

// topic is one that rows name.
type topic struct {
	known bool      // it has partitions
	busy  bool      // being asked for
	err   error     // why rows for it are to be parked
	again time.Time // not asked for before
	tries int
}

// result is what became of a batch or a topic.
type result struct {
	batch  *batch
	topic  string
	err    error
	absent bool  // of a batch that failed: it is not in the topic
	stuck  error // of a batch that may not be sent: it can't be told whether it is in the topic
}

func newWorker(r *run, t *tenure, now time.Time) *worker {
	w := &worker{
		lease: t.lease, run: r, log: r.log.With("shard", t.shard), marks: t.marks, born: now, now: t.now,
		identity: messaging.Identity{ProducerID: t.producer},
		sequence: make(map[stream]int32), most: make(map[stream]int), busy: make(map[stream]*batch), topics: make(map[string]*topic), parked: make(map[topicKey]int64),
		more: true, results: make(chan result, 16), work: make(chan struct{}, 1), leaving: make(chan struct{}),
	}
	w.fence.Store(int64(t.epoch))
	// Once per tenure; its context is made here so that others can end it at any time.
	w.ctxDone, w.cancel = context.WithCancelCause(context.Background())
	w.deadline = time.AfterFunc(time.Until(now.Add(r.store.o.lease)), func() { w.stop(errLost) })
	return w
}

// extend moves the end of the lease, as this process sees it.
func (w *worker) extend(until time.Time) { w.deadline.Reset(time.Until(until)) }

// stop ends the worker at once.
func (w *worker) stop(cause error) { w.cancel(cause) }

// handOver has the worker settle what it has begun, and give the shard back. Only the run's goroutine calls it.
func (w *worker) handOver() {
	if !w.left {
		w.left = true
		close(w.leaving)
	}
}

// main works until the shard is lost or given back. When it returns, nothing of it is left.
func (w *worker) main(parent context.Context) (err error) {
	ctx, cancel := context.WithCancelCause(parent)
	defer cancel(nil)
	defer context.AfterFunc(w.ctxDone, func() { cancel(context.Cause(w.ctxDone)) })() //nolint:contextcheck // another's life ends this one
	defer w.deadline.Stop()
	defer func() {
		cancel(nil)
		for w.inFlight > 0 { // their goroutines
			<-w.results
			w.inFlight--
		}
		if cause := context.Cause(w.ctxDone); cause != nil && //nolint:contextcheck // how it ended
			!errors.Is(cause, context.Canceled) {
			err = cause
		}
		if err == nil || errors.Is(err, errRenew) || errors.Is(err, context.Canceled) {
			err = errors.Join(dropCanceled(err), w.release(parent))
		}
	}()
	if err := w.begin(ctx); err != nil {
		return err
	}
	return w.loop(ctx)
}

func dropCanceled(err error) error {
	if errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

func (w *worker) release(ctx context.Context) error {
	if err := failpoint.Hit(ctx, "release"); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, w.run.store.o.lease/2)
	defer cancel()
	err := again(ctx, func() error { return w.run.store.release(ctx, w.run.db, w.lease) })
	if errors.Is(err, errLost) {
		return nil
	}
	return err
}

// begin sends again what former owners began, and only then takes an identity with a higher epoch.
func (w *worker) begin(ctx context.Context) error {
	s, db := w.run.store, w.run.db
	for _, m := range w.marks {
		b, err := w.rebuild(ctx, m)
		if err != nil {
			return err
		}
		w.busy[b.stream()] = b
		w.recover++
	}
	if err := failpoint.Hit(ctx, "rebuilt"); err != nil {
		return err
	}
	for _, b := range w.busy {
		w.send(ctx, b)
	}
	for w.recover > 0 {
		if err := w.settle(ctx); err != nil {
			return err
		}
	}
	if err := failpoint.Hit(ctx, "recovered"); err != nil {
		return err
	}
	if w.identity.ProducerID < 0 || w.epoch > math.MaxInt16 {
		id, err := w.newIdentity(ctx)
		if err != nil {
			return err
		}
		if err := s.adopt(ctx, db, w.lease, id.ProducerID); err != nil {
			return err
		}
		w.identity, w.epoch = id, 0
		w.fence.Store(0)
		if err := failpoint.Hit(ctx, "identified"); err != nil {
			return err
		}
	}
	w.identity.Epoch = int16(w.epoch) //nolint:gosec // it is not above MaxInt16
	return s.locked(ctx, db, w.lease, func(tx *sql.Tx) error {
		if err := s.unlockWaiting(ctx, tx, w.shard); err != nil {
			return err
		}
		parked, err := s.parkedKeys(ctx, tx, w.shard)
		w.parked = parked
		w.retry = time.Now() // finds out when
		return err
	})
}

// newIdentity waits for brokers that are away: a new tenure for each try would use the epochs up.
func (w *worker) newIdentity(ctx context.Context) (messaging.Identity, error) {
	for n := 0; ; n++ {
		id, err := w.run.sender.NewIdentity(ctx)
		switch {
		case err == nil:
			return id, nil
		case errors.Is(err, messaging.ErrClosed):
			return id, classifyClosed(err)
		case ctx.Err() != nil:
			return id, context.Cause(ctx)
		}
		w.run.outage.failed(err)
		w.log.WarnContext(ctx, "The relay gets no producer identity and tries again", "error", err)
		pause := time.NewTimer(retryPause().Pause(n))
		select {
		case <-pause.C:
		case <-w.leaving:
			pause.Stop()
			return id, context.Canceled
		case <-ctx.Done():
			pause.Stop()
			return id, context.Cause(ctx)
		}
	}
}

// rebuild makes a batch of its mark, as it was.
func (w *worker) rebuild(ctx context.Context, m mark) (*batch, error) {
	rows, err := w.run.store.load(ctx, w.run.db, m.IDs)
	if err != nil {
		return nil, err
	}
	byID := make(map[int64]*row, len(rows))
	for i := range rows {
		byID[rows[i].id] = &rows[i]
	}
	b := &batch{mark: m, maybe: true, tried: w.born.Add(-time.Duration(w.now-m.Millis) * time.Millisecond)}
	for _, id := range m.IDs {
		r := byID[id]
		if r == nil || r.bad != nil {
			return nil, fmt.Errorf("row %d of an unfinished batch for %s, partition %d, is missing or was changed by others: "+
				"the batch cannot be sent again as it was; see Outbox.Settle", id, m.Topic, m.Partition)
		}
		b.recs = append(b.recs, r.record)
	}
	return b, nil
}

// clock is the database's, about.
func (w *worker) clock() int64 { return w.now + time.Since(w.born).Milliseconds() }

// patience is for how long a round waits for the batches of the one before it, which make better ones together.
const patience = 25 * time.Millisecond

func (w *worker) loop(ctx context.Context) error {
	var timer *time.Timer
	defer func() {
		if timer != nil {
			timer.Stop()
		}
	}()
	leaving := false
	var began time.Time // the last round
	for {
		if leaving && w.inFlight == 0 {
			return nil
		}
		if !leaving && w.more && (w.inFlight == 0 || time.Since(began) >= patience) {
			began = time.Now()
			if err := w.round(ctx); err != nil {
				return err
			}
		}
		if timer != nil {
			timer.Stop()
		}
		var due <-chan time.Time
		if at := w.nextRetry(); !leaving && !at.IsZero() {
			timer = time.NewTimer(max(time.Until(at), 0))
			due = timer.C
		}
		var hurry <-chan time.Time // there may be rows for partitions that wait for nothing
		if w.more && !leaving {
			if w.inFlight == 0 {
				continue
			}
			hurry = time.After(patience)
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-w.leaving:
			leaving = true
		case res := <-w.results:
			if err := w.settleAll(ctx, res); err != nil {
				return err
			}
		case <-w.work:
			w.more = true
		case <-hurry:
		case <-due:
			if err := w.retryNow(ctx); err != nil {
				return err
			}
		}
		select { // a leaving that came with others
		case <-w.leaving:
			leaving = true
		default:
		}
	}
}

// nextRetry is when something is to be tried again; zero for never.
func (w *worker) nextRetry() time.Time {
	at := w.retry
	earlier := func(t time.Time) {
		if !t.IsZero() && (at.IsZero() || t.Before(at)) {
			at = t
		}
	}
	for _, b := range w.busy {
		earlier(b.again)
	}
	for _, t := range w.topics {
		earlier(t.again)
	}
	return at
}

// retryNow tries again what is due.
func (w *worker) retryNow(ctx context.Context) error {
	now := time.Now()
	for _, b := range w.busy {
		if !b.again.IsZero() && !b.again.After(now) {
			w.send(ctx, b)
		}
	}
	for _, t := range w.topics {
		if !t.again.IsZero() && !t.again.After(now) {
			t.again = time.Time{}
			w.more = true
			if err := w.unlock(ctx); err != nil {
				return err
			}
		}
	}
	if w.retry.IsZero() || w.retry.After(now) {
		return nil
	}
	w.retry = time.Time{}
	released, next, err := w.run.store.retryDue(ctx, w.run.db, w.lease)
	if err != nil {
		return err
	}
	w.more = w.more || released
	if next > 0 {
		w.retry = time.Now().Add(next)
	}
	return nil
}

// settle waits for one result, and those that come with it.
func (w *worker) settle(ctx context.Context) error {
	select {
	case res := <-w.results:
		return w.settleAll(ctx, res)
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// gather is how long the first result waits for others, which then cost no statement of their own.
const gather = 3 * time.Millisecond

func (w *worker) settleAll(ctx context.Context, first result) error {
	all := []result{first}
	w.inFlight--
	timeout := time.NewTimer(gather)
	defer timeout.Stop()
wait:
	for w.inFlight > 0 {
		select {
		case res := <-w.results:
			w.inFlight--
			all = append(all, res)
		case <-timeout.C:
			break wait
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	var done []*batch
	for _, res := range all {
		if res.batch == nil {
			w.resolved(res)
			if err := w.unlock(ctx); err != nil {
				return err
			}
			continue
		}
		if res.batch.attempt == 1 && w.recover > 0 {
			w.recover--
		}
		if res.err == nil && res.stuck == nil {
			done = append(done, res.batch)
		}
	}
	if err := w.finish(ctx, done); err != nil {
		return err
	}
	for _, res := range all {
		if res.batch != nil && (res.err != nil || res.stuck != nil) {
			if err := w.failed(ctx, res); err != nil {
				return err
			}
		}
	}
	return nil
}

// unfinished are the marks of the batches but for these.
func (w *worker) unfinished(without ...*batch) []mark {
	var out []mark
next:
	for _, b := range w.busy {
		for _, x := range without {
			if b == x {
				continue next
			}
		}
		out = append(out, b.mark)
	}
	return out
}

// finish writes that batches are acknowledged.
func (w *worker) finish(ctx context.Context, done []*batch) error {
	if len(done) == 0 {
		return nil
	}
	if err := failpoint.Hit(ctx, "acknowledged"); err != nil {
		return err
	}
	var ids []int64
	for _, b := range done {
		ids = append(ids, b.IDs...)
	}
	rest := w.unfinished(done...)
	if err := again(ctx, func() error { return w.run.store.finish(ctx, w.run.db, w.lease, rest, ids) }); err != nil {
		return err
	}
	if err := failpoint.Hit(ctx, "finished"); err != nil {
		return err
	}
	w.run.progress.Add(1)
	w.run.outage.over()
	for _, b := range done {
		w.freed(b)
		if b.ProducerID == w.identity.ProducerID && int(b.Epoch) == w.epoch {
			w.sequence[b.stream()] = nextSequence(b.Sequence, len(b.IDs))
		}
		if most := w.most[b.stream()]; most > 0 && len(b.IDs) >= most {
			w.most[b.stream()] = most * 2
		}
	}
	return w.unlock(ctx)
}

// freed has the stream take the next batch.
func (w *worker) freed(b *batch) {
	delete(w.busy, b.stream())
	w.more = true
}

// unlock has rows looked at again that were put aside for a stream that was busy.
func (w *worker) unlock(ctx context.Context) error {
	if !w.waiting {
		return nil
	}
	w.waiting = false
	return w.run.store.locked(ctx, w.run.db, w.lease, func(tx *sql.Tx) error { return w.run.store.unlockWaiting(ctx, tx, w.shard) })
}

// classifyClosed makes the error of a closed publisher fatal.
func classifyClosed(err error) error {
	if errors.Is(err, messaging.ErrClosed) {
		return fmt.Errorf("%w: %w", errFatal, err)
	}
	return err
}
