package messagingtest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"sync"
	"testing"

	"github.com/google/uuid"

	"github.com/expensevault/sharedlibrary/events"
	"github.com/expensevault/sharedlibrary/messaging"
)

// PublisherTopic is the topic of the events that [TestPublisher] publishes, for
// factories that must create it, or map it to one of their own.
const PublisherTopic = "messagingtest.publisher.checked"

// TestPublisher runs the tests that every [messaging.Publisher] must pass: that
// it stamps events, takes correlation and causation from the context, keeps the
// order within a key, publishes all events of a call or none where one is
// invalid or too large, publishes nothing for a context that has ended, and may
// be called concurrently.
//
// newPublisher is called once per test and returns a publisher and a function
// that returns every record that this one has published so far to
// [PublisherTopic], in order within each key. What a Publish that has returned
// nil published must be among them. The topic's name in them does not matter.
// Clean up with t.Cleanup.
func TestPublisher(t *testing.T, newPublisher func(t testing.TB) (p messaging.Publisher, published func() []messaging.Record)) {
	t.Helper()
	for _, check := range publisherChecks() {
		t.Run(check.name, func(t *testing.T) {
			p, published := newPublisher(t)
			check.run(&publisherCheck{t: t, p: p, published: published})
		})
	}
}

type publisherCheck struct {
	t         testing.TB
	p         messaging.Publisher
	published func() []messaging.Record
}

type namedCheck struct {
	name string
	run  func(*publisherCheck)
}

func publisherChecks() []namedCheck {
	return []namedCheck{
		{"Stamp", (*publisherCheck).stamp},
		{"KeepsWhatIsSet", (*publisherCheck).keepsWhatIsSet},
		{"Context", (*publisherCheck).context},
		{"NoEvents", (*publisherCheck).noEvents},
		{"Order", (*publisherCheck).order},
		{"OrderWithinCall", (*publisherCheck).orderWithinCall},
		{"Invalid", (*publisherCheck).invalid},
		{"TooLarge", (*publisherCheck).tooLarge},
		{"EndedContext", (*publisherCheck).endedContext},
		{"Concurrent", (*publisherCheck).concurrent},
	}
}

// checkedEvent is what the checks publish.
type checkedEvent struct {
	events.Base
	Key     string  `json:"key"`
	N       int     `json:"n"`
	Padding string  `json:"padding,omitempty"`
	Ratio   float64 `json:"ratio,omitempty"` // a NaN cannot be encoded
}

func (*checkedEvent) Topic() events.Topic {
	return events.NewTopic("messagingtest", "publisher", "checked")
}

func (e *checkedEvent) PartitionKey() string { return e.Key }

// misnamedEvent has an invalid topic.
type misnamedEvent struct{ events.Base }

func (*misnamedEvent) Topic() events.Topic  { return events.NewTopic("messagingtest", "", "checked") }
func (*misnamedEvent) PartitionKey() string { return "k" }

func (c *publisherCheck) publish(ctx context.Context, evs ...events.IntegrationEvent) {
	c.t.Helper()
	if err := c.p.Publish(ctx, evs...); err != nil {
		c.t.Fatalf("Publish: %v", err)
	}
}

// read returns the published events with their records.
func (c *publisherCheck) read() ([]*checkedEvent, []messaging.Record) {
	c.t.Helper()
	recs := c.published()
	evs := make([]*checkedEvent, len(recs))
	for i, r := range recs {
		evs[i] = new(checkedEvent)
		if err := events.Decode(r.Value, evs[i]); err != nil {
			c.t.Fatalf("record %d cannot be decoded: %v", i, err)
		}
	}
	return evs, recs
}

// one returns the one record that was published.
func (c *publisherCheck) one() (*checkedEvent, messaging.Record) {
	c.t.Helper()
	evs, recs := c.read()
	if len(evs) != 1 {
		c.t.Fatalf("%d records were published, want 1", len(evs))
	}
	return evs[0], recs[0]
}

func (c *publisherCheck) stamp() {
	e := &checkedEvent{Key: "k", N: 7}
	c.publish(c.t.Context(), e)
	got, rec := c.one()
	switch b := got.Base; {
	case b.EventID == uuid.Nil:
		c.t.Errorf("the event has no ID")
	case b.EventID != e.EventID:
		c.t.Errorf("the topic has event ID %s, the publisher's caller %s: the event that was given must be stamped", b.EventID, e.EventID)
	case b.Timestamp.IsZero():
		c.t.Errorf("the event has no timestamp")
	case b.EventType != "checked" || b.SourceService != "messagingtest" || b.EventVersion != "1.0":
		c.t.Errorf("type %q, service %q, version %q: want what events.Stamp gives", b.EventType, b.SourceService, b.EventVersion)
	case b.CorrelationID != b.EventID.String():
		c.t.Errorf("the correlation ID is %q: want the event's own ID where nothing else is known", b.CorrelationID)
	}
	if got.N != 7 {
		c.t.Errorf("the body has n = %d, want 7", got.N)
	}
	if string(rec.Key) != "k" {
		c.t.Errorf("the record's key is %q, want the event's partition key %q", rec.Key, "k")
	}
}

func (c *publisherCheck) keepsWhatIsSet() {
	id := uuid.New()
	c.publish(c.t.Context(), &checkedEvent{Key: "k", Base: events.Base{
		EventID: id, EventVersion: "3.1", CorrelationID: "own-correlation", CausationID: "own-causation",
	}})
	got, _ := c.one()
	if got.EventID != id || got.EventVersion != "3.1" || got.CorrelationID != "own-correlation" || got.CausationID != "own-causation" {
		c.t.Errorf("the envelope is %+v: want what was set to stay", got.Base)
	}
}

// context publishes from a handler, whose context has a correlation and a causation ID.
func (c *publisherCheck) context() {
	cause := &checkedEvent{Key: "k", Base: events.Base{CorrelationID: "the-correlation"}}
	var mux messaging.Mux
	messaging.Handle(&mux, func(ctx context.Context, _ *checkedEvent) error {
		return c.p.Publish(ctx, &checkedEvent{Key: "k"})
	})
	Deliver(c.t, &mux, cause)
	got, _ := c.one()
	if got.CorrelationID != "the-correlation" {
		c.t.Errorf("the correlation ID is %q, want the context's %q", got.CorrelationID, "the-correlation")
	}
	if got.CausationID != cause.EventID.String() {
		c.t.Errorf("the causation ID is %q, want the context's %q", got.CausationID, cause.EventID)
	}
}

func (c *publisherCheck) noEvents() {
	c.publish(c.t.Context())
	if n := len(c.published()); n != 0 {
		c.t.Errorf("Publish without events published %d", n)
	}
}

func (c *publisherCheck) order() {
	const n = 30
	for i := range n {
		c.publish(c.t.Context(), &checkedEvent{Key: key(i % 3), N: i / 3})
	}
	c.complete(3, n/3)
}

func (c *publisherCheck) orderWithinCall() {
	const n = 30
	evs := make([]events.IntegrationEvent, n)
	for i := range evs {
		evs[i] = &checkedEvent{Key: key(i % 3), N: i / 3}
	}
	c.publish(c.t.Context(), evs...)
	c.complete(3, n/3)
}

func key(i int) string { return fmt.Sprintf("key-%d", i) }

// complete checks that each of the keys has the events 0 to perKey-1, once and in order.
func (c *publisherCheck) complete(keys, perKey int) {
	c.t.Helper()
	next := make(map[string]int)
	evs, _ := c.read()
	for _, e := range evs {
		if e.N != next[e.Key] {
			c.t.Fatalf("%s: got event %d, want %d: an event is missing, doubled or out of order", e.Key, e.N, next[e.Key])
		}
		next[e.Key]++
	}
	for i := range keys {
		if next[key(i)] != perKey {
			c.t.Errorf("%s has %d events, want %d", key(i), next[key(i)], perKey)
		}
	}
	if len(evs) != keys*perKey {
		c.t.Errorf("%d events were published, want %d", len(evs), keys*perKey)
	}
}

func (c *publisherCheck) invalid() {
	for _, bad := range []struct {
		what  string
		event events.IntegrationEvent
	}{
		{"a nil event", nil},
		{"a nil pointer", (*checkedEvent)(nil)},
		{"an event with an invalid topic", &misnamedEvent{}},
		{"an event that cannot be encoded", &checkedEvent{Key: "k", Ratio: math.NaN()}},
	} {
		err := c.p.Publish(c.t.Context(), &checkedEvent{Key: "k"}, bad.event, &checkedEvent{Key: "k"})
		c.refused(err, messaging.ErrInvalidEvent, bad.what+" between two valid ones")
	}
	c.nothingBut()
}

func (c *publisherCheck) tooLarge() {
	big := &checkedEvent{Key: "k", Padding: strings.Repeat("x", 1_000_000)}
	c.refused(c.p.Publish(c.t.Context(), &checkedEvent{Key: "k"}, big), messaging.ErrTooLarge, "an event of over 1,000,000 bytes after a valid one")
	c.nothingBut()
	// Just below the limit is not too large.
	fits := &checkedEvent{Key: "k", Padding: strings.Repeat("x", 990_000)}
	c.publish(c.t.Context(), fits)
	evs, _ := c.read()
	if got := evs[len(evs)-1]; got.Padding != fits.Padding {
		c.t.Errorf("an event of 990,000 bytes arrived with %d", len(got.Padding))
	}
}

func (c *publisherCheck) endedContext() {
	ctx, cancel := context.WithCancel(c.t.Context())
	cancel()
	c.refused(c.p.Publish(ctx, &checkedEvent{Key: "k"}), context.Canceled, "a context that has ended")
	c.nothingBut()
}

func (c *publisherCheck) refused(err, want error, what string) {
	c.t.Helper()
	switch {
	case err == nil:
		c.t.Errorf("%s: Publish returned nil", what)
	case !errors.Is(err, want):
		c.t.Errorf("%s: Publish returned %q, which is not %q", what, err, want)
	case !messaging.SafeToRetry(err):
		c.t.Errorf("%s: SafeToRetry is false for %q, but nothing was sent", what, err)
	}
}

// nothingBut publishes one more event and checks that it is the only one, so
// that what was refused but is on its way all the same has time to show.
func (c *publisherCheck) nothingBut() {
	c.t.Helper()
	const last = 4711
	c.publish(c.t.Context(), &checkedEvent{Key: "k", N: last})
	evs, recs := c.read()
	if len(evs) != 1 || evs[0].N != last {
		c.t.Errorf("%d events were published besides the valid one: %s", len(evs)-1, bytes.Join(values(recs), []byte(" ")))
	}
}

func values(recs []messaging.Record) [][]byte {
	out := make([][]byte, len(recs))
	for i, r := range recs {
		out[i] = r.Value[:min(len(r.Value), 200)]
	}
	return out
}

func (c *publisherCheck) concurrent() {
	const workers, each = 8, 25
	errs := make(chan error, workers*each)
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			for i := range each {
				if err := c.p.Publish(c.t.Context(), &checkedEvent{Key: key(w), N: i}); err != nil {
					errs <- err
				}
			}
		})
	}
	wg.Wait()
	close(errs)
	for err := range errs {
		c.t.Fatalf("Publish: %v", err)
	}
	c.complete(workers, each)
}
