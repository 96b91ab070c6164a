package messaging

import (
	"context"
	"sync"
	"sync/atomic"

	"github.com/google/uuid"
	"go.opentelemetry.io/otel/baggage"
	"go.opentelemetry.io/otel/trace"

	"github.com/expensevault/sharedlibrary/events"
	"github.com/expensevault/sharedlibrary/tracing"
)

// attempt is the context of one attempt at a record. The story that the record belongs to is read
// from it when somebody asks for what is not the attempt's own: many handlers never do.
type attempt struct {
	context.Context //nolint:containedctx // it is one; set by within

	record Record     // as it goes into the middleware
	span   trace.Span // nil: none
	given  *Delivery  // nil: it is that of record, with what follows
	place

	event       events.IntegrationEvent // nil: it is not decoded
	taken       atomic.Bool             // the event has its handler
	id          uuid.UUID               // the event's, as it was decoded
	correlation string                  // the same

	once  sync.Once
	story context.Context //nolint:containedctx // what once makes
}

// place is what a Delivery tells beside the record.
type place struct {
	partition int32
	offset    int64
	number    int // of the attempt
	group     string
}

// nowhere is the place of what comes from no broker.
func nowhere() place { return place{partition: -1, offset: -1, number: 1, group: ""} }

func (p place) of(r *Record) Delivery {
	return Delivery{Topic: r.Topic, Partition: p.partition, Offset: p.offset, Attempt: p.number, Group: p.group, Key: r.Key, Headers: r.Headers, Time: r.Timestamp}
}

type (
	attemptKey  struct{}
	deliveryKey struct{}
	codecKey    struct{}
)

// within returns the attempt as a context whose parent is ctx. It is called once.
func (a *attempt) within(ctx context.Context) context.Context {
	a.Context = ctx
	return a
}

// Value implements [context.Context].
func (a *attempt) Value(key any) any {
	switch key.(type) {
	case attemptKey, deliveryKey:
		return a
	case codecKey:
		return a.Context.Value(key)
	}
	return a.tell().Value(key)
}

func (a *attempt) delivery() Delivery {
	if a.given != nil {
		return *a.given
	}
	return a.of(&a.record)
}

// decoded notes the event. What is told of it later is as it is now: the handler may change it.
func (a *attempt) decoded(e events.IntegrationEvent) {
	b := e.Metadata()
	a.event, a.id, a.correlation = e, b.EventID, b.CorrelationID
}

// eventID is the event's as far as it is known.
func (a *attempt) eventID() uuid.UUID {
	if a.id != uuid.Nil {
		return a.id
	}
	return a.record.eventID()
}

// tell returns the context around the attempt with what record and event, if it is decoded, tell of the story that they belong to.
func (a *attempt) tell() context.Context {
	a.once.Do(func() {
		ctx := tracing.Extract(noStory(a.Context), a.record.Headers)
		if a.span != nil {
			ctx = trace.ContextWithSpan(ctx, a.span)
		}
		id, cause := a.eventID(), "" // the headers name what caused the record, not what it causes
		if id != uuid.Nil {
			cause = id.String()
		}
		ctx = tracing.WithCausationID(ctx, cause)
		if tracing.CorrelationID(ctx) == "" {
			ctx = tracing.WithCorrelationID(ctx, a.correlation)
		}
		if tracing.CorrelationID(ctx) == "" { // or it was not a valid one
			ctx = tracing.WithCorrelationID(ctx, cause)
		}
		a.story = ctx
	})
	return a.story
}

// noStory takes from a context what belongs to its caller's story: each record has its own.
func noStory(ctx context.Context) context.Context {
	if baggage.FromContext(ctx).Len() > 0 {
		ctx = baggage.ContextWithoutBaggage(ctx)
	}
	if trace.SpanContextFromContext(ctx).IsValid() {
		ctx = trace.ContextWithSpan(ctx, nil)
	}
	return tracing.WithCausationID(tracing.WithCorrelationID(ctx, ""), "")
}

// decodedEvent returns the event of r: the one that was decoded already, unless
// a middleware changed the value or calls the handler again.
func decodedEvent[E any, P interface {
	*E
	events.IntegrationEvent
}](ctx context.Context, r *Record,
) (P, error) {
	if a, ok := ctx.Value(attemptKey{}).(*attempt); ok && sameBytes(a.record.Value, r.Value) && a.taken.CompareAndSwap(false, true) {
		if e, ok := a.event.(P); ok {
			return e, nil
		}
	}
	e := P(new(E))
	return e, decodeEvent(ctx, r, e)
}

// sameBytes reports whether a and b are the same memory.
func sameBytes(a, b []byte) bool {
	return len(a) == len(b) && len(a) > 0 && &a[0] == &b[0]
}
