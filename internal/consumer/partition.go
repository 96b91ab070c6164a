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

// partition is one assigned partition, for one generation.
type partition struct {
	topicPartition

	// queue holds at most one fetched set, still compressed; the worker decodes it
	// batch by batch. Together with the set that is being handled this bounds the memory.
	queue    chan *recordbatch.Reader
	done     atomic.Int64 // everything below is finished; -1 before the position is known
	finished chan struct{}

	committed int64 // by this member or found at the beginning, -1: none; owned by begin, then by whoever commits
}

func newPartition(tp topicPartition) *partition {
	p := &partition{topicPartition: tp, queue: make(chan *recordbatch.Reader, 1), committed: -1}
	p.done.Store(-1)
	return p
}

// start lets a partition's worker run. If an earlier generation's handler still
// does not return, the new worker waits for it: one at a time, whatever happens.
func (s *session) start(p *partition) {
	before := s.running[p.topicPartition]
	p.finished = make(chan struct{})
	s.running[p.topicPartition] = p.finished
	go func() {
		defer close(p.finished)
		if before != nil {
			select {
			case <-before:
			case <-s.feed.Done():
				<-before // finished then means that both are
				return
			}
		}
		s.consume(p)
	}()
}

func (s *session) consume(p *partition) {
	for {
		select {
		case <-s.feed.Done():
			return
		case set := <-p.queue:
			select {
			case s.wake <- struct{}{}:
			default:
			}
			if !s.handleSet(p, set) {
				return
			}
		}
	}
}

// handleSet handles what a set holds; false when the worker has to end.
func (s *session) handleSet(p *partition, set *recordbatch.Reader) bool {
	most := 1
	if s.p.Batch != nil {
		most = max(1, s.p.Batch(p.topic))
	}
	for end := false; !end; {
		w := Work{Records: nil, Attempt: 1, State: nil, Guard: s}
		for len(w.Records) < most && !end {
			rec, err := set.Next()
			switch {
			case errors.Is(err, io.EOF):
				end = true
			case err != nil:
				s.fail(wrap("decode", err))
				return false
			default:
				w.Records = append(w.Records, rec)
			}
		}
		if len(w.Records) > 0 && !s.handleWork(p, &w) {
			return false
		}
		p.done.Store(set.Position())
	}
	return true
}

// handleWork returns when the work is finished; false when the worker has to end.
func (s *session) handleWork(p *partition, w *Work) bool {
	for s.pulse.wait(s.feed) {
		err := s.handle(w)
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
			if !sleep(s.feed, again.After) {
				return false
			}
		default:
			if s.work.Err() == nil {
				s.fail(fmt.Errorf("consumer: handle offset %d of %s: %w", w.Records[0].Offset, p, err))
			}
			return false
		}
	}
	return false
}

// Owned implements [Guard].
func (s *session) Owned(ctx context.Context) bool { return s.pulse.wait(ctx) }

// Draining implements [Guard].
func (s *session) Draining() bool { return s.feed.Err() != nil }

func (s *session) handle(w *Work) (err error) {
	returned := false
	rec := w.Records[0]
	defer func() {
		v := recover()
		if v == nil && !returned { // nobody would hear an error: the goroutine ends here
			s.fail(fmt.Errorf("consumer: handle offset %d of %s/%d: the handler ended its goroutine (runtime.Goexit); it has to return", rec.Offset, rec.Topic, rec.Partition))
		}
		if v != nil {
			err = &PanicError{Value: v, Stack: debug.Stack()}
			s.log.ErrorContext(s.work, "handler panicked", "error", err, "messaging.destination.name", rec.Topic,
				"messaging.destination.partition.id", rec.Partition, "messaging.kafka.offset", rec.Offset, "exception.stacktrace", string(debug.Stack()))
		}
	}()
	ctx, cancel := context.WithCancel(s.work)
	defer cancel()
	err = s.p.Handle(ctx, w)
	returned = true
	return err
}
