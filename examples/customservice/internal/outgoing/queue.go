// Package outgoing brings the events of requests to Kafka behind the requests'
// backs: a broker that is slow or away does not hold up anybody.
package outgoing

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/expensevault/sharedlibrary/events"
	"github.com/expensevault/sharedlibrary/examples/customservice/internal/event"
	"github.com/expensevault/sharedlibrary/messaging"
)

// ErrFull says that an event is lost, because too many wait already.
var ErrFull = errors.New("outgoing: the queue is full")

// ErrStopped says that an event is lost, because the service stops.
var ErrStopped = errors.New("outgoing: the service stops")

// Kafka is what the queue needs of a [messaging.KafkaPublisher].
type Kafka interface {
	PublishAsync(ctx context.Context, e events.IntegrationEvent, done func(messaging.Receipt, error))
}

// Gate is closed while the brokers are away.
type Gate interface {
	// Wait returns nil when it is open, or the error of ctx.
	Wait(ctx context.Context) error
	// Suspect says that something was not acknowledged in time.
	Suspect()
}

// Queue is a [messaging.Publisher] that takes events at once and publishes them
// behind its caller's back: those of one partition key one after the other, each
// when the one before is acknowledged, so that they have their order also where
// they go to different topics. They wait, in memory, for as long as the brokers
// are away. Lost are, and logged as such: what does not fit into the queue, what
// waits when the process ends, and what was on its way to a broker that stayed
// away for longer than Config.MessageTimeout. An outbox in the database loses
// none of them.
type Queue struct {
	kafka Kafka
	gate  Gate
	log   *slog.Logger
	size  int
	// abort ends what is on its way.
	abort    context.Context //nolint:containedctx // it is the life of the queue, not of a call
	abortNow context.CancelFunc
	ended    chan struct{} // closed when Run returns

	mu      sync.Mutex
	changed *sync.Cond
	lanes   map[string][]waiting // by key; the first of each is on its way or in ready
	ready   []waiting            // to be handed over next
	taken   int                  // and not settled: the events in lanes, and those without a key
	sent    int                  // of these, on their way
	stopped bool
	stats   Stats
}

type waiting struct {
	ctx   context.Context //nolint:containedctx // it belongs to the event: correlation and trace
	event events.IntegrationEvent
	key   string
}

// Stats is what became of the events.
type Stats struct {
	Waiting   int       // in the queue
	OnItsWay  int       // handed to Kafka's client and not answered
	Published int64     // acknowledged
	Lost      int64     // given up
	LastError string    // of the last that was given up
	LastTime  time.Time // of the last that was acknowledged
}

// NewQueue returns a queue for size events. [Queue.Run] empties it.
func NewQueue(kafka Kafka, gate Gate, size int, log *slog.Logger) *Queue {
	q := &Queue{kafka: kafka, gate: gate, log: log, size: size, ended: make(chan struct{}), lanes: make(map[string][]waiting)}
	q.abort, q.abortNow = context.WithCancel(context.Background())
	q.changed = sync.NewCond(&q.mu)
	return q
}

// Publish takes all of the events, or none where they do not fit ([ErrFull]),
// are not valid, or [Queue.Stop] was called ([ErrStopped]). It does not wait, and
// nil does not mean that they are published: the log tells when they are, or why
// they are not. ctx may end; its values stay with the events.
func (q *Queue) Publish(ctx context.Context, evs ...events.IntegrationEvent) error {
	for _, e := range evs {
		if err := events.Stamp(e); err != nil { // now, since it says when
			return fmt.Errorf("%w: %w", messaging.ErrInvalidEvent, err)
		}
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	err := error(nil)
	switch {
	case q.stopped:
		err = ErrStopped
	case len(evs) > q.size-q.taken:
		err = fmt.Errorf("%w: %d events wait for a broker", ErrFull, q.taken)
	}
	if err != nil {
		q.stats.Lost += int64(len(evs))
		q.stats.LastError = err.Error()
		return err
	}
	ctx = context.WithoutCancel(ctx)
	for _, e := range evs {
		q.take(waiting{ctx, e, e.PartitionKey()})
	}
	return nil
}

func (q *Queue) take(w waiting) {
	q.taken++
	if w.key != "" {
		q.lanes[w.key] = append(q.lanes[w.key], w)
		if len(q.lanes[w.key]) > 1 {
			return
		}
	}
	q.ready = append(q.ready, w)
	q.changed.Broadcast()
}

// Run hands events over until [Queue.Stop] was called and all are settled.
func (q *Queue) Run() {
	defer close(q.ended)
	for {
		w, ok := q.next()
		if !ok {
			return
		}
		if err := q.gate.Wait(q.abort); err != nil {
			q.sending()
			q.settled(w, messaging.Receipt{}, ErrStopped)
			continue
		}
		q.sending()
		ctx, cancel := context.WithCancel(w.ctx)
		stop := context.AfterFunc(q.abort, cancel)
		q.kafka.PublishAsync(ctx, w.event, func(r messaging.Receipt, err error) {
			stop()
			cancel()
			q.settled(w, r, err)
		})
	}
}

// next returns the event whose turn it is; false says that there will be none.
func (q *Queue) next() (waiting, bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for len(q.ready) == 0 {
		if q.stopped && q.taken == 0 {
			return waiting{}, false
		}
		q.changed.Wait()
	}
	w := q.ready[0]
	q.ready[0] = waiting{}
	q.ready = q.ready[1:]
	return w, true
}

func (q *Queue) sending() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.sent++
}

// settled logs what has become of an event, and lets the next of its key go.
func (q *Queue) settled(w waiting, r messaging.Receipt, err error) {
	q.tell(w, r, err)
	q.mu.Lock()
	defer q.mu.Unlock()
	q.taken--
	q.sent--
	if err == nil {
		q.stats.Published++
		q.stats.LastTime = time.Now()
	} else {
		q.stats.Lost++
		q.stats.LastError = err.Error()
	}
	if w.key != "" {
		switch lane := q.lanes[w.key]; len(lane) {
		case 1:
			delete(q.lanes, w.key)
		default:
			lane[0] = waiting{}
			q.lanes[w.key] = lane[1:]
			q.ready = append(q.ready, lane[1])
		}
	}
	q.changed.Broadcast()
}

func (q *Queue) tell(w waiting, r messaging.Receipt, err error) {
	e := w.event
	attrs := []slog.Attr{slog.String("user", w.key), slog.String("event_id", e.Metadata().EventID.String())}
	if err == nil {
		q.log.LogAttrs(w.ctx, slog.LevelInfo, fmt.Sprintf("Published %s for %s to topic %s", event.Name(e), subject(e), e.Topic()),
			append(attrs, slog.Int("partition", r.Partition), slog.Int64("offset", r.Offset))...)
		return
	}
	q.log.LogAttrs(w.ctx, slog.LevelError, fmt.Sprintf("Failed to publish %s for %s to topic %s", event.Name(e), subject(e), e.Topic()),
		append(attrs, slog.Any("error", err))...)
	if errors.Is(err, messaging.ErrTimeout) {
		q.gate.Suspect()
	}
}

// Stop takes no more events, and returns when all that were taken are
// published. When ctx ends the rest is given up, and logged.
func (q *Queue) Stop(ctx context.Context) {
	q.mu.Lock()
	q.stopped = true
	left := q.taken
	q.changed.Broadcast()
	q.mu.Unlock()
	if left > 0 {
		q.log.WarnContext(ctx, fmt.Sprintf("%d events are not published yet; they are lost when no broker takes them in time", left))
	}
	stop := context.AfterFunc(ctx, q.abortNow)
	defer stop()
	<-q.ended
	q.abortNow()
}

// Stats returns the figures of this moment.
func (q *Queue) Stats() Stats {
	q.mu.Lock()
	defer q.mu.Unlock()
	s := q.stats
	s.Waiting, s.OnItsWay = q.taken-q.sent, q.sent
	return s
}

// subject is what the log says that an event is about.
func subject(e events.IntegrationEvent) string {
	if of, ok := e.(event.OfItem); ok {
		return "item " + of.ItemID().String()
	}
	return "user " + e.PartitionKey()
}
