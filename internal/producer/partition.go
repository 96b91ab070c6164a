package producer

import (
	"math/rand/v2"
	"slices"
	"time"

	"github.com/expensevault/sharedlibrary/internal/recordbatch"
)

// noLeader is the leader of a partition that has none, or whose leader is not known.
const noLeader int32 = -1

// topic is what is known of one topic; guarded by the producer's mutex.
type topic struct {
	name       string
	partitions []*partition // nil until metadata came
	pending    []*entry     // waiting for metadata, oldest first
	missing    time.Time    // since when the brokers say that there is no such topic; zero: they do not
	sticky     int32        // where records without a key go until its next batch is made
}

// partition is one partition's queue and batch; guarded by the producer's mutex.
type partition struct {
	topic  *topic
	id     int32
	leader int32
	seq    sequencer

	queue  []*entry // oldest first
	batch  *batch   // made and not settled, nil if none
	flying bool     // batch is in a request that is not answered
	listed bool     // in its sender's ready list
	paused bool     // timer will schedule it again
	timer  *time.Timer
	tries  int // failed ones since the last success
	limit  int // records in the next batch at most; 0: no limit but its size
}

// batch is a sealed one. Its bytes never change, but for a new stamp.
type batch struct {
	entries []*entry
	bytes   []byte
	// maybe is set from the moment at which the bytes may have reached a broker that may have appended them.
	maybe bool
	// before is maybe as it was before the try under way.
	before bool
}

// route gives an entry of a topic with partitions its place.
func (t *topic) route(e *entry, by Partitioner) *partition {
	n := int32(len(t.partitions))
	i, ok := by(e.rec.Key, n)
	if !ok {
		if t.sticky >= n {
			t.sticky = 0
		}
		i = t.sticky
	}
	pt := t.partitions[i]
	pt.queue = append(pt.queue, e)
	return pt
}

// moveSticky lets the next records without a key go elsewhere, where there is a leader.
func (t *topic) moveSticky() {
	n := len(t.partitions)
	start := rand.IntN(n)
	for k := range n {
		if i := (start + k) % n; t.partitions[i].leader != noLeader {
			t.sticky = int32(i)
			return
		}
	}
}

func (pt *partition) hasWork() bool { return pt.batch != nil || len(pt.queue) > 0 }

// seal makes the next batch of what waits, settled entries left out; nil when nothing does.
func (p *Producer) seal(pt *partition) *batch {
	var (
		b       recordbatch.Builder
		taken   []*entry
		size, n int
	)
	for _, e := range pt.queue {
		if !e.settled {
			if len(taken) > 0 && (size+e.size > maxBatchBytes || len(taken) == pt.limit) {
				break
			}
			size += e.size
			b.Append(e.rec.Timestamp.UnixMilli(), e.rec.Key, e.rec.Value, e.rec.Headers)
			taken = append(taken, e)
		}
		n++
	}
	pt.queue = slices.Delete(pt.queue, 0, n)
	if len(taken) == 0 {
		return nil
	}
	if pt.topic.sticky == pt.id {
		pt.topic.moveSticky()
	}
	data, err := b.Finish(p.params.Compression)
	if err != nil { // a codec that can't write to memory: not to be expected
		var ss []settlement
		for _, e := range taken {
			ss = p.settle(ss, e, Result{}, err, false)
		}
		p.later(ss)
		return nil
	}
	if p.params.Idempotent {
		s := pt.seq.stamp()
		recordbatch.Stamp(data, s.id, s.epoch, s.seq)
	}
	out := &batch{entries: taken, bytes: data}
	for _, e := range taken {
		e.batch = out
	}
	return out
}

// unseal puts the entries of a batch that was certainly not written back to the front of the queue.
func (pt *partition) unseal() {
	for _, e := range pt.batch.entries {
		e.batch = nil
	}
	pt.queue = append(pt.batch.entries, pt.queue...)
	pt.batch = nil
}

// unsettled reports whether anybody still waits for the batch.
func (b *batch) unsettled() bool {
	return slices.ContainsFunc(b.entries, func(e *entry) bool { return !e.settled })
}
