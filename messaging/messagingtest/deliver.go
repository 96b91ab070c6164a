package messagingtest

import (
	"slices"
	"testing"

	"github.com/expensevault/sharedlibrary/events"
	"github.com/expensevault/sharedlibrary/messaging"
)

// Deliver hands e to m once as if it had come from its topic: encoded, decoded,
// through the middleware, to the handler, with t's context under it. It fails
// the test at once where the event cannot be encoded, its topic has no handler,
// or the handler returns an error or panics. To test for the error use [TryDeliver].
//
// It stamps e, as publishing does. The handler gets a copy.
func Deliver(t testing.TB, m *messaging.Mux, e events.IntegrationEvent) {
	t.Helper()
	if err := TryDeliver(t, m, e); err != nil {
		t.Fatalf("messagingtest: deliver %T: %v", e, err)
	}
}

// TryDeliver is [Deliver] for tests of what a handler refuses: it returns the
// handler's error. See [messaging.IsPermanent] and [messaging.PanicError].
func TryDeliver(t testing.TB, m *messaging.Mux, e events.IntegrationEvent) error {
	t.Helper()
	rec, err := messaging.Encode(t.Context(), e)
	if err != nil {
		t.Fatalf("messagingtest: %T cannot be published: %v", e, err)
	}
	if topics := m.Topics(); !slices.Contains(topics, rec.Topic) {
		t.Fatalf("messagingtest: no handler for %T: its topic is %q, and the mux has handlers for %q", e, rec.Topic, topics)
	}
	return m.Dispatch(t.Context(), rec)
}

// DeliverBatch is [Deliver] of several events of one topic at once, for handlers
// of [messaging.HandleBatch]: they get them in one call, in order.
func DeliverBatch(t testing.TB, m *messaging.Mux, evs ...events.IntegrationEvent) {
	t.Helper()
	if err := TryDeliverBatch(t, m, evs...); err != nil {
		t.Fatalf("messagingtest: deliver a batch of %d: %v", len(evs), err)
	}
}

// TryDeliverBatch is [DeliverBatch] for tests of what a handler refuses: it returns the handler's error.
func TryDeliverBatch(t testing.TB, m *messaging.Mux, evs ...events.IntegrationEvent) error {
	t.Helper()
	recs := make([]messaging.Record, len(evs))
	for i, e := range evs {
		rec, err := messaging.Encode(t.Context(), e)
		if err != nil {
			t.Fatalf("messagingtest: %T cannot be published: %v", e, err)
		}
		recs[i] = rec
	}
	return m.DispatchBatch(t.Context(), recs...)
}
