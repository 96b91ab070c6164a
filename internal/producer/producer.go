package producer

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"sync"
	"time"

	"github.com/segmentio/kafka-go/compress"

	"github.com/expensevault/sharedlibrary/internal/backoff"
	"github.com/expensevault/sharedlibrary/internal/cluster"
	"github.com/expensevault/sharedlibrary/internal/recordbatch"
)

// Params is everything that New needs.
type Params struct {
	Cluster        *cluster.Cluster // closed by Close
	Logger         *slog.Logger
	Acks           int16
	Idempotent     bool
	MaxInFlight    int // requests per broker
	MessageTimeout time.Duration
	RequestTimeout time.Duration
	Backoff        backoff.Policy
	Partitioner    Partitioner
	Compression    compress.Compression
	BufferBytes    int
	Linger         time.Duration // how long what waits may wait for company though nothing is in flight
	Observer       Observer      // nil: nobody
}

// Producer is safe for concurrent use.
type Producer struct {
	params  Params
	attempt time.Duration   // how long one request may take
	ctx     context.Context //nolint:containedctx // the lifetime of its goroutines, which Close ends
	cancel  context.CancelFunc
	wg      sync.WaitGroup
	keep    chan struct{} // wakes the housekeeper; of one token
	sweepC  chan struct{} // wakes the sweeper; of one token
	closing chan struct{} // closed when Close begins
	closed  chan struct{} // closed when Close is through

	born    time.Time
	memory  recordbatch.Pool
	batches sync.Pool // of *batch
	leaders leaders

	mu       sync.Mutex
	shut     bool
	buf      buffer
	topics   map[string]*topic
	senders  map[int32]*sender
	id       int64 // producer ID for partitions that need one
	epoch    int16
	wantMeta bool
	wantID   bool
	flush    *flushGroup   // what is produced now belongs to it
	flushes  []*flushGroup // earlier ones, perhaps not settled
	sweepAt  int64         // when the sweeper looks next; math.MaxInt64: when it is woken
	trouble  trouble       // the housekeeper's
	out      []settlement  // to be run when the mutex is free
	logs     []func()      // likewise
}

// New returns a producer that has not connected yet.
func New(p Params) *Producer {
	ctx, cancel := context.WithCancel(context.Background())
	out := &Producer{
		params: p,
		// A lost answer must leave time for a second try.
		attempt: min(p.RequestTimeout, p.MessageTimeout/3),
		ctx:     ctx, cancel: cancel,
		keep: make(chan struct{}, 1), sweepC: make(chan struct{}, 1),
		closing: make(chan struct{}), closed: make(chan struct{}),
		born:    time.Now(),
		sweepAt: math.MaxInt64,
		buf:     buffer{limit: p.BufferBytes},
		topics:  map[string]*topic{},
		senders: map[int32]*sender{},
		id:      recordbatch.NoProducer,
		flush:   newFlushGroup(),
	}
	out.wg.Add(2)
	go out.housekeep()
	go out.sweep()
	return out
}

// now is the time on the monotonic clock, since the producer was made.
func (p *Producer) now() int64 { return int64(time.Since(p.born)) }

// Produce takes a record that its caller began to publish at start; done hears
// of its outcome, as its n-th record. When Produce itself returns an error the record was not taken, and
// done does not hear of it. Produce blocks while the buffer is full, until ctx ends or
// half of the record's time has passed. Records of one goroutine keep their
// order within a partition.
func (p *Producer) Produce(ctx context.Context, rec *Record, start time.Time, done Completion, n int) (Ticket, error) {
	e := entry{
		done: done, n: n, size: rec.size(),
		deadline: int64(start.Sub(p.born) + p.params.MessageTimeout),
	}
	hash, keyed := p.params.Partitioner(rec.Key)
	p.mu.Lock()
	defer p.unlock()
	if err := ctx.Err(); err != nil {
		return Ticket{}, &Error{Err: err}
	}
	if !p.shut && !p.buf.tryTake(e.size) {
		if err := p.waitForRoom(ctx, e.size, start); err != nil {
			return Ticket{}, &Error{Err: err}
		}
		if err := ctx.Err(); err != nil { // under the mutex: whoever cancels by CancelAll finds the record, or is found here
			p.freeRoom(e.size)
			return Ticket{}, &Error{Err: err}
		}
	}
	if p.shut {
		return Ticket{}, &Error{Err: ErrClosed}
	}
	t := p.topics[rec.Topic]
	if t == nil {
		t = &topic{name: rec.Topic}
		p.topics[t.name] = t
		p.needMetadata()
	}
	e.seq = t.seq
	t.seq++
	if e.deadline < p.sweepAt {
		p.sweepBy(e.deadline)
	}
	if t.partitions == nil {
		t.pending = p.push(t.pending, e, rec, maxBatchBytes, 0)
		p.needMetadata()
		return Ticket{t, e.seq}, nil
	}
	pt := t.route(hash, keyed)
	pt.queue = p.push(pt.queue, e, rec, pt.mostBytes(), pt.hint)
	if pt.listed {
		pt.sender.waiting += e.size
		pt.sender.stir()
	} else {
		p.schedule(pt)
	}
	return Ticket{t, e.seq}, nil
}

// waitForRoom waits for room in the buffer; the mutex, which is held, is free meanwhile. Without an
// error the room is taken, or the producer shut.
func (p *Producer) waitForRoom(ctx context.Context, size int, start time.Time) error {
	w := p.buf.wait(size)
	p.unlock()
	// Room that comes later would leave no time to send.
	timer := time.NewTimer(time.Until(start.Add(p.params.MessageTimeout / 2)))
	defer timer.Stop()
	var err error
	select {
	case <-w.ready:
	case <-ctx.Done():
		err = ctx.Err()
	case <-timer.C:
		err = ErrBufferFull
	case <-p.closing:
		err = ErrClosed
	}
	p.mu.Lock()
	if err == nil && !p.shut {
		return nil
	}
	if !p.buf.leave(w) {
		p.freeRoom(size)
	}
	if last := p.trouble.err; errors.Is(err, ErrBufferFull) && last != nil {
		err = fmt.Errorf("%w: %w", err, last)
	}
	return err
}

func (p *Producer) freeRoom(size int) {
	if size > 0 {
		p.buf.release(size)
	}
}

// Cancel settles a record with err, unless it is settled. What is in a batch
// that was sent may be written all the same.
func (p *Producer) Cancel(t Ticket, err error) {
	if t.topic == nil {
		return
	}
	p.mu.Lock()
	defer p.unlock()
	var found bool
	if t.topic.pending, found = p.cancelIn(t.topic.pending, t.seq, err); found {
		return
	}
	for _, pt := range t.topic.partitions {
		for _, sl := range pt.seq.window {
			if e := sl.batch.find(t.seq); e != nil {
				p.settle(sl.batch, e, err, sl.maybe)
				return
			}
		}
		if pt.queue, found = p.cancelIn(pt.queue, t.seq, err); found {
			return
		}
	}
}

// CancelAll is Cancel for all the records whose completion matches. It looks at each that is under way.
func (p *Producer) CancelAll(match func(Completion) bool, err error) {
	p.mu.Lock()
	defer p.unlock()
	cancel := func(b *batch, maybe bool) {
		for i := range b.entries {
			if e := &b.entries[i]; e.done != nil && match(e.done) {
				p.settle(b, e, err, maybe)
			}
		}
	}
	for _, t := range p.topics {
		t.pending = p.cancelAllIn(t.pending, cancel)
		for _, pt := range t.partitions {
			for _, sl := range pt.seq.window {
				cancel(sl.batch, sl.maybe)
			}
			pt.queue = p.cancelAllIn(pt.queue, cancel)
		}
	}
}

func (p *Producer) cancelAllIn(queue []*batch, cancel func(*batch, bool)) []*batch {
	left := queue[:0]
	for _, b := range queue {
		if cancel(b, false); b.live < len(b.entries) {
			b = p.compact(b)
		}
		if b != nil {
			left = append(left, b)
		}
	}
	clear(queue[len(left):])
	return left
}

// settlement is what callers hear once the mutex is free: of one entry, or of all that are left of a batch.
type settlement struct {
	entry entry
	flush *flushGroup // of the entry
	batch *batch
	res   Result
	err   error
}

// settle answers one entry with an error.
func (p *Producer) settle(b *batch, e *entry, err error, maybe bool) {
	b.flush.add()
	p.out = append(p.out, settlement{entry: *e, flush: b.flush, err: &Error{Err: err, MaybeWritten: maybe || b.maybe}})
	e.done = nil
	if b.live--; b.live == 0 {
		p.freeRoom(b.size)
		b.size = 0
	}
}

// finish answers what is left of a batch, and ends it. A nil err is success; res has the first record's offset.
func (p *Producer) finish(b *batch, res Result, err error, maybe bool) {
	if err != nil {
		err = &Error{Err: err, MaybeWritten: maybe || b.maybe}
	}
	p.freeRoom(b.size)
	b.size = 0
	p.out = append(p.out, settlement{batch: b, res: res, err: err})
}

// unlock frees the mutex and then tells the callers what was settled under it.
func (p *Producer) unlock() {
	ss, logs := p.out, p.logs
	p.out, p.logs = nil, nil
	p.mu.Unlock()
	for i := range ss {
		p.tell(&ss[i])
	}
	for _, log := range logs {
		log()
	}
}

func (p *Producer) tell(s *settlement) {
	b := s.batch
	if b == nil {
		s.entry.done.Settled(s.entry.n, Result{}, s.err)
		s.flush.remove()
		return
	}
	for i := range b.entries {
		e := &b.entries[i]
		if e.done == nil {
			continue
		}
		res := s.res
		if s.err == nil && res.Offset >= 0 {
			res.Offset += int64(i)
		}
		e.done.Settled(e.n, res, s.err)
	}
	p.free(b)
}

// failAll settles everything that is under way.
func (p *Producer) failAll(err error) {
	for _, t := range p.topics {
		p.failTopic(t, err)
	}
}

func (p *Producer) failTopic(t *topic, err error) {
	for _, b := range t.pending {
		p.finish(b, Result{}, err, false)
	}
	t.pending = nil
	for _, pt := range t.partitions {
		p.failPartition(pt, err)
	}
}

// failPartition settles what is under way to one partition. Batches that may have
// been written stay: the sequence hangs on their fate.
func (p *Producer) failPartition(pt *partition, err error) {
	for _, sl := range pt.seq.window {
		for i := range sl.batch.entries {
			if e := &sl.batch.entries[i]; e.done != nil {
				p.settle(sl.batch, e, err, sl.maybe)
			}
		}
	}
	for _, b := range pt.queue {
		p.finish(b, Result{}, err, false)
	}
	pt.queue = nil
}

// Flush waits until everything produced before it is settled, one way or the
// other. Its error is ctx's.
func (p *Producer) Flush(ctx context.Context) error {
	for _, g := range p.sealFlush() {
		select {
		case <-g.settled:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

func (p *Producer) sealFlush() []*flushGroup {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.flush.seal()
	open := make([]*flushGroup, 0, len(p.flushes)+1)
	for _, g := range append(p.flushes, p.flush) {
		if g.open.Load() > 0 {
			open = append(open, g)
		}
	}
	p.flushes = open
	p.flush = newFlushGroup()
	for _, s := range p.senders { // no more company will come
		s.overdue = true
		s.stir()
	}
	return open
}

// Close refuses new records, waits until the others are settled or ctx ends,
// settles what is left with [ErrClosed], and frees everything. It returns how
// many were left. Later calls wait for the first and return [ErrClosed].
func (p *Producer) Close(ctx context.Context) (left int, err error) {
	p.mu.Lock()
	if p.shut {
		p.mu.Unlock()
		<-p.closed
		return 0, ErrClosed
	}
	p.shut = true
	close(p.closing)
	p.mu.Unlock()

	_ = p.Flush(ctx) // what is left when ctx ends is counted below
	p.cancel()
	p.mu.Lock()
	for _, t := range p.topics {
		t.batches(func(b *batch) { left += b.live })
		p.failTopic(t, ErrClosed)
	}
	p.unlock()
	p.params.Cluster.Close()
	p.wg.Wait()
	close(p.closed)
	return left, nil
}
