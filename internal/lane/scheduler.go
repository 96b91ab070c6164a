package lane

import (
	"container/heap"
	"iter"
	"slices"
	"time"
)

// Limits bound what is in flight: added and not finished.
type Limits struct {
	Records    int // of a partition
	Bytes      int // of a partition, as Task.Size counts them
	Ahead      int // records of a partition above its watermark, finished or not
	Ready      int // lanes of a partition that wait for a worker: more are not of use, and memory that is not in the cache when their turn comes
	TotalBytes int // of all partitions
}

// Task is one record. Whoever adds it fills in the exported fields.
type Task[T any] struct {
	Value   T
	Offset  int64
	Key     uint64 // a hash of the record's key: two keys that have the same one share a lane
	Size    int
	Epoch   int32 // of the leader; -1: not known
	Keyed   bool  // false: no order
	free    bool  // it shares no memory with others
	Attempt int   // from 1; kept by the scheduler

	part *Partition[T]
	seq  int
	next *Task[T] // behind it in its lane
	link *Task[T] // behind it in the partition's ready queue
	run  int      // how many are handed out together with it, once they were; 0: not yet
}

// Run is what a worker gets: N tasks of a lane, from Head on.
type Run[T any] struct {
	Head *Task[T]
	N    int
}

// Tasks yields the tasks of a run, until it goes back.
func (r Run[T]) Tasks() iter.Seq2[int, *Task[T]] {
	return func(yield func(int, *Task[T]) bool) {
		for i, t := 0, r.Head; yield(i, t) && i+1 < r.N; i++ { // behind the last one, others add
			t = t.next
		}
	}
}

// Tag is what the caller gave the run's partition.
func (r Run[T]) Tag() any { return r.Head.part.tag }

// Partition is one partition's lanes.
type Partition[T any] struct {
	tag any

	batch   int
	mark    Mark
	earlier []Range             // finished in an earlier life, and not met yet
	busy    map[uint64]*Task[T] // the last task of each key in flight
	ready   queue[T]
	records int
	bytes   int
	running int
	parked  int
	paused  bool
	closed  bool
	turn    *Partition[T] // behind it among those that have something ready
	turning bool

	// Of the pool.
	drained chan struct{}
	room    chan struct{}
	waits   bool
}

// Scheduler decides what is handed out next. It is not safe for concurrent use.
type Scheduler[T any] struct {
	limits Limits
	detach func(*T)

	turnHead, turnTail *Partition[T]
	parked             parked[T]
	bytes              int
	running            int
}

// NewScheduler returns a scheduler without partitions. Detach has a value that
// will wait for long give up the memory that it shares with others.
func NewScheduler[T any](limits Limits, detach func(*T)) *Scheduler[T] {
	return &Scheduler[T]{limits: limits, detach: detach} //nolint:exhaustruct // the rest is empty
}

// Open begins a partition at an offset, -1 when it is not known yet. What is in earlier, which is sorted,
// counts as finished when it is added. With a batch of more than one the partition
// has one lane, of which so many tasks are handed out at once.
func (s *Scheduler[T]) Open(position int64, earlier []Range, batch int) *Partition[T] {
	p := &Partition[T]{batch: max(1, batch), busy: map[uint64]*Task[T]{}, drained: make(chan struct{}), room: make(chan struct{}, 1)} //nolint:exhaustruct // the rest is empty
	s.Rewind(p, position, earlier)
	return p
}

// Rewind has a partition without anything in flight go on at any offset.
func (s *Scheduler[T]) Rewind(p *Partition[T], position int64, earlier []Range) {
	p.mark.reset(position)
	p.earlier = earlier
}

// Room reports whether more may be added to a partition. There is always room for one that has nothing in flight.
func (s *Scheduler[T]) Room(p *Partition[T]) bool {
	return s.roomFor(p, 1, 1)
}

// roomFor reports whether no more than a part of the limits is used.
func (s *Scheduler[T]) roomFor(p *Partition[T], part, of int) bool {
	l := &s.limits
	return p.records == 0 || p.records < l.Records/of*part && p.bytes < l.Bytes/of*part &&
		p.mark.count < l.Ahead/of*part && p.ready.n < l.Ready/of*part && s.bytes < l.TotalBytes/of*part
}

// Full reports whether the partitions together have reached their limit.
func (s *Scheduler[T]) Full() bool { return s.bytes >= s.limits.TotalBytes }

// Add takes tasks in the order of their offsets, which lie above all before,
// and belong to the scheduler from then on. Nothing is to come below next.
func (s *Scheduler[T]) Add(p *Partition[T], tasks []Task[T], next int64) {
	if p.closed {
		return
	}
	for i := range tasks {
		t := &tasks[i]
		t.part, t.seq, t.Attempt = p, p.mark.add(t.Offset, t.Epoch), 1
		if p.wasFinished(t.Offset) {
			p.mark.finish(t.seq)
			continue
		}
		p.records++
		p.bytes += t.Size
		s.bytes += t.Size
		if p.batch > 1 {
			t.Key, t.Keyed = 0, true
		}
		if !t.Keyed {
			s.push(t)
			continue
		}
		last := p.busy[t.Key]
		if last == nil {
			p.busy[t.Key] = t
			s.push(t)
			continue
		}
		if p.parked > 0 { // it may be the lane that waits
			t = s.detached(t)
		}
		last.next, p.busy[t.Key] = t, t
	}
	p.mark.skip(next)
}

func (p *Partition[T]) wasFinished(offset int64) bool {
	for len(p.earlier) > 0 && p.earlier[0].To <= offset {
		p.earlier = p.earlier[1:]
	}
	return len(p.earlier) > 0 && p.earlier[0].From <= offset
}

// push makes a lane's head ready.
func (s *Scheduler[T]) push(t *Task[T]) {
	p := t.part
	p.ready.push(t)
	s.takeTurn(p)
}

// takeTurn puts a partition that has something ready behind the others.
func (s *Scheduler[T]) takeTurn(p *Partition[T]) {
	if p.turning || p.paused || p.ready.head == nil {
		return
	}
	p.turning, p.turn = true, nil
	if s.turnTail == nil {
		s.turnHead = p
	} else {
		s.turnTail.turn = p
	}
	s.turnTail = p
}

// Waiting reports whether Claim may find something.
func (s *Scheduler[T]) Waiting() bool { return s.turnHead != nil }

// Claim hands out what is ready, the partitions in turn. It has to come back by Finish, Park or Leave.
func (s *Scheduler[T]) Claim() (Run[T], bool) {
	for {
		p := s.turnHead
		if p == nil {
			return Run[T]{}, false
		}
		if s.turnHead = p.turn; s.turnHead == nil {
			s.turnTail = nil
		}
		p.turning = false
		if p.paused || p.ready.head == nil { // since it took its turn
			continue
		}
		t := p.ready.pop()
		s.takeTurn(p)
		if t.run == 0 {
			t.run = 1
			for last := t; t.run < p.batch && last.next != nil; last = last.next {
				t.run++
			}
		}
		p.running++
		s.running++
		return Run[T]{Head: t, N: t.run}, true
	}
}

// Finish says that the tasks of a run are finished; the next of their lane gets ready.
func (s *Scheduler[T]) Finish(r Run[T]) {
	p := r.Head.part
	s.back(p)
	next := s.finish(r.Head, r.N)
	s.next(p, r.Head, next)
}

// finish notes n tasks as finished and returns the one behind.
func (s *Scheduler[T]) finish(t *Task[T], n int) *Task[T] {
	p := t.part
	for range n {
		p.mark.finish(t.seq)
		if !p.closed {
			p.records--
			p.bytes -= t.Size
			s.bytes -= t.Size
		}
		next := t.next
		t.next = nil // or one that runs for long would keep all that came after its neighbours
		t = next
	}
	return t
}

// next has the lane of a task that is finished go on.
func (s *Scheduler[T]) next(p *Partition[T], t, next *Task[T]) {
	switch {
	case p.closed:
	case next != nil:
		s.push(next)
	case t.Keyed:
		delete(p.busy, t.Key)
	}
}

func (s *Scheduler[T]) back(p *Partition[T]) {
	p.running--
	s.running--
}

// Park has a run handed out again, as it is but for its first done tasks, which are finished,
// when Due is told that the time has come.
func (s *Scheduler[T]) Park(r Run[T], done int, due time.Time) {
	if done >= r.N {
		s.Finish(r)
		return
	}
	p := r.Head.part
	s.back(p)
	t := s.finish(r.Head, done)
	if p.closed {
		return
	}
	t.Attempt, t.run = r.Head.Attempt+1, r.N-done
	// What waits for long must not keep the memory of all that came with it.
	t = s.detached(t)
	last := t
	for last.next != nil {
		last.next = s.detached(last.next)
		last = last.next
	}
	if t.Keyed {
		p.busy[t.Key] = last
	}
	p.parked++
	heap.Push(&s.parked, parkedTask[T]{t, due})
}

// detached returns t with memory of its own.
func (s *Scheduler[T]) detached(t *Task[T]) *Task[T] {
	if t.free {
		return t
	}
	c := *t
	c.free = true
	s.detach(&c.Value)
	return &c
}

// Due makes ready what was parked until now, or earlier; it returns when the next one is due, zero for none.
func (s *Scheduler[T]) Due(now time.Time) time.Time {
	for len(s.parked) > 0 {
		next := s.parked[0]
		if next.due.After(now) {
			return next.due
		}
		heap.Pop(&s.parked)
		next.part.parked--
		s.push(next.Task)
	}
	return time.Time{}
}

// Leave says that a run will not be finished, nor what is behind it: its partition is to be closed.
func (s *Scheduler[T]) Leave(r Run[T]) { s.back(r.Head.part) }

// Close drops what a partition has not handed out. What runs still counts when it is finished.
func (s *Scheduler[T]) Close(p *Partition[T]) {
	if p.closed {
		return
	}
	p.closed = true
	p.ready = queue[T]{}
	s.parked = slices.DeleteFunc(s.parked, func(t parkedTask[T]) bool { return t.part == p })
	heap.Init(&s.parked)
	s.bytes -= p.bytes
	p.bytes, p.records, p.busy = 0, 0, nil
}

// Pause has nothing of a partition handed out until it is paused no more; what is due meanwhile waits.
func (s *Scheduler[T]) Pause(p *Partition[T], paused bool) {
	p.paused = paused
	s.takeTurn(p)
}

// queue is linked through the tasks.
type queue[T any] struct {
	head, tail *Task[T]
	n          int
}

func (q *queue[T]) push(t *Task[T]) {
	q.n++
	t.link = nil
	if q.tail == nil {
		q.head = t
	} else {
		q.tail.link = t
	}
	q.tail = t
}

func (q *queue[T]) pop() *Task[T] {
	q.n--
	t := q.head
	if q.head = t.link; q.head == nil {
		q.tail = nil
	}
	t.link = nil
	return t
}

// parked is a heap by what is due first.
type parked[T any] []parkedTask[T]

type parkedTask[T any] struct {
	*Task[T]

	due time.Time
}

func (h parked[T]) Len() int           { return len(h) }
func (h parked[T]) Less(i, j int) bool { return h[i].due.Before(h[j].due) }
func (h parked[T]) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }

// Push implements [heap.Interface].
func (h *parked[T]) Push(x any) { *h = append(*h, x.(parkedTask[T])) } //nolint:forcetypeassert // nothing else is pushed

// Pop implements [heap.Interface].
func (h *parked[T]) Pop() any {
	n := len(*h) - 1
	t := (*h)[n]
	(*h)[n] = parkedTask[T]{}
	*h = (*h)[:n]
	return t
}
