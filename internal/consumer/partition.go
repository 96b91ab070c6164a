package consumer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/expensevault/sharedlibrary/internal/lane"
	"github.com/expensevault/sharedlibrary/internal/recordbatch"
)

type topicPartition struct {
	topic     string
	partition int32
}

func (tp topicPartition) String() string { return fmt.Sprintf("%s/%d", tp.topic, tp.partition) }

// partition is one that this member holds, from the generation in which it got it to the one in which it gives it up.
//
// take makes it, start begins it at a position, stop ends what is new, drained tells when its handlers are done, abandon ends
// their contexts.
type partition struct {
	topicPartition
	s *session

	feed, work    context.Context //nolint:containedctx // as the session's, and ended by them
	stop, abandon context.CancelFunc
	started       bool          // owned by begin
	worked        chan struct{} // closed when no handler runs any more, and none will

	// queue holds at most one fetched set, still compressed; the feeder decodes it as the lanes
	// have room. Together with the set that is being decoded and what is in the lanes this bounds the memory.
	queue   chan portion
	lanes   atomic.Pointer[lane.Partition[record]] // from start on
	rewound atomic.Bool                            // the position may have gone backwards
	end     atomic.Int64                           // behind the last record, as the last fetch told; -1: none yet
	moved   motion

	committed position // by this member or found at the beginning, of offset -1: none; owned by start, then by whoever commits
}

// motion notes since when a position stands still.
type motion struct {
	mu    sync.Mutex
	at    int64
	since time.Time // zero: there was nothing to do
}

// look returns since when the position has not moved with work to do; zero: it has, or there is none.
func (m *motion) look(at int64, work bool, now time.Time) time.Time {
	m.mu.Lock()
	defer m.mu.Unlock()
	switch {
	case !work:
		m.since = time.Time{}
	case m.since.IsZero() || m.at != at:
		m.since = now
	}
	m.at = at
	return m.since
}

// portion is what the fetcher hands to a partition: a set of records, or, where that is nil, the offset to go on at.
type portion struct {
	set    *recordbatch.Reader
	offset int64
}

func newPartition(s *session, tp topicPartition) *partition {
	p := &partition{topicPartition: tp, s: s, queue: make(chan portion, 1), worked: make(chan struct{})}
	p.committed.offset = -1
	p.end.Store(-1)
	p.feed, p.stop = context.WithCancel(s.feed)
	p.work, p.abandon = context.WithCancel(s.work)
	return p
}

// start lets a partition be handled. If an earlier worker's handler still
// does not return, the new ones wait for it: one at a time, whatever happens.
func (p *partition) start(committed position, before <-chan struct{}) {
	p.started = true
	p.committed = committed
	batch := 1
	if p.s.p.Batch != nil {
		batch = p.s.p.Batch(p.topic)
	}
	pool := p.s.m.pool
	lanes := pool.Open(committed.offset, lane.DecodeAbove(committed.offset, committed.metadata), batch, p)
	p.lanes.Store(lanes)
	p.s.p.Control.heed(p)
	go func() {
		defer close(p.worked)
		if before != nil {
			select {
			case <-before:
			case <-p.feed.Done():
				<-before // finished then means that both are
				return
			}
		}
		p.feedAll(lanes)
		pool.Stop(lanes)
		<-lanes.Drained()
	}()
}

// drained is closed when no handler of the partition runs, and none will. It must be called after stop.
func (p *partition) drained() <-chan struct{} {
	if !p.started {
		return p.feed.Done()
	}
	return p.worked
}

// position is what may be committed, with metadata of at most limit bytes; false when it is not known, or committed already.
func (p *partition) position(limit int) (position, bool) {
	lanes := p.lanes.Load()
	if lanes == nil {
		return position{}, false
	}
	st := p.s.m.pool.State(lanes, min(limit/2, lane.MostRanges))
	pos := position{
		topic: p.topic, partition: p.partition, offset: st.Position, epoch: st.Epoch,
		metadata: lane.EncodeAbove(st.Position, st.Above, limit),
	}
	if pos.offset < 0 || pos.offset < p.committed.offset && !p.rewound.Load() {
		return position{}, false
	}
	return pos, pos.offset != p.committed.offset || pos.metadata != p.committed.metadata
}

// at is the lowest offset that is not finished; -1: not known.
func (p *partition) at() int64 {
	lanes := p.lanes.Load()
	if lanes == nil {
		return -1
	}
	return p.s.m.pool.State(lanes, 0).Position
}

// feedAll decodes what was fetched into the lanes, until the partition is stopped.
func (p *partition) feedAll(lanes *lane.Partition[record]) {
	for {
		select {
		case <-p.feed.Done():
			return
		case next := <-p.queue:
			p.s.fetcher.room()
			if !p.feedOne(lanes, next) {
				return
			}
		}
	}
}

// feedOne takes one portion; false when the partition is stopped.
func (p *partition) feedOne(lanes *lane.Partition[record], next portion) bool {
	pool := p.s.m.pool
	if next.set == nil {
		if !pool.Rewind(p.feed, lanes, next.offset) {
			return false
		}
		p.rewound.Store(true)
		return true
	}
	for {
		tasks, err := p.decode(next.set)
		if !pool.Feed(p.feed, lanes, tasks, next.set.Position()) {
			return false
		}
		if errors.Is(err, io.EOF) {
			return true
		}
		if err != nil {
			if pool.Settled(p.feed, lanes) { // what lies before counts
				p.s.fail(wrap("decode", err))
			}
			return false
		}
	}
}

// Owned implements [Guard].
func (p *partition) Owned(ctx context.Context) bool { return p.s.pulse.wait(ctx) }

// Draining implements [Guard].
func (p *partition) Draining() bool { return p.feed.Err() != nil }
