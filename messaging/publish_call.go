package messaging

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"go.opentelemetry.io/otel/trace"

	"github.com/expensevault/sharedlibrary/internal/producer"
)

// call is one call that waits for its records. It is used again, by another call.
type call struct {
	scratch scratch
	recs    []producer.Record
	ids     []uuid.UUID
	spans   []trace.Span // nil ones where nobody looks
	watch   *observed
	start   time.Time
	tickets []producer.Ticket

	open atomic.Int64  // records that are not settled
	done chan struct{} // of one token: none is open

	mu     sync.Mutex
	failed []failedRecord
}

type failedRecord struct {
	n   int
	err error
}

// mostScratch is what a call keeps of its memory for the next one.
const mostScratch = 64 << 10

func (p *KafkaPublisher) call() *call {
	c, _ := p.calls.Get().(*call)
	if c == nil {
		return &call{done: make(chan struct{}, 1), watch: p.watch}
	}
	if cap(c.scratch.body) > mostScratch || cap(c.scratch.heads) > mostScratch {
		c.scratch = scratch{}
	}
	c.scratch.reset()
	clear(c.recs)
	clear(c.spans)
	c.recs, c.ids, c.spans, c.tickets, c.failed = c.recs[:0], c.ids[:0], c.spans[:0], c.tickets[:0], nil
	return c
}

func (c *call) add(r producer.Record, id uuid.UUID) {
	c.recs = append(c.recs, r)
	c.ids = append(c.ids, id)
	c.spans = append(c.spans, c.scratch.span)
}

// unsent ends the spans of what was encoded: none of it is sent.
func (c *call) unsent(err error) {
	for _, span := range c.spans {
		if span != nil {
			endSpan(span, err, errorType(err))
		}
	}
}

// publish hands the records to the engine and waits for all of them.
func (c *call) publish(ctx context.Context, engine *producer.Producer) error {
	if len(c.recs) == 0 {
		return nil
	}
	start := time.Now()
	c.start = start
	c.open.Store(int64(len(c.recs)))
	for i := range c.recs {
		t, err := engine.Produce(ctx, &c.recs[i], start, c, i)
		if err != nil { // those behind it must not overtake it
			for ; i < len(c.recs); i++ {
				c.Settled(i, producer.Result{}, err) //nolint:contextcheck // it has one of its own
			}
			break
		}
		c.tickets = append(c.tickets, t)
	}
	done := ctx.Done()
	if done == nil { // cheaper than a choice of one
		<-c.done
		return c.outcome()
	}
	select {
	case <-c.done:
	case <-done:
		for _, t := range c.tickets {
			engine.Cancel(t, ctx.Err())
		}
		<-c.done
	}
	return c.outcome()
}

// Settled is for the engine.
func (c *call) Settled(n int, res producer.Result, err error) {
	c.watch.sent(c.spans[n], c.recs[n].Topic, c.ids[n], c.start, res, err)
	if err != nil {
		c.mu.Lock()
		c.failed = append(c.failed, failedRecord{n, err})
		c.mu.Unlock()
	}
	if c.open.Add(-1) == 0 {
		c.done <- struct{}{}
	}
}

func (c *call) outcome() error {
	if len(c.failed) == 0 {
		return nil
	}
	slices.SortFunc(c.failed, func(a, b failedRecord) int { return a.n - b.n })
	out := publishErrors{acknowledged: len(c.recs) - len(c.failed)}
	for _, f := range c.failed {
		out.errs = append(out.errs, publishError(c.recs[f.n].Topic, c.ids[f.n], f.err))
	}
	if len(c.recs) == 1 {
		return out.errs[0]
	}
	return out
}
