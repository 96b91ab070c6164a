package consumer_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/expensevault/sharedlibrary/internal/consumer"
)

func cooperative(p *consumer.Params) { p.Balancers = []consumer.Balancer{consumer.CooperativeSticky} }

func TestCooperativeMembersShareAndHandOver(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, k *kafka) {
		topic, group := k.topic(t, 6), unique(t, "group")
		j := newJudge()
		stop := k.stream(t, topic, 6)
		owns := func(want map[string]int) {
			t.Helper()
			eventually(t, func() bool { return assert.ObjectsAreEqual(want, j.owners()) }, "%v", want)
		}
		a := k.start(t, group, []string{topic}, cooperative, j.handle("a"))
		owns(map[string]int{"a": 6})
		b := k.start(t, group, []string{topic}, cooperative, j.handle("b"))
		owns(map[string]int{"a": 3, "b": 3})
		c := k.start(t, group, []string{topic}, cooperative, j.handle("c"))
		owns(map[string]int{"a": 2, "b": 2, "c": 2})
		assert.Equal(t, 1, a.logs.count("gave partitions up", "partitions=3", "kept=3"), "for b, and only what moves")
		assert.Equal(t, 1, a.logs.count("gave partitions up", "partitions=1", "kept=2"), "for c")
		assert.Equal(t, 1, b.logs.count("gave partitions up", "partitions=1", "kept=2"), "for c")
		a.stop() // the first one was the leader
		owns(map[string]int{"b": 3, "c": 3})
		b.stop()
		owns(map[string]int{"c": 6})
		assert.Zero(t, c.logs.count("gave partitions up"), "it only got more")
		n := stop()
		for range n {
			receive(t, j.handled, "record")
		}
		c.stop()
		j.verdict(t, n)
		assert.Zero(t, j.again, "members that hand over in order handle nothing twice")
		sum := int64(0)
		for p := range int32(6) {
			sum += max(0, k.committed(t, group, topic, p))
		}
		assert.EqualValues(t, n, sum, "committed")
	})
}

// A handler that is at work when the group rebalances goes on where its partition stays, and the group does not wait for it.
func TestACooperativeRebalanceStopsOnlyWhatMoves(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, k *kafka) {
		topic, group := k.topic(t, 2), unique(t, "group")
		k.produce(t, topic, 0, "stays")
		entered, release := make(chan context.Context, 1), make(chan struct{})
		var got []string
		a := k.start(t, group, []string{topic}, cooperative, func(p *consumer.Params) {
			p.Handle = func(ctx context.Context, w *consumer.Work) error {
				if rec := w.Records[0]; rec.Partition == 0 {
					if got = append(got, string(rec.Value)); len(got) == 1 {
						entered <- ctx
						<-release
					}
					return ctx.Err()
				}
				return nil
			}
		})
		ctx := receive(t, entered, "record")
		b := k.start(t, group, []string{topic}, cooperative)
		eventually(t, func() bool { return b.logs.count("joined the group", "partitions=1") > 0 }, "b has its share")
		k.produce(t, topic, 1, "moves")
		assert.Equal(t, []string{"moves"}, b.values(1), "while the other handler works on")
		require.NoError(t, ctx.Err())
		k.produce(t, topic, 0, "next")
		close(release)
		eventually(t, func() bool { return k.committed(t, group, topic, 0) == 2 }, "committed in the generation that came meanwhile")
		a.stop()
		b.stop()
		assert.Equal(t, []string{"stays", "next"}, got, "nothing is handled twice")
		assert.EqualValues(t, 1, k.committed(t, group, topic, 1))
		b.quiet()
	})
}

// A partition that moves is given to its new owner only when the old one's handler is done with it.
func TestACooperativeMoveWaitsForTheHandler(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, k *kafka) {
		topic, group := k.topic(t, 2), unique(t, "group")
		j := newJudge()
		entered, release := make(chan struct{}, 1), make(chan struct{})
		k.produce(t, topic, 1, numbers(0, 2)...)
		k.start(t, group, []string{topic}, cooperative, j.handle("a"), func(p *consumer.Params) {
			p.Handle = func(ctx context.Context, w *consumer.Work) error {
				rec := w.Records[0]
				j.enter("a", rec.Partition, rec.Offset)
				defer j.leave(rec.Partition)
				entered <- struct{}{}
				<-release
				return ctx.Err()
			}
		})
		receive(t, entered, "record")
		b := k.start(t, group, []string{topic}, cooperative, j.handle("b"))
		eventually(t, func() bool { return b.logs.count("joined the group", "partitions=0") > 0 }, "b has to wait")
		close(release)
		for range 2 {
			receive(t, j.handled, "record")
		}
		j.verdict(t, 2)
		assert.Zero(t, j.again)
	})
}

// From range to cooperative, instance by instance, with one deployment of the default in between.
func TestARollingUpgradeToCooperative(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, k *kafka) {
		topic, group := k.topic(t, 4), unique(t, "group")
		j := newJudge()
		stop := k.stream(t, topic, 4)
		only := func(bs ...consumer.Balancer) func(p *consumer.Params) {
			return func(p *consumer.Params) { p.Balancers = bs }
		}
		var members []*member
		for version, change := range []func(p *consumer.Params){only(consumer.Range), only(), cooperative, only()} { // and back
			names := []string{}
			for i, name := range []string{"a", "b"} {
				name += string(rune('0' + version))
				names = append(names, name)
				if version > 0 {
					members[i].stop()
				} else {
					members = append(members, nil)
				}
				members[i] = k.start(t, group, []string{topic}, change, j.handle(name))
				eventually(t, func() bool { return j.owners()[name] >= 2 }, "%s has its share", name)
			}
			eventually(t, func() bool { o := j.owners(); return o[names[0]] == 2 && o[names[1]] == 2 }, "%v share", names)
		}
		n := stop()
		for range n {
			receive(t, j.handled, "record")
		}
		for _, m := range members {
			m.stop()
		}
		j.verdict(t, n)
		assert.Zero(t, j.again)
	})
}

// A member that keeps its partitions commits what it does while the group waits for another one, and may even be stopped then.
func TestStopsWhileTheGroupRebalances(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, k *kafka) {
		topic, group := k.topic(t, 2), unique(t, "group")
		a := k.start(t, group, []string{topic}, cooperative)
		k.produce(t, topic, 0, "one")
		k.produce(t, topic, 1, "one")
		a.values(2)
		entered, release := make(chan struct{}, 10), make(chan struct{})
		c := k.start(t, group, []string{topic}, func(p *consumer.Params) { // not cooperative: it finishes before it joins again
			p.Handle = func(ctx context.Context, _ *consumer.Work) error {
				entered <- struct{}{}
				<-release
				return ctx.Err()
			}
		})
		eventually(t, func() bool { return c.logs.count("joined the group", "partitions=1") > 0 }, "c has one")
		k.produce(t, topic, 0, "two")
		k.produce(t, topic, 1, "two")
		receive(t, entered, "record in c")
		assert.Equal(t, []string{"two"}, a.values(1))
		b := k.start(t, group, []string{topic}, cooperative) // the group waits for c
		newJoinWatch(t, k, group).wait(3)
		begin := time.Now()
		k.produce(t, topic, 0, "three")
		k.produce(t, topic, 1, "three")
		assert.Equal(t, []string{"three"}, a.values(1), "a goes on meanwhile")
		b.stop() // in the middle of JoinGroup
		a.stop()
		assert.Less(t, time.Since(begin), 5*time.Second)
		sum := k.committed(t, group, topic, 0) + k.committed(t, group, topic, 1)
		assert.EqualValues(t, 3+1, sum, "three by a, and one before c got the other partition")
		close(release)
		eventually(t, func() bool { return k.committed(t, group, topic, 0)+k.committed(t, group, topic, 1) == 6 }, "c does the rest")
		c.stop()
		b.quiet()
	})
}
