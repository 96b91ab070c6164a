package itest

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/expensevault/sharedlibrary/events"
	"github.com/expensevault/sharedlibrary/messaging"
)

// subscribe runs a subscriber until the returned function is called, or the test ends; Run must then return nil, and soon.
func subscribe(t *testing.T, cfg messaging.Config, group string, mux *messaging.Mux, opts ...messaging.SubscriberOption) (stop func()) {
	t.Helper()
	s, err := messaging.NewSubscriber(cfg, group, mux, opts...)
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		select {
		case err := <-done:
			assert.NoError(t, err) //nolint:testifylint // cleanups go on
		case <-time.After(20 * time.Second):
			t.Error("Run goes on after its context has ended")
		}
	})
	t.Cleanup(stop)
	return stop
}

// receive takes n values, in time.
func receive[T any](t *testing.T, ch <-chan T, n int) []T {
	t.Helper()
	late := time.After(30 * time.Second)
	var got []T
	for len(got) < n {
		select {
		case v := <-ch:
			got = append(got, v)
		case <-late:
			t.Fatalf("only %d of %d came: %v", len(got), n, got)
		}
	}
	return got
}

// subscribeShared: members of a group share the partitions, and one that leaves hands over without loss, repetition or disorder.
func subscribeShared(t *testing.T, b broker) {
	topic, group := b.topic(t, 6), b.name("group")
	cfg := b.config(map[string]string{"itest.thing.happened": topic})
	p := newPublisher(t, cfg)
	type handled struct {
		member int
		event  keyed
	}
	got := make(chan handled, 10_000)
	member := func(i int) func() {
		var mux messaging.Mux
		messaging.Handle(&mux, func(_ context.Context, e *keyed) error {
			got <- handled{i, *e}
			return nil
		})
		return subscribe(t, cfg, group, &mux)
	}
	const keys = 24
	next := map[string]int{}
	round := 0
	publish := func() {
		var evs []events.IntegrationEvent
		for k := range keys {
			evs = append(evs, &keyed{Key: fmt.Sprintf("key-%d", k), N: round})
		}
		round++
		require.NoError(t, p.Publish(t.Context(), evs...))
	}
	check := func(hs []handled) (members map[int]int) {
		members = map[int]int{}
		for _, h := range hs {
			require.Equal(t, next[h.event.Key], h.event.N, "the order of %s", h.event.Key)
			next[h.event.Key]++
			members[h.member]++
		}
		return members
	}
	publish()
	stopFirst := member(1)
	check(receive(t, got, keys))
	member(2)
	// The second takes over a part, at some point.
	require.Eventually(t, func() bool {
		publish()
		return check(receive(t, got, keys))[2] > 0
	}, 30*time.Second, 10*time.Millisecond)
	stopFirst()
	publish()
	assert.Equal(t, map[int]int{2: keys}, check(receive(t, got, keys)))
	assert.Empty(t, got)
}
