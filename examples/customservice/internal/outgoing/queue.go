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
// in the order in which it took them. They wait, in memory, for as long as the
// brokers are away. Lost are, and logged as such: what does not fit into the
// queue, what waits when the process ends, and what was on its way to a broker
// that stayed away for longer than Config.MessageTimeout. An outbox in the
// database loses none of them.
type Queue struct {
	kafka   Kafka
	gate    Gate
	log     *slog.Logger
	waiting chan waiting
	// abort ends what is on its way.
	abort     context.Context //nolint:containedctx // it is the life of the queue, not of a call
	abortNow  context.CancelFunc
	handed    chan struct{} // closed when Run has handed over everything
	mu        sync.Mutex    // orders Publish and Stop; guards what follows
	stopped   bool
	stats     Stats
	onItsWay  int
	allAnswer *sync.Cond
}

type waiting struct {
	ctx   context.Context //nolint:containedctx // it belongs to the event: correlation and trace
	event events.IntegrationEvent
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
	q := &Queue{kafka: kafka, gate: gate, log: log, waiting: make(chan waiting, size), handed: make(chan struct{})}
	q.abort, q.abortNow = context.WithCancel(context.Background())
	q.allAnswer = sync.NewCond(&q.mu)
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
	case len(evs) > cap(q.waiting)-len(q.waiting):
		err = fmt.Errorf("%w: %d events wait for a broker", ErrFull, len(q.waiting))
	}
	if err != nil {
		q.stats.Lost += int64(len(evs))
		q.stats.LastError = err.Error()
		return err
	}
	ctx = context.WithoutCancel(ctx)
	for _, e := range evs {
		q.waiting <- waiting{ctx, e} // there is room: only Publish, one at a time, adds
	}
	return nil
}

// Run hands events over until [Queue.Stop] is called and the queue is empty.
func (q *Queue) Run() {
	defer close(q.handed)
	for w := range q.waiting {
		if err := q.gate.Wait(q.abort); err != nil {
			q.settled(w.ctx, w.event, messaging.Receipt{}, ErrStopped)
			continue
		}
		q.mu.Lock()
		q.onItsWay++
		q.mu.Unlock()
		ctx, cancel := context.WithCancel(w.ctx)
		stop := context.AfterFunc(q.abort, cancel)
		q.kafka.PublishAsync(ctx, w.event, func(r messaging.Receipt, err error) {
			stop()
			cancel()
			q.settled(w.ctx, w.event, r, err)
			q.mu.Lock()
			q.onItsWay--
			q.allAnswer.Broadcast()
			q.mu.Unlock()
		})
	}
}

// settled logs what has become of an event.
func (q *Queue) settled(ctx context.Context, e events.IntegrationEvent, r messaging.Receipt, err error) {
	what := subject(e)
	if err == nil {
		q.mu.Lock()
		q.stats.Published++
		q.stats.LastTime = time.Now()
		q.mu.Unlock()
		q.log.InfoContext(ctx, fmt.Sprintf("Published %s for %s to topic %s", event.Name(e), what, e.Topic()),
			slog.String("user", e.PartitionKey()), slog.Int("partition", r.Partition), slog.Int64("offset", r.Offset),
			slog.String("event_id", e.Metadata().EventID.String()))
		return
	}
	q.mu.Lock()
	q.stats.Lost++
	q.stats.LastError = err.Error()
	q.mu.Unlock()
	q.log.ErrorContext(ctx, fmt.Sprintf("Failed to publish %s for %s to topic %s", event.Name(e), what, e.Topic()),
		slog.String("user", e.PartitionKey()), slog.String("event_id", e.Metadata().EventID.String()), slog.Any("error", err))
	if errors.Is(err, messaging.ErrTimeout) {
		q.gate.Suspect()
	}
}

// Stop takes no more events, and returns when all that were taken are
// published. When ctx ends the rest is given up, and logged.
func (q *Queue) Stop(ctx context.Context) {
	q.mu.Lock()
	if !q.stopped {
		q.stopped = true
		close(q.waiting)
	}
	left := len(q.waiting)
	q.mu.Unlock()
	if left > 0 {
		q.log.WarnContext(ctx, fmt.Sprintf("%d events still wait for a broker, and are lost when it does not come back in time", left))
	}
	stop := context.AfterFunc(ctx, q.abortNow)
	defer stop()
	<-q.handed
	q.mu.Lock()
	for q.onItsWay > 0 {
		q.allAnswer.Wait()
	}
	q.mu.Unlock()
	q.abortNow()
}

// Stats returns the figures of this moment.
func (q *Queue) Stats() Stats {
	q.mu.Lock()
	defer q.mu.Unlock()
	s := q.stats
	s.Waiting, s.OnItsWay = len(q.waiting), q.onItsWay
	return s
}

// subject is what the log says that an event is about.
func subject(e events.IntegrationEvent) string {
	if of, ok := e.(event.OfItem); ok {
		return "item " + of.ItemID().String()
	}
	return "user " + e.PartitionKey()
}
