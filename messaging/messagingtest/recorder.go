package messagingtest

import (
	"context"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/expensevault/sharedlibrary/events"
	"github.com/expensevault/sharedlibrary/messaging"
)

// Recorder is a [messaging.Publisher] that keeps what is published in memory.
// It stamps and encodes as [messaging.Encode] does, so that it refuses what the
// real one would refuse, with the same errors.
//
// The zero value is ready. Its methods may be called concurrently. It must not
// be copied after first use.
type Recorder struct {
	// Err, unless nil, is what Publish returns for events that a broker would
	// have been asked to write; nothing is kept then. Set it before the
	// goroutines that publish start, or between calls.
	Err error

	mu      sync.Mutex
	events  []events.IntegrationEvent
	records []messaging.Record
}

// Publish keeps all of the events, or none and returns why: one of them cannot
// be encoded, or its JSON cannot be decoded again; ctx has ended; r.Err is set.
func (r *Recorder) Publish(ctx context.Context, evs ...events.IntegrationEvent) error {
	records := make([]messaging.Record, 0, len(evs))
	copies := make([]events.IntegrationEvent, 0, len(evs))
	for _, e := range evs {
		rec, err := messaging.Encode(ctx, e)
		if err != nil {
			return err
		}
		c, err := decodeLike(e, rec.Value)
		if err != nil {
			return fmt.Errorf("messagingtest: no consumer could read this event: %w", err)
		}
		records = append(records, rec)
		copies = append(copies, c)
	}
	if err := ctx.Err(); err != nil && len(records) > 0 {
		b := evs[0].Metadata()
		return &messaging.PublishError{Topic: records[0].Topic, EventID: b.EventID, Err: context.Cause(ctx)}
	}
	if r.Err != nil {
		return r.Err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.events = append(r.events, copies...)
	r.records = append(r.records, records...)
	return nil
}

// Events returns what was published so far, in order, as a consumer would
// decode it: each is a copy, which the publishing code cannot change any more,
// and lacks what its JSON lacks.
func (r *Recorder) Events() []events.IntegrationEvent {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.events)
}

// Records returns what was published so far, in order, as the topics would hold
// it: keys, bodies and headers.
func (r *Recorder) Records() []messaging.Record {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.records)
}

// Reset forgets what was published. Err stays.
func (r *Recorder) Reset() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.events, r.records = nil, nil
}

// One returns the one event of type T that was published, and fails the test at
// once where there is none or more than one. Events of other types do not matter.
func One[T events.IntegrationEvent](t testing.TB, r *Recorder) T {
	t.Helper()
	found := All[T](t, r)
	if len(found) != 1 {
		t.Fatalf("messagingtest: want exactly one %s published, got %d; published were: %s",
			reflect.TypeFor[T](), len(found), r.summary())
	}
	return found[0]
}

// All returns the events of type T that were published, in order. None is no failure.
func All[T events.IntegrationEvent](t testing.TB, r *Recorder) []T {
	t.Helper()
	var found []T
	for _, e := range r.Events() {
		if e, ok := e.(T); ok {
			found = append(found, e)
		}
	}
	return found
}

func (r *Recorder) summary() string {
	evs := r.Events()
	if len(evs) == 0 {
		return "nothing"
	}
	const enough = 10
	var b strings.Builder
	for i, e := range evs {
		if i == enough {
			fmt.Fprintf(&b, ", and %d more", len(evs)-enough)
			break
		}
		if i > 0 {
			b.WriteString(", ")
		}
		fmt.Fprintf(&b, "%T (key %q)", e, e.PartitionKey())
	}
	return b.String()
}

// decodeLike decodes data into a new value of e's type.
func decodeLike(e events.IntegrationEvent, data []byte) (events.IntegrationEvent, error) {
	into, result := blank(e)
	if err := events.Decode(data, into); err != nil {
		return nil, err
	}
	return result(), nil
}

// blank returns the zero value of e's type behind a pointer, to decode into, and
// a function that returns it as e's own type, which may be no pointer.
func blank(e events.IntegrationEvent) (into events.IntegrationEvent, result func() events.IntegrationEvent) {
	t := reflect.TypeOf(e)
	pointer := t.Kind() == reflect.Pointer
	if pointer {
		t = t.Elem()
	}
	v := reflect.New(t)
	into, _ = reflect.TypeAssert[events.IntegrationEvent](v) // *T has every method that T has
	return into, func() events.IntegrationEvent {
		if pointer {
			return into
		}
		e, _ := reflect.TypeAssert[events.IntegrationEvent](v.Elem())
		return e
	}
}
