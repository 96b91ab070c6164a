package producer

import (
	"math"
	"slices"
	"sync/atomic"

	"github.com/segmentio/kafka-go/compress"

	"github.com/expensevault/sharedlibrary/internal/recordbatch"
)

// batch is records of one partition that go together. It is open until it gets a
// stamp. Guarded by the producer's mutex, the bytes of a stamped one aside: these
// belong to the sender that has it in hand.
type batch struct {
	rb       recordbatch.Builder
	entries  []entry // one per record, in order
	live     int     // entries that are not settled
	size     int     // of the entries, as the buffer counts it
	earliest int64   // the first deadline among the entries; math.MaxInt64 when none is left
	flush    *flushGroup
	stamp    stamp
	bytes    []byte // as they are sent; nil until build, and after the stamp has changed
	maybe    bool   // records of it may stand in the log from an earlier stamp
	split    bool   // to be halved before it is sent again
	born     int64  // when its first record came
	sent     bool   // it was in a request
}

// entry is one record of a batch.
type entry struct {
	done     Completion // nil when the entry is settled
	n        int
	seq      uint64 // rising within a topic, and so within a partition
	at       int    // where it stands in the batch
	deadline int64
	size     int
}

// newBatch returns an empty batch that is expected to grow to about size bytes.
func (p *Producer) newBatch(size int) *batch { return p.makeBatch(p.flush, size) }

// newBatchFor returns one for entries of another batch.
func (p *Producer) newBatchFor(src *batch, size int) *batch {
	b := p.makeBatch(src.flush, size)
	b.maybe, b.born, b.sent = src.maybe, src.born, src.sent
	return b
}

func (p *Producer) makeBatch(flush *flushGroup, size int) *batch {
	b, _ := p.batches.Get().(*batch)
	if b == nil {
		b = &batch{rb: recordbatch.Builder{Pool: &p.memory}}
	}
	b.rb.Start(size)
	b.earliest, b.flush, b.born = math.MaxInt64, flush, p.now()
	b.flush.add()
	return b
}

// free ends a batch that holds no room any more: its callers know, nobody sends it, and no queue has it. It needs no mutex.
func (p *Producer) free(b *batch) {
	b.flush.remove()
	b.rb.Free()
	clear(b.entries)
	*b = batch{rb: b.rb, entries: b.entries[:0]}
	p.batches.Put(b)
}

// append adds a record.
func (b *batch) append(e entry, r *Record) {
	e.at = b.rb.Next()
	b.rb.Append(r.Millis, r.Key, r.Value, r.Headers)
	b.add(e)
}

// take adds a record of another batch.
func (b *batch) take(src *batch, e entry) {
	at := e.at
	e.at = b.rb.Next()
	b.rb.AppendFrom(&src.rb, at)
	b.add(e)
}

func (b *batch) add(e entry) {
	b.entries = append(b.entries, e)
	b.live++
	b.size += e.size
	b.earliest = min(b.earliest, e.deadline)
}

// build makes the bytes, or gives them a new stamp. It needs no mutex.
func (b *batch) build(codec compress.Compression) error {
	if b.bytes != nil {
		return nil
	}
	data, err := b.rb.Finish(codec)
	if err != nil {
		return err
	}
	recordbatch.Stamp(data, b.stamp.id, b.stamp.epoch, b.stamp.seq)
	b.bytes = data
	return nil
}

// find returns the entry with this number, nil when it is not here or settled.
func (b *batch) find(seq uint64) *entry {
	i, ok := slices.BinarySearchFunc(b.entries, seq, func(e entry, seq uint64) int {
		switch {
		case e.seq < seq:
			return -1
		case e.seq > seq:
			return 1
		}
		return 0
	})
	if !ok || b.entries[i].done == nil {
		return nil
	}
	return &b.entries[i]
}

// compact returns a batch with the entries that are not settled, in the place of b; nil when there are none.
func (p *Producer) compact(b *batch) *batch {
	if b.live == len(b.entries) {
		return b
	}
	var out *batch
	if b.live > 0 {
		out = p.moveTo(nil, b, math.MaxInt)
	}
	p.freeRoom(b.size)
	p.free(b)
	return out
}

// moveTo moves entries that are not settled from the front of src to dst, until
// there are limit bytes in it, but one at least. A nil dst is made. src gets
// holes: its moved entries count as settled.
func (p *Producer) moveTo(dst, src *batch, limit int) *batch {
	for i := range src.entries {
		e := &src.entries[i]
		if e.done == nil {
			continue
		}
		if dst != nil && dst.rb.Len()+e.size > limit {
			break
		}
		if dst == nil {
			dst = p.newBatchFor(src, min(src.rb.Len(), limit))
		}
		dst.take(src, *e)
		src.size -= e.size
		src.live--
		e.done = nil
	}
	return dst
}

// halve splits a batch of several entries in two.
func (p *Producer) halve(b *batch, limit int) []*batch {
	var out []*batch
	for b.live > 0 {
		out = append(out, p.moveTo(nil, b, limit))
	}
	p.freeRoom(b.size)
	p.free(b)
	return out
}

// flushGroup counts the batches of what was produced between two calls of Flush, until their callers know.
type flushGroup struct {
	open    atomic.Int64 // and one more until it is sealed
	settled chan struct{}
}

func newFlushGroup() *flushGroup {
	g := &flushGroup{settled: make(chan struct{})}
	g.open.Store(1)
	return g
}

func (g *flushGroup) add() { g.open.Add(1) }

func (g *flushGroup) remove() {
	if g.open.Add(-1) == 0 {
		close(g.settled)
	}
}

// seal says that nothing is added any more.
func (g *flushGroup) seal() { g.remove() }
