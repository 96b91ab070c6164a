package itest

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/expensevault/sharedlibrary/messaging"
	"github.com/expensevault/sharedlibrary/messaging/embedded"
)

func publisher(t *testing.T, cfg messaging.Config, opts ...messaging.PublisherOption) *messaging.KafkaPublisher {
	t.Helper()
	p, err := messaging.NewKafkaPublisher(cfg, opts...)
	require.NoError(t, err)
	t.Cleanup(func() { _ = p.Close() })
	return p
}

// TestPublisherLosesNothing plays what networks do, and holds that the topic tells what the callers were told.
func TestPublisherLosesNothing(t *testing.T) {
	t.Parallel()
	const keys, per, every = 16, 150, 40
	for name, fault := range map[string]func(*faultNet){
		"lost answers":     func(n *faultNet) { n.lose.Add(1) },
		"cut requests":     func(n *faultNet) { n.halve.Add(1) },
		"cut connections":  func(n *faultNet) { n.cut() },
		"undead requests":  func(n *faultNet) { n.release(); n.undead.Add(1) },
		"all of them":      func(n *faultNet) { n.lose.Add(1); n.halve.Add(1); n.release(); n.undead.Add(1) },
		"many at one time": func(n *faultNet) { n.lose.Add(3); n.cut() },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			onBrokers(t, func(t *testing.T, b broker) {
				topic := b.topic(t, 6)
				net := newFaultNet()
				p := publisher(t, b.storyConfig(topic), messaging.WithDialer(net.dial))
				s := newStory()
				s.tell(t.Context(), p, keys, per, func(total int) {
					if total%every == 0 {
						fault(net)
					}
				})
				net.release()
				require.Empty(t, s.maybe)
				require.Empty(t, s.refused)
				require.GreaterOrEqual(t, net.hit.Load(), int64(keys*per/every/2), "faults that really happened")
				s.check(t, b, topic)
			}, embeddedBroker, realBroker)
		})
	}
}

// TestPublisherFollowsTheLeader moves partitions between three brokers under load.
func TestPublisherFollowsTheLeader(t *testing.T) {
	t.Parallel()
	eb := embedded.Run(t, embedded.WithNodes(3))
	b := broker{kind: embeddedBroker, address: eb.Addr(), topics: new(atomic.Int64)}
	topic := b.topic(t, 6)
	p := publisher(t, b.storyConfig(topic))
	s := newStory()
	var moves atomic.Int64
	s.tell(t.Context(), p, 16, 200, func(total int) {
		if total%50 == 0 {
			eb.Cluster().ShufflePartitionLeaders()
			moves.Add(1)
		}
	})
	require.Empty(t, s.maybe)
	require.Empty(t, s.refused)
	require.Greater(t, moves.Load(), int64(20))
	s.check(t, b, topic)
}

// TestBlackHoleLongerThanTheDeadline: the callers get their answer in time, and what comes later neither overtakes nor doubles.
func TestBlackHoleLongerThanTheDeadline(t *testing.T) {
	t.Parallel()
	eachBroker(t, func(t *testing.T, b broker) {
		topic := b.topic(t, 1)
		cfg := b.storyConfig(topic)
		cfg.MessageTimeout = 2 * time.Second
		net := newFaultNet()
		p := publisher(t, cfg, messaging.WithDialer(net.dial))
		s := newStory()
		say := func(n int) error {
			e := &numbered{Key: "k", N: n}
			err := p.Publish(t.Context(), e)
			s.told(e, err)
			return err
		}
		require.NoError(t, say(0))
		end := net.swallow()
		begin := time.Now()
		err := say(1)
		took := time.Since(begin)
		end()
		require.ErrorIs(t, err, messaging.ErrTimeout)
		var pe *messaging.PublishError
		require.ErrorAs(t, err, &pe)
		require.True(t, pe.MaybeWritten)
		require.False(t, messaging.SafeToRetry(err))
		require.GreaterOrEqual(t, took, cfg.MessageTimeout)
		require.Less(t, took, cfg.MessageTimeout+5*time.Second)
		for n := 2; n < 20; n++ {
			require.NoError(t, say(n))
		}
		s.check(t, b, topic)
	})
}

// TestUndeadAfterTheDeadline: a request that its caller has given up reaches the broker after a later event.
func TestUndeadAfterTheDeadline(t *testing.T) {
	t.Parallel()
	eachBroker(t, func(t *testing.T, b broker) {
		topic := b.topic(t, 1)
		net := newFaultNet()
		p := publisher(t, b.storyConfig(topic), messaging.WithDialer(net.dial))
		require.NoError(t, p.Publish(t.Context(), &numbered{Key: "k", N: 0}))

		net.undead.Add(1)
		ctx, cancel := context.WithCancel(t.Context())
		s := newStory()
		s.told(&numbered{Key: "k", N: 0}, nil)
		e := &numbered{Key: "k", N: 1}
		net.onHit = cancel // the request is on its way
		s.told(e, p.Publish(ctx, e))
		for n := 2; n < 5; n++ {
			e := &numbered{Key: "k", N: n}
			err := p.Publish(t.Context(), e)
			require.NoError(t, err)
			s.told(e, nil)
		}
		net.release()
		require.NoError(t, p.Publish(t.Context(), &numbered{Key: "k", N: 5}))
		s.told(&numbered{Key: "k", N: 5}, nil)
		s.check(t, b, topic)
	})
}

const notLeader, notAuthorized = 6, 29

// TestLeaderMovedAfterTheAppend: the answer is that of a leader that lost its place while the batch, which it had appended,
// waited for the followers. The new leader has the batch.
func TestLeaderMovedAfterTheAppend(t *testing.T) {
	t.Parallel()
	eachBroker(t, func(t *testing.T, b broker) {
		t.Run("the queue grows meanwhile", func(t *testing.T) {
			t.Parallel()
			topic := b.topic(t, 1)
			net := newFaultNet()
			net.lieCode = notLeader
			p := publisher(t, b.storyConfig(topic), messaging.WithDialer(net.dial))
			s := newStory()
			say := func(n int) {
				e := &numbered{Key: "k", N: n}
				p.PublishAsync(t.Context(), e, func(_ messaging.Receipt, err error) { s.told(e, err) })
			}
			require.NoError(t, p.Publish(t.Context(), &numbered{Key: "k", N: 0}))
			s.told(&numbered{Key: "k", N: 0}, nil)
			lied := make(chan struct{})
			net.onHit = func() { close(lied) }
			net.lie.Add(1)
			say(1)
			<-lied
			say(2)
			require.NoError(t, p.Flush(t.Context()))
			require.Len(t, s.acked["k"], 3)
			s.check(t, b, topic)
		})
		t.Run("its caller goes meanwhile", func(t *testing.T) {
			t.Parallel()
			topic := b.topic(t, 1)
			net := newFaultNet()
			net.lieCode = notLeader
			p := publisher(t, b.storyConfig(topic), messaging.WithDialer(net.dial))
			require.NoError(t, p.Publish(t.Context(), &numbered{Key: "k", N: 0}))
			s := newStory()
			s.told(&numbered{Key: "k", N: 0}, nil)
			ctx, cancel := context.WithCancel(t.Context())
			net.onHit = cancel
			net.lie.Add(1)
			e := &numbered{Key: "k", N: 1}
			s.told(e, p.Publish(ctx, e))
			require.Empty(t, s.refused, "nobody may say that it was surely not written")
			for n := 2; n < 5; n++ {
				e := &numbered{Key: "k", N: n}
				require.NoError(t, p.Publish(t.Context(), e))
				s.told(e, nil)
			}
			s.check(t, b, topic)
		})
	})
}

// TestRefusedAfterALostAnswer: the first try is in the topic, the second is refused for good.
func TestRefusedAfterALostAnswer(t *testing.T) {
	t.Parallel()
	eachBroker(t, func(t *testing.T, b broker) {
		topic := b.topic(t, 1)
		net := newFaultNet()
		net.lieCode = notAuthorized
		p := publisher(t, b.storyConfig(topic), messaging.WithDialer(net.dial))
		s := newStory()
		say := func(n int) error {
			e := &numbered{Key: "k", N: n}
			err := p.Publish(t.Context(), e)
			s.told(e, err)
			return err
		}
		require.NoError(t, say(0))
		net.lose.Add(1)
		net.lie.Add(1)
		err := say(1)
		require.ErrorIs(t, err, messaging.ErrNotAuthorized)
		require.False(t, messaging.SafeToRetry(err))
		for n := 2; n < 5; n++ {
			require.NoError(t, say(n))
		}
		s.check(t, b, topic)
	})
}
