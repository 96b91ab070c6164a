package itest

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/expensevault/sharedlibrary/events"
	"github.com/expensevault/sharedlibrary/messaging"
	"github.com/expensevault/sharedlibrary/messaging/embedded"
)

func one(t *testing.T, opts ...embedded.Option) (broker, *kfake.Cluster) {
	t.Helper()
	b := embedded.Run(t, opts...)
	return broker{kind: embeddedBroker, address: b.Addr(), topics: new(atomic.Int64)}, b.Cluster()
}

// refusal asserts what every error of a publisher tells.
func refusal(t *testing.T, err, kind error, name string, safe bool) {
	t.Helper()
	require.ErrorIs(t, err, kind)
	var pe *messaging.PublishError
	require.ErrorAs(t, err, &pe)
	require.NotEmpty(t, pe.Topic)
	require.NotZero(t, pe.EventID)
	require.Equal(t, name, pe.ErrorType())
	require.Equal(t, safe, messaging.SafeToRetry(err), err)
}

// TestTopicCreatedMeanwhile: an event for a topic that is only being created waits for it.
func TestTopicCreatedMeanwhile(t *testing.T) {
	t.Parallel()
	b, cluster := one(t)
	p := publisher(t, b.storyConfig("itest.late.topic"))
	asked := make(chan struct{}, 100)
	cluster.ControlKey(int16(kmsg.Metadata), func(kmsg.Request) (kmsg.Response, error, bool) {
		cluster.KeepControl()
		select {
		case asked <- struct{}{}:
		default:
		}
		return nil, nil, false
	})
	done := make(chan error, 1)
	p.PublishAsync(t.Context(), &numbered{Key: "k"}, func(_ messaging.Receipt, err error) { done <- err })
	<-asked
	require.NoError(t, cluster.CreateTopic("itest.late.topic", 2, nil))
	require.NoError(t, <-done)
}

// TestTooLargeForTheBroker: a record that the broker alone finds too large fails alone.
func TestTooLargeForTheBroker(t *testing.T) {
	t.Parallel()
	b, cluster := one(t, embedded.WithOptions(kfake.BrokerConfigs(map[string]string{"message.max.bytes": "5000"})))
	require.NoError(t, cluster.CreateTopic("small", 1, map[string]string{"max.message.bytes": "5000"}))
	p := publisher(t, b.storyConfig("small"))
	require.NoError(t, p.Publish(t.Context(), &numbered{Key: "k", N: 0}))
	s := newStory()
	s.told(&numbered{Key: "k", N: 0}, nil)
	for n := 1; n < 10; n++ {
		e := &numbered{Key: "k", N: n}
		if n == 5 {
			e.Pad = strings.Repeat("x", 20_000)
		}
		p.PublishAsync(t.Context(), e, func(_ messaging.Receipt, err error) {
			if n == 5 {
				refusal(t, err, messaging.ErrTooLarge, "MESSAGE_TOO_LARGE", true)
			} else {
				require.NoError(t, err)
			}
			s.told(e, err)
		})
	}
	require.NoError(t, p.Flush(t.Context()))
	s.check(t, b, "small")
}

func TestClosed(t *testing.T) {
	t.Parallel()
	eachBroker(t, func(t *testing.T, b broker) {
		p := publisher(t, b.storyConfig(b.topic(t, 1)))
		require.NoError(t, p.Publish(t.Context(), &numbered{Key: "k"}))
		require.NoError(t, p.Close())
		refusal(t, p.Publish(t.Context(), &numbered{Key: "k"}), messaging.ErrClosed, "closed", true)
		require.ErrorIs(t, p.Close(), messaging.ErrClosed)
	})
}

// TestCloseWithNobodyThere is bounded, and answers everything.
func TestCloseWithNobodyThere(t *testing.T) {
	t.Parallel()
	net := newFaultNet()
	defer net.swallow()()
	cfg := broker{address: "127.0.0.1:9"}.storyConfig("nowhere")
	cfg.MessageTimeout = 500 * time.Millisecond
	p := publisher(t, cfg, messaging.WithDialer(net.dial))
	var answered atomic.Int64
	for n := range 50 {
		p.PublishAsync(t.Context(), &numbered{Key: "k", N: n}, func(_ messaging.Receipt, err error) {
			if messaging.SafeToRetry(err) {
				answered.Add(1)
			}
		})
	}
	begin := time.Now()
	_ = p.Close() // its error depends on who is first, the deadline of the events or that of Close
	require.Less(t, time.Since(begin), 10*time.Second)
	require.EqualValues(t, 50, answered.Load())
}

// TestBufferFull: with nobody there, events are bounded in memory, and whoever finds no room is told in time.
func TestBufferFull(t *testing.T) {
	t.Parallel()
	net := newFaultNet()
	defer net.swallow()()
	cfg := broker{address: "127.0.0.1:9"}.storyConfig("nowhere")
	cfg.MessageTimeout = time.Second
	p := publisher(t, cfg, messaging.WithDialer(net.dial), messaging.WithBufferBytes(1000))
	first := make(chan error, 1)
	p.PublishAsync(t.Context(), &numbered{Key: "k", Pad: strings.Repeat("x", 1500)}, func(_ messaging.Receipt, err error) { first <- err })
	refusal(t, p.Publish(t.Context(), &numbered{Key: "k"}), messaging.ErrBufferFull, "buffer_full", true)
	refusal(t, <-first, messaging.ErrTimeout, "timeout", true)

	// A context that ends first ends the wait.
	p.PublishAsync(t.Context(), &numbered{Key: "k", Pad: strings.Repeat("x", 1500)}, nil)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	refusal(t, p.Publish(ctx, &numbered{Key: "k"}), context.Canceled, "*errors.errorString", true)
}

// TestOneDeadlineForACall: events of one call do not add their times up, and none overtakes one that was not taken.
func TestOneDeadlineForACall(t *testing.T) {
	t.Parallel()
	net := newFaultNet()
	defer net.swallow()()
	cfg := broker{address: "127.0.0.1:9"}.storyConfig("nowhere")
	cfg.MessageTimeout = time.Second
	p := publisher(t, cfg, messaging.WithDialer(net.dial), messaging.WithBufferBytes(1000))
	evs := make([]events.IntegrationEvent, 20)
	for n := range evs {
		evs[n] = &numbered{Key: "k", N: n, Pad: strings.Repeat("x", 500)}
	}
	begin := time.Now()
	err := p.Publish(t.Context(), evs...)
	require.ErrorIs(t, err, messaging.ErrBufferFull)
	require.ErrorIs(t, err, messaging.ErrTimeout, "of those that were taken")
	require.True(t, messaging.SafeToRetry(err))
	require.Less(t, time.Since(begin), 3*time.Second)
}

func TestNobodyThere(t *testing.T) {
	t.Parallel()
	cfg := broker{address: "127.0.0.1:9"}.storyConfig("nowhere") // the discard port: refused
	cfg.MessageTimeout = time.Second
	p := publisher(t, cfg)
	begin := time.Now()
	err := p.Publish(t.Context(), &numbered{Key: "k"})
	refusal(t, err, messaging.ErrTimeout, "timeout", true)
	require.ErrorContains(t, err, "connection refused", "the cause is told")
	require.Less(t, time.Since(begin), 6*time.Second)
}

func TestCancelled(t *testing.T) {
	t.Parallel()
	b, cluster := one(t, embedded.WithTopics(1, "topic"))
	p := publisher(t, b.storyConfig("topic"))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	refusal(t, p.Publish(ctx, &numbered{Key: "k", N: 0}), context.Canceled, "*errors.errorString", true)

	// In flight: the broker holds its answer back until the caller has gone.
	require.NoError(t, p.Publish(t.Context(), &numbered{Key: "k", N: 1}))
	ctx, cancel = context.WithCancel(t.Context())
	gone := make(chan struct{})
	cluster.ControlKey(int16(kmsg.Produce), func(kmsg.Request) (kmsg.Response, error, bool) {
		cancel()
		<-gone
		return nil, nil, false
	})
	err := p.Publish(ctx, &numbered{Key: "k", N: 2})
	close(gone)
	refusal(t, err, context.Canceled, "*errors.errorString", false)
	require.NoError(t, p.Publish(t.Context(), &numbered{Key: "k", N: 3}))
	require.Len(t, b.records(t, "topic"), 3, "what was in flight is settled behind the scenes, once")
}

// TestBrokersAnswers plays the codes that a healthy broker hardly gives.
func TestBrokersAnswers(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		code *kerr.Error
		kind error // nil: it is overcome
		safe bool
	}{
		{code: kerr.NotLeaderForPartition},
		{code: kerr.NotEnoughReplicas},
		{code: kerr.NotEnoughReplicasAfterAppend},
		{code: kerr.RequestTimedOut},
		{code: kerr.KafkaStorageError},
		{code: kerr.CorruptMessage},
		{code: kerr.OutOfOrderSequenceNumber},
		{code: kerr.UnknownProducerID},
		{code: kerr.TopicAuthorizationFailed, kind: messaging.ErrNotAuthorized, safe: true},
		{code: kerr.MessageTooLarge, kind: messaging.ErrTooLarge, safe: true},
		{code: kerr.UnknownServerError, kind: errors.ErrUnsupported, safe: false},
	} {
		t.Run(c.code.Message, func(t *testing.T) {
			t.Parallel()
			b, cluster := one(t, embedded.WithTopics(1, "topic"))
			p := publisher(t, b.storyConfig("topic"))
			require.NoError(t, p.Publish(t.Context(), &numbered{Key: "k", N: 0}))
			cluster.ControlKey(int16(kmsg.Produce), func(req kmsg.Request) (kmsg.Response, error, bool) {
				res := req.ResponseKind().(*kmsg.ProduceResponse)
				res.Version = req.GetVersion()
				rt := kmsg.NewProduceResponseTopic()
				rt.Topic = "topic"
				rp := kmsg.NewProduceResponseTopicPartition()
				rp.ErrorCode = c.code.Code
				rt.Partitions = append(rt.Partitions, rp)
				res.Topics = append(res.Topics, rt)
				return res, nil, true
			})
			err := p.Publish(t.Context(), &numbered{Key: "k", N: 1})
			switch {
			case c.kind == nil:
				require.NoError(t, err)
				require.NoError(t, p.Publish(t.Context(), &numbered{Key: "k", N: 2}))
				require.Len(t, b.records(t, "topic"), 3)
			case errors.Is(c.kind, errors.ErrUnsupported): // no error of ours stands for it
				var pe *messaging.PublishError
				require.ErrorAs(t, err, &pe)
				require.Equal(t, c.code.Message, pe.ErrorType())
				require.Equal(t, c.safe, messaging.SafeToRetry(err))
				require.NoError(t, p.Publish(t.Context(), &numbered{Key: "k", N: 2}))
			default:
				refusal(t, err, c.kind, c.code.Message, c.safe)
				require.NoError(t, p.Publish(t.Context(), &numbered{Key: "k", N: 2}))
				require.Len(t, b.records(t, "topic"), 2)
			}
		})
	}
}

// TestWithoutIdempotence covers the weaker settings.
func TestWithoutIdempotence(t *testing.T) {
	t.Parallel()
	eachBroker(t, func(t *testing.T, b broker) {
		for _, acks := range []messaging.Acks{messaging.AcksAll, messaging.AcksLeader, messaging.AcksNone} {
			topic := b.topic(t, 1)
			cfg := b.storyConfig(topic)
			cfg.EnableIdempotence, cfg.Acks = false, acks
			p := publisher(t, cfg)
			for n := range 10 {
				require.NoError(t, p.Publish(t.Context(), &numbered{Key: "k", N: n}))
			}
			require.NoError(t, p.Close())
			if acks == messaging.AcksNone {
				continue // nobody said that they are there yet
			}
			require.Len(t, b.records(t, topic), 10)
		}
	})
}
