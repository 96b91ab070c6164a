package messaging

import (
	"context"
	"fmt"
	"maps"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/google/uuid"

	"github.com/expensevault/sharedlibrary/events"
)

// Mux holds the handlers of a service, one per topic, and the middleware around
// them. It knows no broker: a [Subscriber] feeds it, or [Mux.Dispatch] in a test.
//
// The zero value is ready. It must not be copied after first use. Any number of
// goroutines may call its methods; but what is registered after [NewSubscriber]
// is not subscribed to.
type Mux struct {
	mu         sync.Mutex
	routes     map[string]*route
	middleware []Middleware
}

// Use adds middleware around the handlers, those registered before included;
// the first given is the outermost. A record that is being handled is not
// affected. A nil middleware panics.
func (m *Mux) Use(mw ...Middleware) {
	for _, f := range mw {
		if f == nil {
			panic("messaging: Mux.Use: nil middleware")
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.middleware = append(m.middleware, mw...)
	for _, rt := range m.routes {
		rt.chain.Store(nil)
	}
}

// Topics returns the topics that have a handler, by their default names, sorted.
func (m *Mux) Topics() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Sorted(maps.Keys(m.routes))
}

// Handle registers fn for the events of type *E: for their topic, which it asks
// of the zero value. Each attempt decodes an event of its own, which fn may
// change and keep. A record that does not hold such an event never reaches fn;
// it is a [DecodeError]. Such are:
//
//   - a body that [events.Decode], or the subscriber's [Codec], refuses;
//   - a body without an eventId, for handlers tell a redelivery by it;
//   - a tombstone: a record without a body. Whoever gives tombstones a meaning
//     uses [HandleRecord].
//
// Headers are not needed. fn's ctx carries the record's trace context; as
// correlation ID that of the headers, else that of the body, else the event's
// own ID; and as causation ID the event's ID. What fn publishes with it
// inherits them. Span, baggage and IDs of the context that Run or Dispatch was
// given do not reach it; its other values do. [DeliveryFrom] tells the rest.
//
// It panics, as [net/http.ServeMux.Handle] does, where the program is wrong: a
// nil fn, an invalid topic, a topic that has a handler, an invalid option.
func Handle[E any, P interface {
	*E
	events.IntegrationEvent
}](m *Mux, fn func(ctx context.Context, event P) error, opts ...HandlerOption,
) {
	topic := P(new(E)).Topic()
	if err := topic.Validate(); err != nil {
		panic(fmt.Sprintf("messaging: Handle: %T: %v", P(nil), err))
	}
	if fn == nil {
		panic(fmt.Sprintf("messaging: Handle: nil handler for %T", P(nil)))
	}
	m.register(&route{
		topic:   topic.String(),
		accepts: acceptsOf[E, P](topic),
		decode: func(ctx context.Context, r *Record) (events.IntegrationEvent, error) {
			e := P(new(E))
			return e, decodeEvent(ctx, r, e)
		},
		handle: func(ctx context.Context, r Record) error {
			e, err := decodedEvent[E, P](ctx, &r)
			if err != nil {
				return err
			}
			return fn(ctx, e)
		},
	}, opts)
}

// HandleRecord registers fn for a topic whose records it takes as they are:
// another system's, or with tombstones. The name may be any that Kafka allows.
// fn's ctx carries what the headers tell, as for [Handle]; the causation ID is
// that of a ce_id header which holds a UUID, and without one there is none. It
// panics as [Handle] does.
func HandleRecord(m *Mux, topic string, fn func(ctx context.Context, r Record) error, opts ...HandlerOption) {
	if err := checkTopicName(topic); err != nil {
		panic("messaging: HandleRecord: " + err.Error())
	}
	if fn == nil {
		panic("messaging: HandleRecord: nil handler for " + topic)
	}
	m.register(&route{topic: topic, handle: fn}, opts)
}

// Dispatch has r handled once: decoded, through the middleware, by the handler
// of r.Topic. There is no retry and no dead letter: the error is the handler's,
// a [DecodeError], an [UnhandledError], a [PanicError], or says that the topic has no handler. Where
// ctx carries no [Delivery] it gets one, of attempt 1, partition and offset -1.
//
// It is for tests, and for feeding a Mux from elsewhere than Kafka.
func (m *Mux) Dispatch(ctx context.Context, r Record) error {
	rt, err := m.routeOf(r.Topic)
	if err != nil {
		return err
	}
	if rt.batch != nil {
		return m.DispatchBatch(ctx, r)
	}
	a := &attempt{record: r, place: nowhere()}
	if d, ok := DeliveryFrom(ctx); ok {
		given := d // which is on the heap only where there is one
		a.given = &given
	}
	_, err = m.deliver(ctx, a, rt)
	return err
}

// routeOf returns the route of a topic that is said to have one.
func (m *Mux) routeOf(topic string) (*route, error) {
	rt := m.route(topic)
	if rt == nil {
		return nil, fmt.Errorf("messaging: topic %q has no handler; there are handlers for %q", topic, m.Topics())
	}
	return rt, nil
}

// route is the handler of a topic.
type route struct {
	topic   string // by its default name
	place   string // file:line of the registration
	options handlerOptions
	decode  func(context.Context, *Record) (events.IntegrationEvent, error) // nil: records are handled as they are
	accepts accepts                                                         // what decode is for
	handle  HandlerFunc
	batch   func(ctx context.Context, evs []events.IntegrationEvent) error // of a HandleBatch, else nil
	chain   atomic.Pointer[HandlerFunc]                                    // middleware around handle, nil until it is needed; written under Mux.mu
}

// route returns the route of a topic, nil where there is none.
func (m *Mux) route(topic string) *route {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.routes[topic]
}

// check reports what is wrong with the options, and takes them over.
func (rt *route) check() error {
	o := &rt.options
	if o.retry != nil {
		if err := o.retry.validate(); err != nil {
			return err
		}
	}
	switch {
	case o.batchSet && rt.batch == nil:
		return fmt.Errorf("messaging: WithBatchSize: the handler of %s takes one record at a time: register it by HandleBatch", rt.topic)
	case o.batchSet && o.batch < 1:
		return fmt.Errorf("messaging: WithBatchSize(%d): give 1 or more", o.batch)
	case !o.batchSet:
		o.batch = defaultBatchSize
	}
	if o.majors != nil {
		if rt.decode == nil {
			return fmt.Errorf("messaging: WithVersions: the handler of %s takes records as they are, of whatever version", rt.topic)
		}
		rt.accepts.majors = o.majors
	}
	return nil
}

// register is called by what the user calls, so that the place is the user's.
func (m *Mux) register(rt *route, opts []HandlerOption) {
	for _, o := range opts {
		o.applyHandler(&rt.options)
	}
	if err := rt.check(); err != nil {
		panic(err.Error())
	}
	rt.place = "an unknown place"
	if _, file, line, ok := runtime.Caller(2); ok {
		rt.place = fmt.Sprintf("%s:%d", file, line)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if first := m.routes[rt.topic]; first != nil {
		panic(fmt.Sprintf("messaging: topic %s has a handler, registered at %s; the second is at %s", rt.topic, first.place, rt.place))
	}
	if m.routes == nil {
		m.routes = make(map[string]*route)
	}
	m.routes[rt.topic] = rt
}

// deliver handles a's record once. The ID is the event's as far as it is known, where there is an error.
func (m *Mux) deliver(ctx context.Context, a *attempt, rt *route) (id uuid.UUID, err error) {
	defer func() {
		if err != nil {
			id = a.eventID()
		}
	}()
	defer recovered(&err)
	ctx = a.within(ctx)
	if rt.decode != nil {
		e, err := rt.event(ctx, &a.record)
		if err != nil {
			return uuid.Nil, err
		}
		a.decoded(e)
	}
	return a.id, m.chain(rt)(ctx, a.record)
}

// event decodes what the route is for.
func (rt *route) event(ctx context.Context, r *Record) (events.IntegrationEvent, error) {
	e, err := rt.decode(ctx, r)
	if err != nil {
		return nil, rt.accepts.judge(r, err)
	}
	return e, rt.accepts.check(r.Topic, e.Metadata())
}

// chain returns the route's handler within the middleware.
func (m *Mux) chain(rt *route) HandlerFunc {
	if h := rt.chain.Load(); h != nil {
		return *h
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	// Recovered here as well, so that middleware sees an error and not an unwinding stack.
	h := HandlerFunc(func(ctx context.Context, r Record) (err error) {
		defer recovered(&err)
		return rt.handle(ctx, r)
	})
	for _, mw := range slices.Backward(m.middleware) {
		h = mw(h)
	}
	rt.chain.Store(&h)
	return h
}
