package messaging

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"go.opentelemetry.io/otel/trace"

	"github.com/expensevault/sharedlibrary/internal/producer"
)

// asyncEvent is an event of PublishAsync under way. It is used again, by another one.
type asyncEvent struct {
	by    *KafkaPublisher
	topic string
	id    uuid.UUID
	done  func(Receipt, error)
	start time.Time
	span  trace.Span   // nil: none
	group *cancelGroup // nil: its context never ends
}

func (p *KafkaPublisher) asyncEvent() *asyncEvent {
	if a, ok := p.asyncs.Get().(*asyncEvent); ok {
		return a
	}
	fresh := make([]asyncEvent, 16) // when there is none, more will be needed
	for i := range fresh {
		fresh[i].by = p
		if i > 0 {
			p.asyncs.Put(&fresh[i])
		}
	}
	return &fresh[0]
}

// Settled is for the engine.
func (a *asyncEvent) Settled(_ int, res producer.Result, err error) {
	p, e := a.by, *a
	*a = asyncEvent{by: p} //nolint:exhaustruct // as above
	p.asyncs.Put(a)
	if e.group != nil {
		e.group.left.Add(1)
	}
	p.watch.sent(e.span, e.topic, e.id, e.start, res, err)
	if err != nil {
		e.done(Receipt{}, publishError(e.topic, e.id, err))
		return
	}
	e.done(Receipt{Topic: e.topic, Partition: int(res.Partition), Offset: res.Offset}, nil)
}

// cancels takes events back when their contexts end. Those of one context share a context.AfterFunc, which costs more than
// all else about an event; it lasts as long as its context or the publisher, or until
// there are too many.
type cancels struct {
	engine *producer.Producer

	mu     sync.Mutex
	groups map[<-chan struct{}]*cancelGroup // by Done of their contexts
	most   int                              // groups, before those without events are dropped
}

// cancelGroup is the events of one context.
type cancelGroup struct {
	stop   func() bool
	joined int64    // guarded by cancels.mu
	left   *counter // of those that joined; apart from what join looks at, since others write it all the time
}

// leastGroups is how many contexts of events are watched before those that have none under way are looked for.
const leastGroups = 1024

// join watches ctx for an event that the engine is about to get; nil for a ctx that never ends.
func (c *cancels) join(ctx context.Context) *cancelGroup {
	key := ctx.Done()
	if key == nil {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	g := c.groups[key]
	if g == nil {
		g = c.watch(ctx, key)
	}
	g.joined++
	return g
}

// watch makes a group.
func (c *cancels) watch(ctx context.Context, key <-chan struct{}) *cancelGroup {
	if len(c.groups) >= c.most {
		c.drop()
		c.most = max(leastGroups, 2*len(c.groups))
	}
	if c.groups == nil {
		c.groups = map[<-chan struct{}]*cancelGroup{}
	}
	g := &cancelGroup{left: new(counter)} //nolint:exhaustruct // stop follows
	g.stop = context.AfterFunc(ctx, func() { c.end(key, g, ctx.Err()) })
	c.groups[key] = g
	return g
}

// drop ends the watch of contexts that have no event under way.
func (c *cancels) drop() {
	for key, g := range c.groups {
		if g.joined == g.left.Load() {
			g.stop()
			delete(c.groups, key)
		}
	}
}

// close lets go of contexts, which may outlive the publisher, once all events are settled.
func (c *cancels) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.drop()
}

// end cancels what is under way of a context that has ended.
func (c *cancels) end(key <-chan struct{}, g *cancelGroup, err error) {
	c.mu.Lock()
	if c.groups[key] == g {
		delete(c.groups, key)
	}
	c.mu.Unlock()
	c.engine.CancelAll(func(done producer.Completion) bool {
		a, ok := done.(*asyncEvent)
		return ok && a.group == g
	}, err)
}

// counter has a cache line of its own.
type counter struct {
	atomic.Int64

	_ [56]byte
}
