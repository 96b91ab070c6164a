package consumer

import (
	"errors"
	"fmt"
	"hash/maphash"
	"runtime/debug"

	"github.com/expensevault/sharedlibrary/internal/lane"
	"github.com/expensevault/sharedlibrary/internal/recordbatch"
)

// record is what goes through the lanes.
type record struct {
	rec   recordbatch.Record
	state any // of the handler, after its first attempt
}

const (
	// decodedAtOnce is how many records share one allocation.
	decodedAtOnce = 64
	// taskOverhead is what a record in a lane takes beside its bytes.
	taskOverhead = 256
)

// What may be in flight. A key that waits holds its own records and 8 bytes for each of the others that
// were finished meanwhile: it takes aheadRecords of them, or as many bytes of its own, until its partition waits too.
const (
	partitionRecords = 1 << 15
	partitionBytes   = 8 << 20
	totalBytes       = 32 << 20
	aheadRecords     = 1 << 17
	readyRecords     = 256
)

func newPool(p *Params) *lane.Pool[record] {
	return lane.NewPool(lane.Params[record]{
		Limits:      lane.Limits{Records: partitionRecords, Bytes: partitionBytes, Ahead: aheadRecords, Ready: max(readyRecords, 2*p.Concurrency), TotalBytes: totalBytes},
		Concurrency: p.Concurrency,
		NewHandler: func() func(lane.Run[record]) lane.Verdict {
			w := &Work{} //nolint:exhaustruct // filled in for each attempt
			return func(run lane.Run[record]) lane.Verdict {
				return run.Tag().(*partition).attempt(run, w) //nolint:forcetypeassert // no other tag is given
			}
		},
		Detach: func(r *record) { r.rec = r.rec.Clone() },
	})
}

// decode reads some records of a set; with an error come those before it.
func (p *partition) decode(set *recordbatch.Reader) ([]lane.Task[record], error) {
	tasks := make([]lane.Task[record], decodedAtOnce)
	for i := range tasks {
		t := &tasks[i]
		if err := set.Read(&t.Value.rec); err != nil {
			return tasks[:i], err
		}
		rec := &t.Value.rec
		t.Offset, t.Epoch, t.Size = rec.Offset, rec.LeaderEpoch, rec.Size()+taskOverhead
		if rec.Key != nil {
			t.Key, t.Keyed = maphash.Bytes(p.s.m.seed, rec.Key), true
		}
	}
	return tasks, nil
}

// attempt makes one call of the handler.
func (p *partition) attempt(run lane.Run[record], w *Work) lane.Verdict {
	if !p.s.pulse.wait(p.feed) {
		return lane.Verdict{Left: true}
	}
	*w = Work{Records: w.Records[:0], Attempt: run.Head.Attempt, State: run.Head.Value.state, Guard: p}
	for _, t := range run.Tasks() {
		w.Records = append(w.Records, &t.Value.rec)
	}
	err := p.handle(w)
	if err == nil {
		return lane.Verdict{}
	}
	if again, ok := errors.AsType[*Again](err); ok {
		for i, t := range run.Tasks() {
			if i == again.Done {
				t.Value.state = w.State
			}
		}
		return lane.Verdict{Again: true, After: again.After, Done: again.Done, Left: false}
	}
	if p.work.Err() == nil {
		p.s.fail(fmt.Errorf("consumer: handle offset %d of %s: %w", run.Head.Offset, p, err))
	}
	return lane.Verdict{Left: true}
}

func (p *partition) handle(w *Work) (err error) {
	returned := false
	defer func() {
		if returned {
			return
		}
		rec := w.Records[0]
		v := recover()
		if v == nil { // nobody would hear an error: the goroutine ends here
			p.s.fail(fmt.Errorf("consumer: handle offset %d of %s: the handler ended its goroutine (runtime.Goexit); it has to return", rec.Offset, p))
			return
		}
		stack := debug.Stack()
		err = &PanicError{Value: v, Stack: stack}
		p.s.log.ErrorContext(p.work, "handler panicked", "error", err, "messaging.destination.name", rec.Topic,
			"messaging.destination.partition.id", rec.Partition, "messaging.kafka.offset", rec.Offset, "exception.stacktrace", string(stack))
	}()
	err = p.s.p.Handle(p.work, w)
	returned = true
	return err
}
