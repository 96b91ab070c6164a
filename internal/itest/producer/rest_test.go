package producer_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/expensevault/sharedlibrary/messaging"
)

func TestBlackHoleShorterThanTheDeadline(t *testing.T) {
	t.Parallel()
	inBubble(t, settings{}, func(w *world) {
		w.first()
		end := w.tap.swallow()
		w.sayBig(1, 2, 3)
		w.sleep(20 * time.Second)
		end()
		back := time.Now()
		w.flush()
		require.Less(w, time.Since(back), 2*time.Second)
		w.acked(1, 2, 3)
		w.stands(0, 1, 2, 3)
	})
}

func TestUnknownTopicIsToldInTime(t *testing.T) {
	t.Parallel()
	s := settings{cfg: func(c *messaging.Config) { c.Topics = map[string]string{topicName: "nobody.has.made"} }}
	inBubble(t, s, func(w *world) {
		w.say(1)
		w.sleep(5 * time.Second)
		w.failed(1, messaging.ErrUnknownTopic, false)
	})
}

// TestMemoryIsBoundedWithTheBrokerDown: callers wait for room, and are told when none comes.
func TestMemoryIsBoundedWithTheBrokerDown(t *testing.T) {
	t.Parallel()
	const room = 1 << 20
	inBubble(t, settings{cfg: shortly, publisher: []messaging.PublisherOption{messaging.WithBufferBytes(room)}}, func(w *world) {
		w.first()
		w.tap.down()
		var (
			wg   sync.WaitGroup
			mu   sync.Mutex
			full int
			late int
		)
		begin := time.Now()
		for i := range 100 {
			wg.Go(func() {
				err := w.pub.Publish(context.Background(), &word{N: 100 + i, Key: "k", Pad: strings.Repeat("x", 100_000)})
				mu.Lock()
				defer mu.Unlock()
				switch {
				case errors.Is(err, messaging.ErrBufferFull):
					full++
				case errors.Is(err, messaging.ErrTimeout):
					late++
				}
			})
		}
		wg.Wait()
		require.LessOrEqual(w, time.Since(begin), shortDeadline+aLittle)
		require.Equal(w, 100, full+late)
		require.LessOrEqual(w, late*100_000, room, "so much was taken, and not more")
		require.Positive(w, late)
	})
}

// TestCloseUnderLoadWithTheBrokerDown: everything is answered in bounded time, and the bubble ends only if nothing is left.
func TestCloseUnderLoadWithTheBrokerDown(t *testing.T) {
	t.Parallel()
	inBubble(t, settings{cfg: shortly}, func(w *world) {
		w.first()
		w.tap.down()
		var wg sync.WaitGroup
		for i := range 50 {
			wg.Go(func() {
				for k := range 20 {
					_ = w.pub.Publish(context.Background(), &word{N: 100 + 20*i + k, Key: fmt.Sprint("k", i)})
				}
			})
		}
		w.sleep(time.Second)
		w.closed = true
		begin := time.Now()
		closes := make(chan error, 2)
		for range 2 {
			go func() { closes <- w.pub.Close() }()
		}
		a, b := <-closes, <-closes
		require.NotEqual(w, errors.Is(a, messaging.ErrClosed), errors.Is(b, messaging.ErrClosed), "%v, %v", a, b)
		require.LessOrEqual(w, time.Since(begin), shortDeadline+aLittle)
		wg.Wait()
		err := w.pub.Publish(context.Background(), &word{N: 1, Key: "k"})
		require.ErrorIs(w, err, messaging.ErrClosed)
		require.True(w, messaging.SafeToRetry(err))
		synctest.Wait()
	})
}

// TestPartitionsAreAdded: nothing is lost; a key may have another partition from then on, as with every client.
func TestPartitionsAreAdded(t *testing.T) {
	t.Parallel()
	inBubble(t, settings{}, func(w *world) {
		var want []int
		for n := range 40 {
			w.say(n, to(fmt.Sprint("key ", n)))
			want = append(want, n)
		}
		w.flush()
		c, err := kgo.NewClient(kgo.SeedBrokers(w.broker.Addr()), kgo.Dialer(w.network.DialContext))
		require.NoError(w, err)
		req := kmsg.NewPtrCreatePartitionsRequest()
		rt := kmsg.NewCreatePartitionsRequestTopic()
		rt.Topic, rt.Count = topicName, 4
		req.Topics, req.TimeoutMillis = append(req.Topics, rt), 1000
		_, err = req.RequestWith(context.Background(), c)
		require.NoError(w, err)
		c.Close()
		for n := 40; n < 120; n++ {
			w.say(n, to(fmt.Sprint("key ", n)))
			want = append(want, n)
			w.sleep(10 * time.Second) // the metadata is looked at every five minutes
		}
		w.flush()
		var all []int
		logs := w.logs()
		for _, log := range logs {
			require.True(w, slices.IsSorted(log))
			all = append(all, log...)
		}
		slices.Sort(all)
		require.Equal(w, want, all)
		require.Len(w, logs, 4, "the new ones are in use")
	})
}

// TestContextsEnd: of many events of several contexts those are taken back whose context ends, and no others: before the
// metadata has come, waiting, and on their way.
func TestContextsEnd(t *testing.T) {
	t.Parallel()
	inBubble(t, settings{}, func(w *world) {
		end := w.tap.swallow()
		ended, cancelEnded := context.WithCancel(w.Context())
		cancelEnded()
		going, cancel := context.WithCancel(w.Context())
		staying, cancelStaying := context.WithCancel(w.Context())
		defer cancelStaying()
		small := func(*word) {}
		w.sayUntil(ended, 1, small)
		w.failed(1, context.Canceled, false)
		for n := 10; n < 40; n += 3 {
			w.sayUntil(going, n, small)
			w.sayUntil(staying, n+1, small)
			w.sayUntil(context.WithoutCancel(going), n+2, small)
		}
		require.False(w, w.answered(10))
		cancel()
		synctest.Wait()
		var left []int
		for n := 10; n < 40; n += 3 {
			w.failed(n, context.Canceled, false)
			require.False(w, w.answered(n+1))
			require.False(w, w.answered(n+2))
			left = append(left, n+1, n+2)
		}
		end()
		w.flush()
		w.acked(left...)

		going, cancel = context.WithCancel(w.Context())
		w.tap.do(slowly(onTry(1, 50, act{fate: dropped})))
		w.sayUntil(going, 50, func(e *word) { e.Pad = full() })
		w.sayUntil(staying, 51, func(e *word) { e.Pad = full() })
		w.sayUntil(going, 52, func(e *word) { e.Pad = full() })
		cancel()
		synctest.Wait()
		w.failed(50, context.Canceled, true)
		require.ErrorIs(w, w.answer(52).err, context.Canceled)
		w.flush()
		w.acked(51)
		w.standsIn(append(left, 50, 51, 52)...)
	})
}
