package outgoing_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/expensevault/sharedlibrary/events"
	"github.com/expensevault/sharedlibrary/examples/customservice/internal/event"
	"github.com/expensevault/sharedlibrary/examples/customservice/internal/outgoing"
	"github.com/expensevault/sharedlibrary/messaging"
	"github.com/expensevault/sharedlibrary/tracing"
)

// fakeKafka answers when it is told to, or when the event's context ends.
type fakeKafka struct {
	mu     sync.Mutex
	events []events.IntegrationEvent
	ids    []string // the correlation IDs
	answer func(done func(messaging.Receipt, error))
}

func (k *fakeKafka) PublishAsync(ctx context.Context, e events.IntegrationEvent, done func(messaging.Receipt, error)) {
	k.mu.Lock()
	k.events = append(k.events, e)
	k.ids = append(k.ids, tracing.CorrelationID(ctx))
	answer := k.answer
	k.mu.Unlock()
	if answer == nil {
		go func() {
			<-ctx.Done()
			done(messaging.Receipt{}, ctx.Err())
		}()
		return
	}
	answer(done)
}

func (k *fakeKafka) names() []string {
	k.mu.Lock()
	defer k.mu.Unlock()
	var out []string
	for _, e := range k.events {
		out = append(out, e.(*event.ItemCreated).Name)
	}
	return out
}

func acknowledge(done func(messaging.Receipt, error)) {
	done(messaging.Receipt{Partition: 3, Offset: 7}, nil)
}

type fakeGate struct {
	open      chan struct{}
	suspicion int
}

func (g *fakeGate) Wait(ctx context.Context) error {
	select {
	case <-g.open:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (g *fakeGate) Suspect() { g.suspicion++ }

type bundle struct {
	*outgoing.Queue

	kafka *fakeKafka
	gate  *fakeGate
	log   *bytes.Buffer
}

func setup(size int) *bundle {
	b := &bundle{kafka: &fakeKafka{answer: acknowledge}, gate: &fakeGate{open: make(chan struct{})}, log: &bytes.Buffer{}}
	b.Queue = outgoing.NewQueue(b.kafka, b.gate, size, slog.New(tracing.NewLogHandler(slog.NewTextHandler(b.log, nil))))
	return b
}

func sample(n int) *event.ItemCreated {
	return &event.ItemCreated{CustomItemID: uuid.New(), UserID: uuid.New(), Name: strconv.Itoa(n)}
}

func TestEventsWaitForTheBroker(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		q := setup(10)
		go q.Run()
		var want []string
		for i := range 10 {
			ctx, cancel := context.WithCancel(tracing.WithCorrelationID(t.Context(), fmt.Sprint("c", i)))
			require.NoError(t, q.Publish(ctx, sample(i)))
			cancel() // the request is over
			want = append(want, strconv.Itoa(i))
		}
		time.Sleep(time.Hour) //nolint:forbidigo // time is the bubble's
		assert.Empty(t, q.kafka.names())
		assert.Zero(t, q.Stats().Published)

		close(q.gate.open)
		synctest.Wait()
		assert.Equal(t, want, q.kafka.names(), "in the order in which they came")
		assert.Equal(t, "c3", q.kafka.ids[3])
		assert.EqualValues(t, 10, q.Stats().Published)
		id := q.kafka.events[3].(*event.ItemCreated).CustomItemID
		assert.Contains(t, q.log.String(), "Published ItemCreated for item "+id.String()+" to topic customservice.item.created")
		assert.Contains(t, q.log.String(), "correlation_id=c3")
		q.Stop(t.Context())
	})
}

// The events of one user go one after the other, whatever their topics.
func TestOneUserInOrder(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		q := setup(10)
		close(q.gate.open)
		var answers []func(messaging.Receipt, error)
		q.kafka.answer = func(done func(messaging.Receipt, error)) { answers = append(answers, done) }
		go q.Run()
		ann, bob := uuid.New(), uuid.New()
		for i, user := range []uuid.UUID{ann, ann, bob, ann} {
			e := sample(i)
			e.UserID = user
			require.NoError(t, q.Publish(t.Context(), e))
		}
		synctest.Wait()
		assert.Equal(t, []string{"0", "2"}, q.kafka.names(), "the first of each user")
		assert.Equal(t, 2, q.Stats().OnItsWay)
		assert.Equal(t, 2, q.Stats().Waiting)
		answers[0](messaging.Receipt{}, errors.New("too large"))
		synctest.Wait()
		assert.Equal(t, []string{"0", "2", "1"}, q.kafka.names(), "what fails does not hold up the others")
		acknowledge(answers[2])
		synctest.Wait()
		assert.Equal(t, []string{"0", "2", "1", "3"}, q.kafka.names())
		acknowledge(answers[3])
		acknowledge(answers[1])
		q.Stop(t.Context())
		assert.EqualValues(t, 3, q.Stats().Published)
		assert.Zero(t, q.Stats().Waiting+q.Stats().OnItsWay)
	})
}

func TestFull(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		q := setup(2)
		require.NoError(t, q.Publish(t.Context(), sample(1)))
		require.ErrorIs(t, q.Publish(t.Context(), sample(2), sample(3)), outgoing.ErrFull)
		require.NoError(t, q.Publish(t.Context(), sample(4)))
		require.ErrorIs(t, q.Publish(t.Context(), sample(5)), outgoing.ErrFull)
		s := q.Stats()
		assert.Equal(t, 2, s.Waiting)
		assert.EqualValues(t, 3, s.Lost)
		assert.Contains(t, s.LastError, "full")

		close(q.gate.open)
		go q.Run()
		q.Stop(t.Context())
		assert.Equal(t, []string{"1", "4"}, q.kafka.names(), "all or none of a call")
	})
}

func TestInvalid(t *testing.T) {
	t.Parallel()
	q := setup(2)
	require.ErrorIs(t, q.Publish(t.Context(), sample(1), nil), messaging.ErrInvalidEvent)
	assert.Zero(t, q.Stats().Waiting)
}

func TestFailureIsLoggedAndSuspected(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		q := setup(2)
		close(q.gate.open)
		q.kafka.answer = func(done func(messaging.Receipt, error)) {
			done(messaging.Receipt{}, fmt.Errorf("%w: connection refused", messaging.ErrTimeout))
		}
		go q.Run()
		e := sample(1)
		require.NoError(t, q.Publish(tracing.WithCorrelationID(t.Context(), "abc"), e))
		q.Stop(t.Context())
		assert.Contains(t, q.log.String(), "Failed to publish ItemCreated for item "+e.CustomItemID.String())
		assert.Contains(t, q.log.String(), "connection refused")
		assert.Contains(t, q.log.String(), "correlation_id=abc")
		assert.Equal(t, 1, q.gate.suspicion)
		assert.EqualValues(t, 1, q.Stats().Lost)
	})
}

// What waits and what is on its way is published on stopping, and given up at the deadline.
func TestStop(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		q := setup(10)
		close(q.gate.open)
		q.kafka.answer = func(done func(messaging.Receipt, error)) {
			time.AfterFunc(time.Second, func() { acknowledge(done) })
		}
		go q.Run()
		require.NoError(t, q.Publish(t.Context(), sample(1), sample(2)))
		q.Stop(t.Context())
		assert.EqualValues(t, 2, q.Stats().Published)
		require.ErrorIs(t, q.Publish(t.Context(), sample(3)), outgoing.ErrStopped)
	})
	synctest.Test(t, func(t *testing.T) {
		q := setup(10)
		close(q.gate.open)
		q.kafka.answer = nil
		go q.Run()
		require.NoError(t, q.Publish(t.Context(), sample(1)))
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		begin := time.Now()
		q.Stop(ctx)
		assert.Equal(t, 5*time.Second, time.Since(begin))
		assert.EqualValues(t, 1, q.Stats().Lost)
		assert.Contains(t, q.log.String(), "Failed to publish")
	})
	synctest.Test(t, func(t *testing.T) {
		q := setup(10) // its gate stays closed
		go q.Run()
		require.NoError(t, q.Publish(t.Context(), sample(1), sample(2)))
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		q.Stop(ctx)
		assert.EqualValues(t, 2, q.Stats().Lost)
		assert.Equal(t, 2, bytes.Count(q.log.Bytes(), []byte("Failed to publish")))
		assert.Empty(t, q.kafka.names())
		assert.Contains(t, q.log.String(), "not published yet")
	})
}
