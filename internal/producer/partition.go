package producer

import (
	"math"
	"math/rand/v2"
	"slices"
	"time"
)

// noLeader is the leader of a partition that has none, or whose leader is not known.
const noLeader int32 = -1

// topic is what is known of one topic; guarded by the producer's mutex.
type topic struct {
	name       string
	partitions []*partition // nil until metadata came; those that vanished stay, for their sequences
	count      int32        // of the partitions that there are now
	pending    []*batch     // waiting for metadata, oldest first
	missing    time.Time    // since when the brokers say that there is no such topic; zero: they do not
	sticky     int32        // where records without a key go until its next batch is stamped
	seq        uint64       // of the next entry
}

// partition is one partition's batches; guarded by the producer's mutex.
type partition struct {
	topic  *topic
	id     int32
	leader int32
	sender *sender // of the leader; nil when there is none, or nothing was sent yet

	seq    sequencer[*batch] // and the batches that have a stamp
	queue  []*batch          // those that have none, oldest first; records go into the last
	listed bool              // in its sender's ready list
	paused bool              // timer will schedule it again
	timer  *time.Timer
	tries  int   // failed ones since the last success
	failed bool  // since the last drain: a pause is due
	hint   int   // the size of the last batch
	most   int   // bytes of a batch that the broker takes, as far as we know; 0: maxBatchBytes
	err    error // why the last try failed; nil after a success
}

// route chooses a record's partition by its key's hash.
func (t *topic) route(hash uint32, keyed bool) *partition {
	if keyed {
		return t.partitions[hash%uint32(t.count)]
	}
	if t.sticky >= t.count {
		t.sticky = 0
	}
	return t.partitions[t.sticky]
}

// moveSticky lets the next records without a key go elsewhere, where there is a leader.
func (t *topic) moveSticky() {
	n := int(t.count)
	start := rand.IntN(n)
	for k := range n {
		if i := (start + k) % n; t.partitions[i].leader != noLeader {
			t.sticky = int32(i)
			return
		}
	}
}

// batches calls f for every batch of the topic.
func (t *topic) batches(f func(*batch)) {
	for _, b := range t.pending {
		f(b)
	}
	for _, pt := range t.partitions {
		for _, sl := range pt.seq.window {
			f(sl.batch)
		}
		for _, b := range pt.queue {
			f(b)
		}
	}
}

// waiting reports whether anybody waits for the topic.
func (t *topic) waiting() bool {
	live := 0
	t.batches(func(b *batch) { live += b.live })
	return live > 0
}

func (pt *partition) hasWork() bool { return len(pt.seq.window) > 0 || len(pt.queue) > 0 }

// sendable reports whether the next request to the leader can carry a batch.
func (pt *partition) sendable() bool {
	if pt.paused {
		return false
	}
	_, again := pt.seq.again()
	return again || len(pt.queue) > 0 && pt.seq.mayAdd()
}

// last is the batch that the next record goes into if it has room.
func last(queue []*batch) *batch {
	if len(queue) == 0 {
		return nil
	}
	return queue[len(queue)-1]
}

// hasRoom reports whether a record of this size may be added.
func (p *Producer) hasRoom(b *batch, size, most int) bool {
	return b != nil && b.flush == p.flush && !b.maybe && !b.split && b.rb.Len()+size <= most
}

// push puts a record into the last batch of a queue, or a new one.
func (p *Producer) push(queue []*batch, e entry, r *Record, most, hint int) []*batch {
	b := last(queue)
	if !p.hasRoom(b, e.size, most) {
		b = p.newBatch(max(hint, e.size))
		queue = append(queue, b)
	}
	b.append(e, r)
	return queue
}

func (pt *partition) mostBytes() int {
	if pt.most > 0 {
		return pt.most
	}
	return maxBatchBytes
}

// take chooses what the next request carries of a partition, and marks it as sent; nil when there is nothing.
func (p *Producer) take(pt *partition) *batch {
	if b, ok := pt.seq.again(); ok {
		pt.seq.sent(b)
		return b
	}
	for len(pt.queue) > 0 && pt.seq.mayAdd() {
		b := p.compact(pt.queue[0])
		pt.queue = slices.Delete(pt.queue, 0, 1)
		switch {
		case b == nil:
			continue
		case b.live > 1 && b.split:
			pt.queue = slices.Insert(pt.queue, 0, p.halve(b, b.rb.Len()/2)...)
			continue
		case b.live > 1 && b.rb.Len() > pt.mostBytes():
			pt.queue = slices.Insert(pt.queue, 0, p.halve(b, pt.mostBytes())...)
			continue
		}
		if pt.topic.sticky == pt.id {
			pt.topic.moveSticky()
		}
		pt.hint = b.rb.Len()
		b.stamp, b.bytes, b.split = pt.seq.add(b, int32(len(b.entries))), nil, false
		pt.seq.sent(b)
		return b
	}
	return nil
}

// settleDrained acts on what the sequencer decides when nothing of a partition is in flight.
func (p *Producer) settleDrained(pt *partition) {
	if pt.seq.flying > 0 {
		return
	}
	back, lost := pt.seq.drained(func(b *batch) bool { return b.live == 0 })
	for _, sl := range lost {
		p.finish(sl.batch, Result{}, p.lastError(pt), true)
	}
	for _, sl := range slices.Backward(back) {
		b := sl.batch
		b.maybe = b.maybe || sl.maybe
		b.bytes = nil
		pt.queue = slices.Insert(pt.queue, 0, b)
	}
	if pt.failed {
		pt.failed = false
		p.pause(pt)
	}
}

// pause lets a partition rest before its next try.
func (p *Producer) pause(pt *partition) {
	if p.ctx.Err() != nil || pt.paused {
		return
	}
	pt.tries++
	pt.paused = true
	pt.timer = time.AfterFunc(p.params.Backoff.Pause(pt.tries-1), func() {
		p.mu.Lock()
		defer p.unlock()
		pt.paused = false
		p.schedule(pt)
	})
}

// schedule lists pt with its leader's sender if there is something to send.
func (p *Producer) schedule(pt *partition) {
	if pt.listed || pt.paused || !pt.hasWork() || p.ctx.Err() != nil {
		return
	}
	if pt.leader == noLeader {
		p.needMetadata()
		return
	}
	if pt.seq.waiting() && pt.seq.flying == 0 {
		p.settleDrained(pt) // who waited may have gone
	}
	if pt.seq.needsID() && len(pt.seq.window) == 0 && !p.adoptID(pt) || !pt.sendable() {
		return
	}
	if pt.sender == nil {
		pt.sender = p.senderOf(pt.leader)
	}
	pt.listed = true
	s := pt.sender
	s.ready = append(s.ready, pt)
	for _, b := range pt.queue {
		s.waiting += b.rb.Len()
	}
	if pt.seq.waiting() {
		s.waiting += gatherBytes // what failed does not wait for company
	}
	s.stir()
}

// unlist takes pt off the ready list of the broker that led it.
func (p *Producer) unlist(pt *partition) {
	if pt.listed {
		pt.sender.ready = slices.DeleteFunc(pt.sender.ready, func(o *partition) bool { return o == pt })
		pt.listed = false
	}
}

// cancelIn settles one entry; false when it is not here.
func (p *Producer) cancelIn(queue []*batch, seq uint64, err error) ([]*batch, bool) {
	for i, b := range queue {
		e := b.find(seq)
		if e == nil {
			continue
		}
		p.settle(b, e, err, false)
		if b.live < len(b.entries)/2 || b.live == 0 { // else it is left out when the batch is stamped
			if b = p.compact(b); b == nil {
				return slices.Delete(queue, i, i+1), true
			}
			queue[i] = b
		}
		return queue, true
	}
	return queue, false
}

// expire settles the entries of a queue whose time is up, and reports the first deadline that is left.
func (p *Producer) expire(queue []*batch, now int64, err func() error) (left []*batch, next int64) {
	next = math.MaxInt64
	left = queue[:0]
	for _, b := range queue {
		if b.earliest <= now {
			p.expireBatch(b, now, err, false)
			if b = p.compact(b); b == nil {
				continue
			}
		}
		next = min(next, b.earliest)
		left = append(left, b)
	}
	clear(queue[len(left):])
	return left, next
}

// expireBatch settles the entries of one batch whose time is up.
func (p *Producer) expireBatch(b *batch, now int64, err func() error, maybe bool) {
	b.earliest = math.MaxInt64
	for i := range b.entries {
		switch e := &b.entries[i]; {
		case e.done == nil:
		case e.deadline <= now:
			p.settle(b, e, err(), maybe)
		default:
			b.earliest = min(b.earliest, e.deadline)
		}
	}
}
