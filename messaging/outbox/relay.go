package outbox

import (
	"context"
	"crypto/rand"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync/atomic"
	"time"

	"github.com/expensevault/sharedlibrary/internal/failpoint"
)

// Relay publishes what stands in the outbox. Any number of relays may run on
// one outbox, in any number of processes: each takes its share of the shards
// into which the keys are divided, and a shard is one relay's at a time.
type Relay struct {
	db      *sql.DB
	store   *store
	sender  Sender
	log     *slog.Logger
	err     error // of what NewRelay was given
	running atomic.Bool
	shards  atomic.Int64 // that it has
	outage  outage
}

// NewRelay returns a relay from an outbox to Kafka; s is a
// [messaging.KafkaPublisher], with acks from all replicas. What is wrong with
// an argument is the error of Run.
func NewRelay(db *sql.DB, d Dialect, s Sender, opts ...Option) *Relay {
	o := newOptions(opts)
	r := &Relay{db: db, store: newStore(d, o), sender: s, log: o.log, err: o.check(d)}
	switch {
	case r.err != nil:
	case db == nil:
		r.err = errors.New("outbox: there is no database: NewRelay(nil, …)")
	case s == nil:
		r.err = errors.New("outbox: there is no publisher: NewRelay(…, nil)")
	}
	return r
}

// Run relays until ctx ends: what is being sent then is settled, for half of
// the lease at most, the shards are given back, and Run returns nil. Databases
// and brokers that are away are waited for. It returns an error for arguments
// that make no sense, a publisher that was closed, and when it runs already.
func (r *Relay) Run(ctx context.Context) error {
	if r.err != nil {
		return r.err
	}
	if !r.running.CompareAndSwap(false, true) {
		return errors.New("outbox: the relay runs already")
	}
	defer r.running.Store(false)
	name, err := relayName()
	if err != nil {
		return err
	}
	run := &run{
		Relay: r, name: name, wake: make(chan struct{}, 1),
		workers: make(map[int]*worker), ended: make(chan *worker), poll: r.store.o.pollMin,
	}
	defer r.store.o.signal.join(run.wake)()
	defer run.observe()()
	defer func() {
		r.shards.Store(0)
		r.outage.over()
	}()
	listening := make(chan struct{})
	listenCtx, stopListening := context.WithCancel(ctx)
	defer func() {
		stopListening()
		<-listening
	}()
	go func() {
		defer close(listening)
		run.listen(listenCtx)
	}()
	return run.loop(ctx)
}

// relayName is unique for each Run, and says to people where it is.
func relayName() (string, error) {
	unique := make([]byte, 8)
	if _, err := rand.Read(unique); err != nil {
		return "", fmt.Errorf("outbox: no random name for the relay: %w", err)
	}
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	return fmt.Sprintf("%.60s/%d/%s", host, os.Getpid(), hex.EncodeToString(unique)), nil
}

// run is one call of Run.
type run struct {
	*Relay

	name     string
	wake     chan struct{}
	workers  map[int]*worker // by shard
	ended    chan *worker    // those whose goroutine ends
	poll     time.Duration   // until the next look
	progress atomic.Int64    // of all workers
	seen     int64           // of progress, at the last look
	trouble  int             // failures in a row
	cleaned  time.Time
	fatal    error
}

func (r *run) loop(ctx context.Context) error {
	o := &r.store.o
	work := context.WithoutCancel(ctx) // workers end by themselves
	beat := time.NewTimer(0)
	defer beat.Stop()
	look := time.NewTimer(o.pollMin)
	defer look.Stop()
	done := ctx.Done()
	for {
		r.shards.Store(int64(len(r.workers)))
		select {
		case <-done:
			done = nil
			r.stopAll()
		case w := <-r.ended:
			r.buried(ctx, w)
			if done != nil && w.err != nil {
				beat.Reset(r.pause()) // takes the shard again
			}
		case <-beat.C:
			beat.Reset(r.beat(work, done == nil))
		case <-r.wake:
			r.poll = 0
			look.Reset(r.look(work))
		case <-look.C:
			look.Reset(r.look(work))
		}
		if r.fatal != nil && done != nil {
			done = nil
			r.stopAll()
		}
		if done == nil && len(r.workers) == 0 {
			bye, cancel := context.WithTimeout(work, o.lease/2)
			defer cancel()
			if err := r.store.leave(bye, r.db, r.name); err != nil {
				r.log.DebugContext(ctx, "The relay could not say that it leaves", "error", err)
			}
			return r.fatal
		}
	}
}

// pause is how long to wait after a failure.
func (r *run) pause() time.Duration {
	r.trouble++
	return min(50*time.Millisecond<<min(r.trouble, 6), r.store.o.lease/4)
}

// beat renews the leases, and takes or gives back shards, for a fair share. It returns when to do so again.
func (r *run) beat(ctx context.Context, stopping bool) time.Duration {
	ctx, cancel := context.WithTimeout(ctx, r.store.o.lease/2)
	defer cancel()
	if err := r.renew(ctx, stopping); err != nil {
		r.outage.failed(err)
		r.log.WarnContext(ctx, "The relay cannot renew its leases and tries again", "error", err)
		return r.pause()
	}
	if r.trouble > 0 {
		r.trouble = 0
		r.outage.over()
	}
	if r.store.o.keep > 0 && time.Since(r.cleaned) > min(r.store.o.keep/10, time.Minute) {
		r.clean(ctx)
	}
	return r.store.o.lease / 4
}

func (r *run) renew(ctx context.Context, stopping bool) error {
	if err := failpoint.Hit(ctx, "beat"); err != nil {
		return err
	}
	now := time.Now() // before the database's
	live, err := r.store.beat(ctx, r.db, r.name)
	if err != nil {
		return err
	}
	owned := make([]int, 0, shards)
	for shard := range r.workers {
		owned = append(owned, shard)
	}
	epochs, err := r.store.renew(ctx, r.db, r.name, owned)
	if err != nil {
		return err
	}
	for shard, w := range r.workers {
		// A worker that has just adopted an identity has another epoch than was read, and is not judged by it.
		if epoch, ours := epochs[shard]; ours && int64(epoch) == w.fence.Load() {
			w.extend(now.Add(r.store.o.lease))
		} else if !ours {
			w.stop(errLost)
		}
	}
	if stopping {
		return nil
	}
	fair := (shards + max(live, 1) - 1) / max(live, 1)
	staying := 0
	for _, w := range r.workers {
		switch {
		case w.left:
		case staying < fair:
			staying++
		default:
			w.handOver()
		}
	}
	var candidates []int
	for shard := range epochs { // whose worker failed
		if r.workers[shard] == nil {
			candidates = append(candidates, shard)
		}
	}
	if staying+len(candidates) < fair {
		free, err := r.store.free(ctx, r.db)
		if err != nil {
			return err
		}
		candidates = append(candidates, free...)
	}
	for _, shard := range candidates {
		if staying >= fair {
			break
		}
		if r.workers[shard] != nil || shard < 0 || shard >= shards {
			continue
		}
		switch err := r.take(ctx, shard); {
		case err == nil:
			staying++
		case !errors.Is(err, errLost): // else another relay was faster
			return err
		}
	}
	return nil
}

func (r *run) take(ctx context.Context, shard int) error {
	now := time.Now()
	t, err := r.store.acquire(ctx, r.db, shard, r.name)
	if err != nil {
		return err
	}
	if err := failpoint.Hit(ctx, "acquired"); err != nil {
		return err
	}
	w := newWorker(r, &t, now)
	r.workers[shard] = w
	ctx = context.WithoutCancel(ctx)
	go func() {
		w.err = w.main(ctx)
		r.ended <- w
	}()
	return nil
}

// buried forgets a worker that has ended.
func (r *run) buried(ctx context.Context, w *worker) {
	delete(r.workers, w.shard)
	switch {
	case w.err == nil:
	case errors.Is(w.err, errFatal):
		r.fatal = w.err
	case errors.Is(w.err, errLost):
		r.log.WarnContext(ctx, "A shard of the outbox went to another relay", "shard", w.shard)
	case errors.Is(w.err, errRenew):
		r.log.WarnContext(ctx, "A shard of the outbox begins a new epoch", "shard", w.shard, "error", w.err)
	default:
		r.log.WarnContext(ctx, "Relaying a shard of the outbox failed; it begins again", "shard", w.shard, "error", w.err)
	}
}

func (r *run) stopAll() {
	for _, w := range r.workers {
		w.handOver()
		time.AfterFunc(r.store.o.lease/2, func() { w.stop(context.Canceled) })
	}
}

// look wakes the workers of the shards that have pending rows, and returns when to look again.
func (r *run) look(ctx context.Context) time.Duration {
	o := &r.store.o
	if n := r.progress.Load(); n != r.seen || r.poll < o.pollMin {
		r.seen, r.poll = n, o.pollMin
	} else {
		r.poll = min(r.poll*2, o.pollMax)
	}
	if len(r.workers) == 0 {
		return r.poll
	}
	ctx, cancel := context.WithTimeout(ctx, o.lease/2)
	defer cancel()
	if err := failpoint.Hit(ctx, "look"); err != nil {
		return o.pollMax
	}
	work, err := r.store.working(ctx, r.db, r.name)
	if err != nil {
		r.log.DebugContext(ctx, "The outbox cannot be looked at", "error", err)
		return o.pollMax
	}
	for _, shard := range work {
		if w := r.workers[shard]; w != nil {
			wake(w.work)
		}
	}
	return r.poll
}

// listen has the listener wake the relay.
func (r *run) listen(ctx context.Context) {
	l := r.store.o.listener
	for n := 0; l != nil; n++ {
		err := l(ctx, r.store.o.table, func() { wake(r.wake) })
		if ctx.Err() != nil {
			return
		}
		r.log.WarnContext(ctx, "The relay is not notified by the database for the moment, and finds rows by polling", "error", err)
		select {
		case <-time.After(min(100*time.Millisecond<<min(n, 6), 5*time.Second)):
		case <-ctx.Done():
		}
	}
}

// clean deletes rows that were kept long enough.
func (r *run) clean(ctx context.Context) {
	r.cleaned = time.Now()
	for range 20 { // the rest another time: leases are to be renewed
		n, err := r.store.clean(ctx, r.db)
		if err != nil {
			r.log.WarnContext(ctx, "Published rows cannot be deleted from the outbox", "error", err)
		}
		if err != nil || n == 0 {
			return
		}
	}
}
