package consumer

import (
	"context"
	"fmt"
	"time"

	"github.com/expensevault/sharedlibrary/internal/recordbatch"
)

// Work is what Params.Handle is given: one record, or of a topic for which
// Params.Batch says so, some successive ones of a partition. It belongs to the
// handler until that returns, and no other of its lane is handed out before it is finished.
type Work struct {
	Records []*recordbatch.Record // at least one
	Attempt int                   // from 1; one more at each call after an [Again]
	// State is the handler's own: what it leaves there is there at the next attempt. Nil at the first.
	State any
	// Guard knows the member; nil, in tests, stands for one that owns everything and never stops.
	Guard Guard
}

// Guard tells a handler what has become of the member since the handler was called.
type Guard interface {
	Owned(ctx context.Context) bool
	Draining() bool
}

// Owned reports whether the partition is still this member's, as far as can be
// known without asking the broker. After a freeze, or while the coordinator is
// away for longer than a session, it waits for the next confirmation; false
// when ctx ends before. It is asked before each call of Handle; a handler
// that does something irrevocable late asks again.
func (w *Work) Owned(ctx context.Context) bool {
	if w.Guard == nil {
		return ctx.Err() == nil
	}
	return w.Guard.Owned(ctx)
}

// Draining reports whether the partition is about to be given up, or Run to
// end: the work will not be handed out again by this member. What fails now may fail for that reason.
func (w *Work) Draining() bool { return w.Guard != nil && w.Guard.Draining() }

// Again is the error by which Handle asks to be called again with the same
// work. Meanwhile its lane waits, and holds up nothing else. Whoever is
// draining does not call again: the records stay unfinished.
type Again struct {
	After time.Duration
	Done  int   // so many of the first Work.Records are finished, and will not be in the next attempt's
	Err   error // why; may be nil
}

func (e *Again) Error() string {
	if e.Err == nil {
		return fmt.Sprintf("again after %s", e.After)
	}
	return e.Err.Error()
}

func (e *Again) Unwrap() error { return e.Err }
