package producer

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/segmentio/kafka-go/compress"

	"github.com/expensevault/sharedlibrary/internal/backoff"
	"github.com/expensevault/sharedlibrary/internal/cluster"
	"github.com/expensevault/sharedlibrary/internal/recordbatch"
)

// maxDead is how many settled entries may stay in the queues, unless more live ones are there.
const maxDead = 1000

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
	sweepAt  time.Time     // when the sweeper looks next; zero: when it is woken
	trouble  trouble       // the housekeeper's
	dead     int           // settled entries in the queues
	live     int           // entries that are not settled
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

// Ticket is a record under way.
type Ticket struct {
	p *Producer
	e *entry
}

// Cancel settles the record with err, unless it is settled. What is in a batch
// already may be written all the same. A nil Ticket is of a record that was not taken.
func (t *Ticket) Cancel(err error) {
	if t == nil {
		return
	}
	t.p.mu.Lock()
	defer t.p.unlock()
	t.p.later(t.p.settle(nil, t.e, Result{}, err, t.e.batch != nil))
}

// Produce takes a record that its caller began to publish at start; done is
// called exactly once with its outcome, on another goroutine as a rule. It must
// not block. When Produce itself returns an error the record was not taken, and
// done is not called. Produce blocks while the buffer is full, until ctx ends or
// half of the record's time has passed. Records of one goroutine keep their
// order within a partition.
func (p *Producer) Produce(ctx context.Context, rec Record, start time.Time, done func(Result, error)) (*Ticket, error) {
	e := &entry{rec: rec, size: rec.size(), deadline: start.Add(p.params.MessageTimeout), done: done}
	if e.rec.Timestamp.IsZero() {
		e.rec.Timestamp = start
	}
	if err := p.takeRoom(ctx, e, start); err != nil {
		return nil, &Error{Err: err}
	}
	p.mu.Lock()
	defer p.unlock()
	if p.shut {
		p.buf.release(e.size)
		return nil, &Error{Err: ErrClosed}
	}
	e.flush = p.flush
	e.flush.add()
	p.live++
	p.enqueue(e)
	p.sweepBy(e.deadline)
	return &Ticket{p, e}, nil
}

// sweepBy has the sweeper look at the queues at this time, or before.
func (p *Producer) sweepBy(at time.Time) {
	if p.sweepAt.IsZero() || at.Before(p.sweepAt) {
		p.sweepAt = at
		kick(p.sweepC)
	}
}

func (p *Producer) takeRoom(ctx context.Context, e *entry, start time.Time) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	p.mu.Lock()
	if p.shut {
		p.mu.Unlock()
		return ErrClosed
	}
	if p.buf.tryTake(e.size) {
		p.mu.Unlock()
		return nil
	}
	w := p.buf.wait(e.size)
	p.mu.Unlock()

	// Room that comes later would leave no time to send.
	timer := time.NewTimer(time.Until(start.Add(p.params.MessageTimeout / 2)))
	defer timer.Stop()
	var err error
	select {
	case <-w.ready:
		return nil
	case <-ctx.Done():
		err = ctx.Err()
	case <-timer.C:
		err = ErrBufferFull
	case <-p.closing:
		err = ErrClosed
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if last := p.trouble.err; errors.Is(err, ErrBufferFull) && last != nil {
		err = fmt.Errorf("%w: %w", err, last)
	}
	if !p.buf.leave(w) {
		p.buf.release(e.size)
	}
	return err
}

func (p *Producer) enqueue(e *entry) {
	t := p.topics[e.rec.Topic]
	if t == nil {
		t = &topic{name: e.rec.Topic}
		p.topics[t.name] = t
		p.needMetadata()
	}
	if t.partitions == nil {
		t.pending = append(t.pending, e)
		p.needMetadata()
		return
	}
	p.schedule(t.route(e, p.params.Partitioner))
}

// settle answers an entry once; the caller passes the result to later.
func (p *Producer) settle(ss []settlement, e *entry, res Result, err error, maybe bool) []settlement {
	if e.settled {
		return ss
	}
	e.settled = true
	if err != nil {
		err = &Error{Err: err, MaybeWritten: maybe || e.maybe}
	}
	ss = append(ss, settlement{e.done, res, err, e.flush})
	p.live--
	if e.batch == nil {
		e.rec = Record{} // it stays in its queue for a while
		if p.dead++; p.dead > maxDead && p.dead > p.live {
			p.sweepBy(time.Now())
		}
	}
	e.done = nil
	p.buf.release(e.size)
	return ss
}

func (p *Producer) later(ss []settlement) { p.out = append(p.out, ss...) }

// unlock frees the mutex and then tells the callers what was settled under it.
func (p *Producer) unlock() {
	ss, logs := p.out, p.logs
	p.out, p.logs = nil, nil
	p.mu.Unlock()
	run(ss)
	for _, log := range logs {
		log()
	}
}

// failAll settles everything that is under way.
func (p *Producer) failAll(err error) {
	for _, t := range p.topics {
		p.failTopic(t, err)
	}
}

func (p *Producer) failTopic(t *topic, err error) {
	var ss []settlement
	for _, e := range t.pending {
		ss = p.settle(ss, e, Result{}, err, false)
	}
	t.pending = nil
	p.later(ss)
	for _, pt := range t.partitions {
		p.failPartition(pt, err)
	}
}

// failPartition settles what is under way to one partition. Its batch stays, if
// it may have been written: the sequence hangs on its fate.
func (p *Producer) failPartition(pt *partition, err error) {
	var ss []settlement
	pt.each(func(e *entry) { ss = p.settle(ss, e, Result{}, err, e.batch != nil) })
	pt.queue = nil
	p.later(ss)
}

// each calls f for every entry of a topic.
func (p *Producer) each(t *topic, f func(*entry)) {
	for _, e := range t.pending {
		f(e)
	}
	for _, pt := range t.partitions {
		pt.each(f)
	}
}

func (pt *partition) each(f func(*entry)) {
	if pt.batch != nil {
		for _, e := range pt.batch.entries {
			f(e)
		}
	}
	for _, e := range pt.queue {
		f(e)
	}
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
		p.each(t, func(e *entry) {
			if !e.settled {
				left++
			}
		})
		p.failTopic(t, ErrClosed)
	}
	p.unlock()
	p.params.Cluster.Close()
	p.wg.Wait()
	close(p.closed)
	return left, nil
}
