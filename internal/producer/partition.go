package producer

import (
	"math/rand/v2"
	"slices"
	"time"

	"github.com/segmentio/kafka-go/compress"

	"github.com/expensevault/sharedlibrary/internal/recordbatch"
)

// noLeader is the leader of a partition that has none, or whose leader is not known.
const noLeader int32 = -1

// topic is what is known of one topic; guarded by the producer's mutex.
type topic struct {
	name       string
	partitions []*partition // nil until metadata came; those that vanished stay, for their sequences
	count      int32        // of the partitions that there are now
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
	tries  int   // failed ones since the last success
	limit  int   // records in the next batch at most; 0: no limit but its size
	err    error // why the last try failed; nil after a success
}

// batch is a sealed one. Its bytes never change.
type batch struct {
	entries []*entry
	stamp   stamp
	size    int    // of the entries
	bytes   []byte // nil until build
	// maybe is set from the moment at which the bytes may have reached a broker that may have appended them.
	maybe bool
	// before is maybe as it was before the try under way.
	before bool
}

// route gives an entry of a topic with partitions its place.
func (t *topic) route(e *entry, by Partitioner) *partition {
	n := t.count
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
	n := int(t.count)
	start := rand.IntN(n)
	for k := range n {
		if i := (start + k) % n; t.partitions[i].leader != noLeader {
			t.sticky = int32(i)
			return
		}
	}
}

func (pt *partition) hasWork() bool { return pt.batch != nil || len(pt.queue) > 0 }

// seal makes the next batch of what waits, settled entries left out; nil when
// nothing does. Its bytes are made later, by build.
func (p *Producer) seal(pt *partition) *batch {
	var (
		out     = &batch{stamp: stamp{recordbatch.NoProducer, recordbatch.NoProducer, recordbatch.NoProducer}}
		size, n int
	)
	for _, e := range pt.queue {
		if !e.settled {
			if len(out.entries) > 0 && (size+e.size > maxBatchBytes || len(out.entries) == pt.limit) {
				break
			}
			size += e.size
			e.batch = out
			out.entries = append(out.entries, e)
		}
		n++
	}
	pt.queue = slices.Delete(pt.queue, 0, n)
	if len(out.entries) == 0 {
		return nil
	}
	out.size = size
	if pt.topic.sticky == pt.id {
		pt.topic.moveSticky()
	}
	if p.params.Idempotent {
		out.stamp = pt.seq.stamp()
	}
	return out
}

// build makes the bytes, once. It needs no mutex: entries in a batch do not change.
func (b *batch) build(codec compress.Compression) error {
	if b.bytes != nil {
		return nil
	}
	var rb recordbatch.Builder
	for _, e := range b.entries {
		rb.Append(e.rec.Timestamp.UnixMilli(), e.rec.Key, e.rec.Value, e.rec.Headers)
	}
	data, err := rb.Finish(codec)
	if err != nil {
		return err
	}
	recordbatch.Stamp(data, b.stamp.id, b.stamp.epoch, b.stamp.seq)
	b.bytes = data
	return nil
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
