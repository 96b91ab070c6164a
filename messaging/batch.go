package messaging

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"go.opentelemetry.io/otel/trace"

	"github.com/expensevault/sharedlibrary/events"
)

const defaultBatchSize = 100

// WithBatchSize sets how many events a handler of [HandleBatch] gets at most; the default is 100.
func WithBatchSize(n int) HandlerOption {
	return handlerOption(func(o *handlerOptions) { o.batch, o.batchSet = n, true })
}

// HandleBatch registers fn for the events of type *E, several at once: those of
// one partition that wait, in order, [WithBatchSize] at most and one at least.
// Nothing waits for a batch to fill. While fn has a batch of a partition, nothing
// else of that partition is handled; partitions are handled in parallel. Each
// attempt decodes events of its own, which fn may change and keep, as the slice.
//
// Nil says that all of them are finished. With an error of [FailedAt] those
// before the one it names are finished, and the batch of the next attempt
// begins with that one. With any other error none is, and the whole batch is tried
// again, see [WithRetry], together with what came meanwhile. When the attempts are spent, or with a
// [Permanent] error, the batch is taken apart: each of its events is handled alone,
// once more, so that a bad one goes to the dead letters and does not take the
// others with it. A named one goes there by itself.
//
// What cannot be decoded goes to the dead letters alone, in its turn: those
// before it are handled before, those behind it after.
//
// Middleware runs for each record, the first record's being the outermost; its
// next returns when the batch is through. One that returns nil without calling next takes
// its record out of the batch, as finished. fn's ctx carries what middleware put there, and no event's
// story: no correlation or causation ID, and a trace of its own. The [Delivery] of fn's ctx is of the
// first event, without key and headers.
//
// It panics as [Handle] does.
func HandleBatch[E any, P interface {
	*E
	events.IntegrationEvent
}](m *Mux, fn func(ctx context.Context, batch []P) error, opts ...HandlerOption,
) {
	topic := P(new(E)).Topic()
	if err := topic.Validate(); err != nil {
		panic(fmt.Sprintf("messaging: HandleBatch: %T: %v", P(nil), err))
	}
	if fn == nil {
		panic(fmt.Sprintf("messaging: HandleBatch: nil handler for %T", P(nil)))
	}
	rt := &route{
		topic:   topic.String(),
		accepts: acceptsOf[E, P](topic),
		decode: func(ctx context.Context, r *Record) (events.IntegrationEvent, error) {
			e := P(new(E))
			return e, decodeEvent(ctx, r, e)
		},
		handle: handleInBatch,
		batch: func(ctx context.Context, evs []events.IntegrationEvent) error {
			batch := make([]P, len(evs))
			for i, e := range evs {
				p, ok := e.(P)
				if !ok {
					return fmt.Errorf("the event is a %T, not a %T", e, P(nil)) // decode makes no others
				}
				batch[i] = p
			}
			return fn(ctx, batch)
		},
	}
	m.register(rt, opts)
}

// FailedAt is the error of a handler of [HandleBatch] that knows which event
// failed: the i-th of its batch, from 0. Those before it are finished. It reads
// and unwraps as err, and takes [Permanent] and [RetryAfter] inside or around it. An i outside
// of the batch counts as none. FailedAt(i, nil) is nil.
func FailedAt(i int, err error) error {
	if err == nil {
		return nil
	}
	return &failedAtError{err, i}
}

type failedAtError struct {
	err error
	i   int
}

func (e *failedAtError) Error() string { return e.err.Error() }
func (e *failedAtError) Unwrap() error { return e.err }

// DispatchBatch has records of one topic handled at once, as [Mux.Dispatch]
// does one: by a handler of [HandleBatch], in one call; by another, one after
// the other until the first error. A record that cannot be decoded is the error, and nothing is
// handled. For no records it does nothing.
func (m *Mux) DispatchBatch(ctx context.Context, rs ...Record) error {
	if len(rs) == 0 {
		return nil
	}
	rt, err := m.routeOf(rs[0].Topic)
	if err != nil {
		return err
	}
	if rt.batch == nil {
		for i, r := range rs {
			if err := m.Dispatch(ctx, r); err != nil {
				return fmt.Errorf("record %d: %w", i, err)
			}
		}
		return nil
	}
	items := make([]batchItem, len(rs))
	for i, r := range rs {
		if r.Topic != rs[0].Topic {
			return fmt.Errorf("messaging: DispatchBatch: records of %s and of %s: a batch is of one topic", rs[0].Topic, r.Topic)
		}
		d, ok := DeliveryFrom(ctx)
		if !ok {
			d = nowhere().of(&r)
		}
		items[i] = batchItem{record: r, delivery: d}
		if items[i].event, err = rt.safeEvent(ctx, &r); err != nil {
			return err
		}
	}
	_, _, err = m.deliverBatch(ctx, rt, items, nil)
	return err
}

// batchItem is a record of a batch, decoded.
type batchItem struct {
	record   Record
	delivery Delivery
	event    events.IntegrationEvent
}

// safeEvent is event for who does not recover.
func (rt *route) safeEvent(ctx context.Context, r *Record) (e events.IntegrationEvent, err error) {
	defer recovered(&err)
	return rt.event(ctx, r)
}

type batchKey struct{}

// handleInBatch is the handler within the middleware of a batch's record: it goes on with the next record.
func handleInBatch(ctx context.Context, r Record) error {
	next, ok := ctx.Value(batchKey{}).(HandlerFunc)
	if !ok {
		return errors.New("messaging: a middleware called next with a context that is not the one it was given")
	}
	return next(ctx, r)
}

// deliverBatch handles items once. With an error, so many of the first are finished
// all the same; named says that the error is of the one behind them.
func (m *Mux) deliverBatch(ctx context.Context, rt *route, items []batchItem, span trace.Span) (done int, named bool, err error) {
	run := &batchRun{rt: rt, items: items, span: span, chain: m.chain(rt), evs: nil, given: nil}
	err = run.from(ctx, 0)
	if at := failedAt(err); at >= 0 && at < len(run.given) {
		return run.given[at], true, err
	}
	return 0, false, err
}

// failedAt asks an error of a handler which event it is of; -1: none.
func failedAt(err error) (i int) {
	defer func() {
		if recover() != nil { // of the error's own methods
			i = -1
		}
	}()
	if at, ok := errors.AsType[*failedAtError](err); ok {
		return at.i
	}
	return -1
}

// batchRun is one attempt at a batch.
type batchRun struct {
	rt    *route
	items []batchItem
	span  trace.Span // nil: none
	chain HandlerFunc
	evs   []events.IntegrationEvent // that came through the middleware
	given []int                     // which items they are
}

// from takes the items from i on through the middleware, and all that came through to the handler.
func (b *batchRun) from(ctx context.Context, i int) (err error) {
	defer recovered(&err)
	if i == len(b.items) {
		if len(b.evs) == 0 {
			return nil
		}
		d := b.items[b.given[0]].delivery
		d.Key, d.Headers = nil, nil
		return b.rt.batch((&attempt{given: &d, span: b.span}).within(ctx), slices.Clone(b.evs))
	}
	it := &b.items[i]
	before, called := len(b.evs), false
	a := &attempt{given: &it.delivery, record: it.record, span: b.span}
	if it.event != nil {
		a.decoded(it.event)
	}
	ctx = context.WithValue(a.within(ctx), batchKey{}, HandlerFunc(func(ctx context.Context, r Record) error {
		e, err := b.event(ctx, it, &r)
		if err != nil {
			return err
		}
		called = true
		b.evs, b.given = append(b.evs[:before], e), append(b.given[:before], i)
		return b.from(ctx, i+1)
	}))
	err = b.chain(ctx, it.record)
	if err == nil && !called {
		b.evs, b.given = b.evs[:before], b.given[:before]
		return b.from(ctx, i+1)
	}
	return err
}

// event is the item's, unless a middleware changed the value or calls the handler again.
func (b *batchRun) event(ctx context.Context, it *batchItem, r *Record) (events.IntegrationEvent, error) {
	if e := it.event; e != nil && sameBytes(it.record.Value, r.Value) {
		it.event = nil
		return e, nil
	}
	return b.rt.event(ctx, r)
}
