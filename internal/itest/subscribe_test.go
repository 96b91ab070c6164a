package itest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"
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
			assert.NoError(t, err)
		case <-time.After(20 * time.Second):
			t.Error("Run goes on after its context has ended")
		}
	})
	t.Cleanup(stop)
	return stop
}

// take receives n values, in time.
func take[T any](t *testing.T, ch <-chan T, n int) []T {
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

// subscribeForeign: what kcat writes, with the guide's body and without any header, is handled.
func subscribeForeign(t *testing.T, b broker) {
	topic := b.topic(t, 3)
	body := guideJSON(t, "item_created")
	kcat(t, strings.NewReader("550e8400-e29b-41d4-a716-446655440000="+body+"\n"), "-P", "-b", b.address, "-t", topic, "-K", "=")

	type handled struct {
		event    itemCreated
		delivery messaging.Delivery
	}
	got := make(chan handled, 10)
	var mux messaging.Mux
	messaging.Handle(&mux, func(ctx context.Context, e *itemCreated) error {
		d, ok := messaging.DeliveryFrom(ctx)
		assert.True(t, ok)
		got <- handled{*e, d}
		return nil
	})
	group := b.name("group")
	stop := subscribe(t, b.config(map[string]string{"customservice.item.created": topic}), group, &mux)
	h := take(t, got, 1)[0]
	var want itemCreated
	require.NoError(t, json.Unmarshal([]byte(body), &want))
	assert.Equal(t, want, h.event)
	written := kcatRead(t, b, topic, 1)[0]
	assert.Equal(t, topic, h.delivery.Topic)
	assert.EqualValues(t, written.Partition, h.delivery.Partition)
	assert.Equal(t, written.Offset, h.delivery.Offset)
	assert.Equal(t, written.Key, string(h.delivery.Key))
	assert.Equal(t, group, h.delivery.Group)
	assert.Equal(t, 1, h.delivery.Attempt)
	assert.Empty(t, h.delivery.Headers)
	assert.True(t, written.Timestamp.Equal(h.delivery.Time), "%s, %s", written.Timestamp, h.delivery.Time)
	stop()
	assert.EqualValues(t, written.Offset+1, b.committed(t, group, topic)[written.Partition])
}

// committed returns the group's offsets, -1 where it has none.
func (b broker) committed(t *testing.T, group, topic string) map[int]int64 {
	t.Helper()
	ends := b.ends(t, topic)
	var partitions []int
	offsets := map[int]int64{}
	for p := range ends {
		partitions = append(partitions, p)
		offsets[p] = -1
	}
	fetched, err := b.admin().OffsetFetch(t.Context(), &kafka.OffsetFetchRequest{GroupID: group, Topics: map[string][]int{topic: partitions}})
	require.NoError(t, err)
	require.NoError(t, fetched.Error)
	for _, p := range fetched.Topics[topic] {
		require.NoError(t, p.Error)
		offsets[p.Partition] = p.CommittedOffset
	}
	return offsets
}

// subscribeAgain: what a member finished, the next one does not get; what was published meanwhile, it does; in order per key.
func subscribeAgain(t *testing.T, b broker) {
	topic, group := b.topic(t, 4), b.name("group")
	cfg := b.config(map[string]string{"itest.thing.happened": topic})
	p := newPublisher(t, cfg)
	got := make(chan keyed, 1000)
	var mux messaging.Mux
	messaging.Handle(&mux, func(_ context.Context, e *keyed) error {
		got <- *e
		return nil
	})
	const keys, each = 8, 10
	next := map[string]int{}
	for round := range 3 {
		var evs []events.IntegrationEvent
		for i := range each {
			for k := range keys {
				evs = append(evs, &keyed{Key: fmt.Sprintf("key-%d", k), N: round*each + i})
			}
		}
		require.NoError(t, p.Publish(t.Context(), evs...))
		stop := subscribe(t, cfg, group, &mux)
		for _, e := range take(t, got, keys*each) {
			require.Equal(t, next[e.Key], e.N, "the order of %s", e.Key)
			next[e.Key]++
		}
		stop()
		require.Empty(t, got, "more than was published")
		require.Equal(t, b.ends(t, topic), orZero(b.committed(t, group, topic)))
	}
}

// orZero: a partition in which nothing was ever written has no committed offset.
func orZero(offsets map[int]int64) map[int]int64 {
	for p, o := range offsets {
		offsets[p] = max(o, 0)
	}
	return offsets
}

// subscribeDeadLetters: what cannot be decoded and what a handler refuses for good goes to the dead letters as it was, and
// the records behind it are handled.
func subscribeDeadLetters(t *testing.T, b broker) {
	topic := b.topic(t, 1)
	created, err := b.admin().CreateTopics(t.Context(), &kafka.CreateTopicsRequest{
		Topics: []kafka.TopicConfig{{Topic: topic + "-dlt", NumPartitions: 1, ReplicationFactor: 1}},
	})
	require.NoError(t, err)
	require.NoError(t, created.Errors[topic+"-dlt"])
	cfg := b.config(map[string]string{"itest.thing.happened": topic})
	p := newPublisher(t, cfg)
	refusedEvent := &keyed{Key: "refused", N: 1}
	require.NoError(t, p.Publish(t.Context(), refusedEvent))
	const poison = `{"eventId": "broken`
	kcat(t, strings.NewReader("poison="+poison+"\n"), "-P", "-b", b.address, "-t", topic, "-K", "=", "-H", "origin=elsewhere")
	require.NoError(t, p.Publish(t.Context(), &keyed{Key: "fine", N: 2}))

	got := make(chan keyed, 10)
	var mux messaging.Mux
	messaging.Handle(&mux, func(_ context.Context, e *keyed) error {
		if e.Key == "refused" {
			return messaging.Permanent(errors.New("not this one"))
		}
		got <- *e
		return nil
	})
	group := b.name("group")
	stop := subscribe(t, cfg, group, &mux)
	assert.Equal(t, 2, take(t, got, 1)[0].N)
	stop()
	assert.EqualValues(t, 3, b.committed(t, group, topic)[0])

	originals, dead := kcatRead(t, b, topic, 2), kcatRead(t, b, topic+"-dlt", 2)
	for i, d := range dead {
		assert.Equal(t, originals[i].Value, d.Value)
		assert.Equal(t, originals[i].Key, d.Key)
		for name, value := range originals[i].Headers {
			assert.Equal(t, value, d.Headers[name], "header %s", name)
		}
		assert.Equal(t, topic, d.Headers["dlt-original-topic"])
		assert.Equal(t, "0", d.Headers["dlt-original-partition"])
		assert.Equal(t, fmt.Sprint(i), d.Headers["dlt-original-offset"])
		assert.Equal(t, group, d.Headers["dlt-original-consumer-group"])
		assert.Equal(t, "1", d.Headers["dlt-attempts"])
	}
	assert.Equal(t, "not this one", dead[0].Headers["dlt-error-message"])
	assert.Equal(t, poison, dead[1].Value)
	assert.Equal(t, "elsewhere", dead[1].Headers["origin"])
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
	check(take(t, got, keys))
	member(2)
	// The second takes over a part, at some point.
	require.Eventually(t, func() bool {
		publish()
		return check(take(t, got, keys))[2] > 0
	}, 30*time.Second, 10*time.Millisecond)
	stopFirst()
	publish()
	assert.Equal(t, map[int]int{2: keys}, check(take(t, got, keys)))
	assert.Empty(t, got)
}
