package lane

import (
	"context"
	"runtime"
	"sync"
	"time"
)

// Params is what NewPool needs.
type Params[T any] struct {
	Limits      Limits
	Concurrency int // workers, and so calls of what NewHandler returns, at once
	// NewHandler is called once per worker. What it returns is called by that worker
	// alone, run after run. If it does not return, as after runtime.Goexit, the run is left.
	NewHandler func() func(Run[T]) Verdict
	Detach     func(*T) // see NewScheduler
}

// Verdict is what became of a run. The zero one: it is finished.
type Verdict struct {
	Again bool          // it is to be handed out again,
	After time.Duration // when this has passed,
	Done  int           // without its first tasks, which are finished
	Left  bool          // it will not be finished: its partition is to be stopped
}

// Pool hands out what its partitions are fed with to workers, which they share. Any
// number of goroutines may call its methods and its partitions'.
type Pool[T any] struct {
	p Params[T]

	mu      sync.Mutex
	s       *Scheduler[T]
	idle    []*worker
	active  int // workers that are not idle
	feeders []*Partition[T]
	full    bool // a feeder waits for room that all partitions share
	closed  bool
	due     *time.Timer // of what is parked
	dueAt   time.Time

	// Handlers that return at once are best called by few workers, as each that is woken costs more
	// than they do; slow ones by all. fast counts samples in a row that were quick.
	fast    int
	handled int
	watch   *time.Timer // looks whether a few workers are enough
	watched int         // handled, when it was set; -1: it is not set
}

type worker struct{ wake chan struct{} }

const (
	// quick is what a handler may take to count as one that returns at once.
	quick = 20 * time.Microsecond
	// fastSamples in a row make the pool believe that all handlers are quick.
	fastSamples = 8
	// sampleEvery is how many handlers of a worker there are for one that is timed, while they are quick.
	sampleEvery = 16
	// lookAfter is how long a few workers may be stuck before the others help.
	lookAfter = time.Millisecond
)

// NewPool returns a pool without goroutines; they come with the work, and end with Close.
func NewPool[T any](p Params[T]) *Pool[T] {
	pool := &Pool[T]{p: p, s: NewScheduler(p.Limits, p.Detach), watched: -1} //nolint:exhaustruct // the rest is empty
	return pool
}

// Open begins a partition; see [Scheduler.Open]. Its runs carry the tag.
func (p *Pool[T]) Open(position int64, earlier []Range, batch int, tag any) *Partition[T] {
	part := p.s.Open(position, earlier, batch)
	part.tag = tag
	return part
}

// Feed adds tasks, see [Scheduler.Add], once there is room. False when ctx ends before, or the partition is stopped.
func (p *Pool[T]) Feed(ctx context.Context, part *Partition[T], tasks []Task[T], next int64) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.await(ctx, part, func() bool { return p.s.Room(part) }) {
		return false
	}
	p.s.Add(part, tasks, next)
	p.wake()
	return true
}

// Settled waits until nothing of a partition is in flight. False when ctx ends before, or the partition is stopped.
func (p *Pool[T]) Settled(ctx context.Context, part *Partition[T]) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.await(ctx, part, func() bool { return part.records == 0 })
}

// Rewind waits until nothing of a partition is in flight, and has it go on at any offset.
func (p *Pool[T]) Rewind(ctx context.Context, part *Partition[T], position int64) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.await(ctx, part, func() bool { return part.records == 0 }) {
		return false
	}
	p.s.Rewind(part, position, nil)
	return true
}

// await waits, without the mutex, until ready returns true. One goroutine per partition waits.
func (p *Pool[T]) await(ctx context.Context, part *Partition[T], ready func() bool) bool {
	for !part.closed && ctx.Err() == nil {
		if ready() {
			return true
		}
		part.waits = true
		p.feeders = append(p.feeders, part)
		p.full = p.full || p.s.Full()
		p.mu.Unlock()
		select {
		case <-part.room:
		case <-ctx.Done():
		}
		p.mu.Lock()
		p.unwait(part)
	}
	return false
}

func (p *Pool[T]) unwait(part *Partition[T]) {
	if !part.waits {
		return
	}
	part.waits = false
	for i, f := range p.feeders {
		if f == part {
			p.feeders = append(p.feeders[:i], p.feeders[i+1:]...)
			break
		}
	}
	select {
	case <-part.room:
	default:
	}
}

// Stop has nothing more of a partition handed out. What is being handled goes on, and counts.
func (p *Pool[T]) Stop(part *Partition[T]) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if part.closed {
		return
	}
	p.s.Close(part)
	p.admit(part)
	if part.running == 0 {
		close(part.drained)
	}
}

// Drained is closed when a partition is stopped and none of its handlers runs any more.
func (part *Partition[T]) Drained() <-chan struct{} { return part.drained }

// Pause has nothing of a partition handed out until it is paused no more.
func (p *Pool[T]) Pause(part *Partition[T], paused bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.s.Pause(part, paused)
	p.wake()
}

// State is how far a partition has come.
type State struct {
	Position int64 // the watermark; -1 when the beginning is not known yet
	Epoch    int32 // of the leader, at the record below it; -1 when not known
	Above    []Range
	InFlight int // added and not finished; 0 once it is stopped
	Running  int // of them with a handler
}

// State tells how far a partition has come, with at most ranges of what is finished above the watermark.
func (p *Pool[T]) State(part *Partition[T], ranges int) State {
	p.mu.Lock()
	defer p.mu.Unlock()
	m := &part.mark
	return State{Position: m.position(), Epoch: m.epoch(), Above: m.above(ranges), InFlight: part.records, Running: part.running}
}

// Close ends the workers, each when its handler returns. The partitions are to be stopped before.
func (p *Pool[T]) Close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	for _, w := range p.idle {
		close(w.wake)
	}
	p.idle = nil
	for _, t := range []*time.Timer{p.due, p.watch} {
		if t != nil {
			t.Stop()
		}
	}
}

// wake wakes a worker if there is something to do for it, by the mutex's owner.
func (p *Pool[T]) wake() {
	if !p.s.Waiting() || p.closed || p.active >= p.p.Concurrency {
		return
	}
	if p.fast >= fastSamples && p.active >= runtime.GOMAXPROCS(0) {
		p.look()
		return
	}
	p.active++
	if n := len(p.idle) - 1; n >= 0 {
		w := p.idle[n]
		p.idle = p.idle[:n]
		w.wake <- struct{}{}
		return
	}
	go p.work(&worker{wake: make(chan struct{}, 1)})
}

// look sees to it that others help if the few workers get stuck.
func (p *Pool[T]) look() {
	if p.watched >= 0 {
		return
	}
	p.watched = p.handled
	if p.watch == nil {
		p.watch = time.AfterFunc(lookAfter, p.looked)
	} else {
		p.watch.Reset(lookAfter)
	}
}

func (p *Pool[T]) looked() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.handled-p.watched < int(lookAfter/quick) {
		p.fast = 0
	}
	p.watched = -1
	p.wake()
}

func (p *Pool[T]) work(w *worker) {
	handle := p.p.NewHandler()
	n := 0
	p.mu.Lock()
	for {
		run, ok := p.s.Claim()
		if !ok {
			if p.closed || !p.rest(w) {
				break
			}
			continue
		}
		p.wake()
		timed := p.fast < fastSamples || n%sampleEvery == 0
		n++
		p.mu.Unlock()
		verdict, took := p.handle(handle, run, timed)
		p.mu.Lock()
		p.settle(run, verdict)
		switch {
		case !timed:
		case took < quick:
			p.fast++
		default:
			p.fast = 0
		}
	}
	p.active--
	p.mu.Unlock()
}

// rest waits until the worker is woken; false when the pool is closed. The mutex is free meanwhile.
func (p *Pool[T]) rest(w *worker) bool {
	p.active--
	p.idle = append(p.idle, w)
	p.mu.Unlock()
	_, ok := <-w.wake
	p.mu.Lock()
	if !ok {
		p.active++ // as every worker that ends
	}
	return ok
}

// handle calls the handler without the mutex. Whatever becomes of the goroutine, the run comes back.
func (p *Pool[T]) handle(f func(Run[T]) Verdict, run Run[T], timed bool) (v Verdict, took time.Duration) {
	returned := false
	defer func() {
		if returned {
			return
		}
		p.mu.Lock()
		defer p.mu.Unlock()
		p.settle(run, Verdict{Left: true})
		p.active--
		p.wake()
	}()
	var begin time.Time
	if timed {
		begin = time.Now()
	}
	v = f(run)
	if timed {
		took = time.Since(begin)
	}
	returned = true
	return v, took
}

func (p *Pool[T]) settle(run Run[T], v Verdict) {
	part := run.Head.part
	p.handled++
	switch {
	case v.Left:
		p.s.Leave(run)
	case v.Again:
		p.s.Park(run, v.Done, time.Now().Add(v.After))
		p.schedule()
	default:
		p.s.Finish(run)
	}
	if len(p.feeders) > 0 {
		p.admit(part)
	}
	if part.closed && part.running == 0 {
		close(part.drained)
	}
}

// admit tells feeders that there is room again, once there is some.
func (p *Pool[T]) admit(part *Partition[T]) {
	if part.waits && (part.closed || p.s.roomFor(part, 3, 4)) {
		p.tell(part)
	}
	if p.full && p.s.bytes < p.p.Limits.TotalBytes/4*3 {
		p.full = false
		for _, f := range p.feeders {
			if f != part && p.s.roomFor(f, 3, 4) {
				p.tell(f)
			}
		}
	}
}

func (p *Pool[T]) tell(part *Partition[T]) {
	select {
	case part.room <- struct{}{}:
	default:
	}
}

// schedule sets the timer for what is parked, and makes ready what is due.
func (p *Pool[T]) schedule() {
	now := time.Now()
	next := p.s.Due(now)
	switch {
	case p.closed || next.IsZero() || next.Equal(p.dueAt):
		return
	case p.due == nil:
		p.due = time.AfterFunc(next.Sub(now), func() {
			p.mu.Lock()
			defer p.mu.Unlock()
			p.dueAt = time.Time{}
			p.schedule()
			p.wake()
		})
	default:
		p.due.Reset(next.Sub(now))
	}
	p.dueAt = next
}
