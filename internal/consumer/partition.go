package consumer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime/debug"
	"sync/atomic"

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
	worked        chan struct{} // closed when the worker is done

	// queue holds at most one fetched set, still compressed; the worker decodes it
	// batch by batch. Together with the set that is being handled this bounds the memory.
	queue chan *recordbatch.Reader
	done  atomic.Int64 // everything below is finished; -1 before the position is known

	committed int64 // by this member or found at the beginning, -1: none; owned by start, then by whoever commits
}

func newPartition(s *session, tp topicPartition) *partition {
	p := &partition{topicPartition: tp, s: s, queue: make(chan *recordbatch.Reader, 1), committed: -1, worked: make(chan struct{})}
	p.feed, p.stop = context.WithCancel(s.feed)
	p.work, p.abandon = context.WithCancel(s.work)
	p.done.Store(-1)
	return p
}

// start lets a partition's worker run. If an earlier worker's handler still
// does not return, the new one waits for it: one at a time, whatever happens.
func (p *partition) start(committed int64, before <-chan struct{}) {
	p.started = true
	p.committed = committed
	p.done.Store(committed)
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
		p.consume()
	}()
}

// drained is closed when no handler of the partition runs, and none will. It must be called after stop.
func (p *partition) drained() <-chan struct{} {
	if !p.started {
		return p.feed.Done()
	}
	return p.worked
}

// position is what may be committed: everything below is finished; false when that is not known or committed already.
func (p *partition) position() (int64, bool) {
	done := p.done.Load()
	return done, done >= 0 && done != p.committed
}

func (p *partition) consume() {
	for {
		select {
		case <-p.feed.Done():
			return
		case set := <-p.queue:
			p.s.fetcher.room()
			if !p.handleSet(set) {
				return
			}
		}
	}
}

// handleSet handles what a set holds; false when the worker has to end.
func (p *partition) handleSet(set *recordbatch.Reader) bool {
	most := 1
	if p.s.p.Batch != nil {
		most = max(1, p.s.p.Batch(p.topic))
	}
	for end := false; !end; {
		w := Work{Records: nil, Attempt: 1, State: nil, Guard: p}
		for len(w.Records) < most && !end {
			rec, err := set.Next()
			switch {
			case errors.Is(err, io.EOF):
				end = true
			case err != nil:
				p.s.fail(wrap("decode", err))
				return false
			default:
				w.Records = append(w.Records, rec)
			}
		}
		if len(w.Records) > 0 && !p.handleWork(&w) {
			return false
		}
		p.done.Store(set.Position())
	}
	return true
}

// handleWork returns when the work is finished; false when the worker has to end.
func (p *partition) handleWork(w *Work) bool {
	for p.s.pulse.wait(p.feed) {
		err := p.handle(w)
		var again *Again
		switch {
		case err == nil:
			return true
		case errors.As(err, &again):
			if again.Done > 0 {
				p.done.Store(w.Records[again.Done-1].Offset + 1)
				w.Records = w.Records[again.Done:]
			}
			w.Attempt++
			if !sleep(p.feed, again.After) {
				return false
			}
		default:
			if p.work.Err() == nil {
				p.s.fail(fmt.Errorf("consumer: handle offset %d of %s: %w", w.Records[0].Offset, p, err))
			}
			return false
		}
	}
	return false
}

// Owned implements [Guard].
func (p *partition) Owned(ctx context.Context) bool { return p.s.pulse.wait(ctx) }

// Draining implements [Guard].
func (p *partition) Draining() bool { return p.feed.Err() != nil }

func (p *partition) handle(w *Work) (err error) {
	returned := false
	rec := w.Records[0]
	defer func() {
		v := recover()
		if v == nil && !returned { // nobody would hear an error: the goroutine ends here
			p.s.fail(fmt.Errorf("consumer: handle offset %d of %s/%d: the handler ended its goroutine (runtime.Goexit); it has to return", rec.Offset, rec.Topic, rec.Partition))
		}
		if v != nil {
			err = &PanicError{Value: v, Stack: debug.Stack()}
			p.s.log.ErrorContext(p.work, "handler panicked", "error", err, "messaging.destination.name", rec.Topic,
				"messaging.destination.partition.id", rec.Partition, "messaging.kafka.offset", rec.Offset, "exception.stacktrace", string(debug.Stack()))
		}
	}()
	ctx, cancel := context.WithCancel(p.work)
	defer cancel()
	err = p.s.p.Handle(ctx, w)
	returned = true
	return err
}
