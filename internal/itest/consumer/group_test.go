package consumer_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/expensevault/sharedlibrary/internal/consumer"
	"github.com/expensevault/sharedlibrary/internal/kerr"
)

// judge watches all handlers of a group.
type judge struct {
	mu      sync.Mutex
	inside  map[int32]string // who is handling a record of the partition
	next    map[int32]int64  // the offset that is handled for the first time next
	by      map[int32]string // who handled the partition's last record
	wrong   []string         // what must not be
	again   int              // records handled more than once
	handled chan int32       // partitions, one per record handled for the first time
	total   int
}

func newJudge() *judge {
	return &judge{inside: map[int32]string{}, next: map[int32]int64{}, by: map[int32]string{}, handled: make(chan int32, 1_000_000)}
}

func (j *judge) handle(who string) func(p *consumer.Params) {
	return func(p *consumer.Params) {
		p.Handle = func(_ context.Context, w *consumer.Work) error {
			rec := w.Records[0]
			j.enter(who, rec.Partition, rec.Offset)
			defer j.leave(rec.Partition)
			return nil
		}
	}
}

func (j *judge) enter(who string, partition int32, offset int64) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if other := j.inside[partition]; other != "" {
		j.wrong = append(j.wrong, fmt.Sprintf("%s and %s handle partition %d at once", other, who, partition))
	}
	j.inside[partition] = who
	j.by[partition] = who
	switch {
	case offset > j.next[partition]:
		j.wrong = append(j.wrong, fmt.Sprintf("%s: offset %d of %d before %d", who, offset, partition, j.next[partition]))
	case offset < j.next[partition]:
		j.again++
	default:
		j.next[partition]++
		j.total++
		j.handled <- partition
	}
}

func (j *judge) leave(partition int32) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.inside[partition] = ""
}

// owners are how many partitions each member handled last.
func (j *judge) owners() map[string]int {
	j.mu.Lock()
	defer j.mu.Unlock()
	out := map[string]int{}
	for _, who := range j.by {
		out[who]++
	}
	return out
}

func (j *judge) verdict(t *testing.T, total int) {
	t.Helper()
	j.mu.Lock()
	defer j.mu.Unlock()
	assert.Empty(t, j.wrong)
	assert.Equal(t, total, j.total, "records handled")
}

// stream produces to the partitions in turn until stopped; it returns how many records it wrote.
func (k *kafka) stream(t *testing.T, topic string, partitions int32) (stop func() int) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	written := make(chan int, 1)
	cl := k.client(t)
	go func() {
		n := 0
		for ; ctx.Err() == nil; n++ {
			rec := &kgo.Record{Topic: topic, Partition: int32(n) % partitions, Key: []byte("k"), Value: fmt.Append(nil, n)}
			if err := cl.ProduceSync(context.WithoutCancel(ctx), rec).FirstErr(); err != nil {
				t.Error(err)
				break
			}
		}
		written <- n
	}()
	var once sync.Once
	n := 0
	stop = func() int {
		once.Do(func() { cancel(); n = <-written })
		return n
	}
	t.Cleanup(func() { stop() })
	return stop
}

func TestMembersShareAndHandOver(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, k *kafka) {
		topic, group := k.topic(t, 6), unique(t, "group")
		j := newJudge()
		stop := k.stream(t, topic, 6)
		owns := func(want map[string]int) func() bool {
			return func() bool { return assert.ObjectsAreEqual(want, j.owners()) }
		}
		a := k.start(t, group, []string{topic}, j.handle("a"))
		eventually(t, owns(map[string]int{"a": 6}), "a has all")
		b := k.start(t, group, []string{topic}, j.handle("b"))
		eventually(t, owns(map[string]int{"a": 3, "b": 3}), "a and b share")
		c := k.start(t, group, []string{topic}, j.handle("c"))
		eventually(t, owns(map[string]int{"a": 2, "b": 2, "c": 2}), "all three share")
		a.stop() // the first one was the leader
		eventually(t, owns(map[string]int{"b": 3, "c": 3}), "b and c share")
		b.stop()
		eventually(t, owns(map[string]int{"c": 6}), "c has all")
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

// A rebalance must not wait for a slow handler for ever, nor take its partition from under it.
func TestARebalanceWaitsForTheHandler(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, k *kafka) {
		topic, group := k.topic(t, 2), unique(t, "group")
		j := newJudge()
		entered, release := make(chan struct{}), make(chan struct{})
		k.produce(t, topic, 0, numbers(0, 2)...)
		k.produce(t, topic, 1, numbers(0, 2)...)
		slow := true
		k.start(t, group, []string{topic}, j.handle("a"), func(p *consumer.Params) {
			handle := p.Handle
			p.Handle = func(ctx context.Context, w *consumer.Work) error {
				rec := w.Records[0]
				if rec.Partition == 1 && slow { // the one that goes to the second member
					slow = false
					j.enter("a", rec.Partition, rec.Offset)
					defer j.leave(rec.Partition)
					close(entered)
					<-release
					return ctx.Err()
				}
				return handle(ctx, w)
			}
		})
		receive(t, entered, "record")
		joined := newJoinWatch(t, k, group)
		k.start(t, group, []string{topic}, j.handle("b"))
		joined.wait(2)
		close(release)
		for range 4 {
			receive(t, j.handled, "record")
		}
		j.verdict(t, 4)
		assert.Zero(t, j.again)
	})
}

// joinWatch tells when a group has members, be it stable or not.
type joinWatch struct {
	t     *testing.T
	k     *kafka
	group string
}

func newJoinWatch(t *testing.T, k *kafka, group string) *joinWatch {
	t.Helper()
	return &joinWatch{t, k, group}
}

func (w *joinWatch) members() []string {
	g, err := w.k.admin.DescribeGroups(w.t.Context(), w.group)
	if err != nil {
		return nil
	}
	ids := []string{}
	for _, m := range g[w.group].Members {
		ids = append(ids, m.MemberID)
	}
	return ids
}

func (w *joinWatch) wait(n int) {
	w.t.Helper()
	eventually(w.t, func() bool { return len(w.members()) == n }, "%d members", n)
}

// A member that was thrown out while it handled: what it finished late must not be committed over what another member did.
func TestAStaleCommitNeverRewinds(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, k *kafka) {
		topic, group := k.topic(t, 1), unique(t, "group")
		k.produce(t, topic, 0, numbers(0, 10)...)
		entered, release := make(chan context.Context, 100), make(chan struct{})
		a := k.start(t, group, []string{topic}, func(p *consumer.Params) {
			p.HeartbeatInterval = time.Hour // a third of the session: it does not notice by itself
			p.SessionTimeout = 20 * time.Second
			p.Handle = func(ctx context.Context, _ *consumer.Work) error {
				entered <- ctx
				<-release
				return nil
			}
		})
		ctx := receive(t, entered, "record")
		w := newJoinWatch(t, k, group)
		evict(t, k, group, w.members()...)
		b := k.start(t, group, []string{topic})
		assert.ElementsMatch(t, numbers(0, 10), b.values(10))
		eventually(t, func() bool { return k.committed(t, group, topic, 0) == 10 }, "b has committed")
		b.stop()
		close(release) // a believes that record 0 is finished, and goes on with 1
		select {
		case <-ctx.Done(): // its commit was refused, and so it knows
		case <-time.After(patience):
			require.Fail(t, "the handler's context does not end")
		}
		w.wait(1) // a is back, with a name of its own
		assert.EqualValues(t, 10, k.committed(t, group, topic, 0))
		k.produce(t, topic, 0, "after")
		eventually(t, func() bool { return k.committed(t, group, topic, 0) == 11 }, "a works again")
		a.stop()
		assert.Positive(t, a.logs.count("lost the partitions"))
	})
}

func TestTheContextEndsWhenThePartitionIsLost(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, k *kafka) {
		topic, group := k.topic(t, 1), unique(t, "group")
		k.produce(t, topic, 0, numbers(0, 3)...)
		entered := make(chan struct{}, 10)
		first := true
		var got []int64
		done := make(chan struct{})
		a := k.start(t, group, []string{topic}, func(p *consumer.Params) {
			p.Handle = func(ctx context.Context, w *consumer.Work) error {
				rec := w.Records[0]
				if first {
					first = false
					entered <- struct{}{}
					<-ctx.Done()
					return ctx.Err()
				}
				if got = append(got, rec.Offset); len(got) == 3 {
					close(done)
				}
				return nil
			}
		})
		receive(t, entered, "record")
		evict(t, k, group, newJoinWatch(t, k, group).members()...)
		receive(t, done, "end")
		a.stop()
		assert.Equal(t, []int64{0, 1, 2}, got, "from the beginning: the first try finished nothing")
	})
}

// evict has members leave who know nothing of it.
func evict(t *testing.T, k *kafka, group string, members ...string) {
	t.Helper()
	require.NotEmpty(t, members)
	req := kmsg.NewPtrLeaveGroupRequest()
	req.Group = group
	for _, id := range members {
		m := kmsg.NewLeaveGroupRequestMember()
		m.MemberID = id
		req.Members = append(req.Members, m)
	}
	res, err := req.RequestWith(t.Context(), k.cl)
	require.NoError(t, err)
	require.Zero(t, res.ErrorCode)
	for _, m := range res.Members {
		require.Zero(t, m.ErrorCode)
	}
}

func TestALongHandlerKeepsItsMembership(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, k *kafka) {
		topic, group := k.topic(t, 1), unique(t, "group")
		k.produce(t, topic, 0, "one")
		calls := make(chan int64, 10)
		m := k.start(t, group, []string{topic}, func(p *consumer.Params) {
			p.SessionTimeout = k.session
			p.Handle = func(ctx context.Context, w *consumer.Work) error {
				rec := w.Records[0]
				calls <- rec.Offset
				select { // the work
				case <-time.After(k.session + k.session/2):
					return nil
				case <-ctx.Done():
					return ctx.Err()
				}
			}
		})
		eventually(t, func() bool { return k.committed(t, group, topic, 0) == 1 }, "handled and committed")
		m.stop()
		assert.Len(t, calls, 1)
		assert.Zero(t, m.logs.count("lost the partitions"))
	})
}

func TestStopDrainsForABoundedTime(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, k *kafka) {
		topic, group := k.topic(t, 2), unique(t, "group")
		k.produce(t, topic, 0, numbers(0, 5)...)
		k.produce(t, topic, 1, numbers(0, 5)...)
		entered, release := make(chan struct{}, 10), make(chan struct{})
		m := k.start(t, group, []string{topic}, func(p *consumer.Params) {
			p.DrainTimeout = 300 * time.Millisecond
			p.Handle = func(ctx context.Context, w *consumer.Work) error {
				rec := w.Records[0]
				entered <- struct{}{}
				if rec.Partition == 0 {
					<-release
					return ctx.Err() // nil: there is time yet
				}
				<-ctx.Done()
				return ctx.Err()
			}
		})
		receive(t, entered, "record")
		receive(t, entered, "record")
		m.cancel()
		close(release)
		require.NoError(t, m.wait())
		assert.EqualValues(t, 1, k.committed(t, group, topic, 0), "what was running is finished, what was queued is not begun")
		assert.LessOrEqual(t, k.committed(t, group, topic, 1), int64(0), "what was not finished is not committed")
		assert.Empty(t, entered)
		assert.Empty(t, newJoinWatch(t, k, group).members(), "the member has left")
	})
}

func TestAHandlerThatIgnoresItsContextDoesNotHoldTheStop(t *testing.T) {
	t.Parallel()
	k := fake(t)
	topic, group := k.topic(t, 1), unique(t, "group")
	k.produce(t, topic, 0, "one")
	entered, release := make(chan struct{}), make(chan struct{})
	m := k.start(t, group, []string{topic}, func(p *consumer.Params) {
		p.DrainTimeout = time.Millisecond
		p.Handle = func(context.Context, *consumer.Work) error {
			close(entered)
			<-release
			return nil
		}
	})
	receive(t, entered, "record")
	m.stop()
	assert.Equal(t, 1, m.logs.count("ERROR", "the handler goes on although its context has ended", topic))
	assert.LessOrEqual(t, k.committed(t, group, topic, 0), int64(0))
	close(release)
}

func TestAStaticMemberComesBackWithoutARebalance(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, k *kafka) {
		topic, group := k.topic(t, 2), unique(t, "group")
		j := newJudge()
		static := func(id string) func(p *consumer.Params) {
			return func(p *consumer.Params) { p.InstanceID = id; p.SessionTimeout = 30 * time.Second }
		}
		both := func(n int) {
			k.produce(t, topic, 0, numbers(0, n)...)
			k.produce(t, topic, 1, numbers(0, n)...)
			for range 2 * n {
				receive(t, j.handled, "record")
			}
		}
		a := k.start(t, group, []string{topic}, static("one"), j.handle("one"))
		both(1)
		b := k.start(t, group, []string{topic}, static("two"), j.handle("two"))
		eventually(t, func() bool { both(1); return len(j.owners()) == 2 }, "both share")
		eventually(t, func() bool { return a.logs.count("joined the group", "partitions=1") > 0 }, "the first one knows of it")
		joined := a.logs.count("joined the group")
		b.stop()
		b = k.start(t, group, []string{topic}, static("two"), j.handle("two again"))
		both(1)
		assert.Equal(t, map[string]int{"one": 1, "two again": 1}, j.owners())
		assert.Equal(t, joined, a.logs.count("joined the group"), "the other member noticed nothing")

		t.Run("two of one name", func(t *testing.T) {
			k.start(t, group, []string{topic}, static("two"), j.handle("impostor"))
			err := b.wait()
			require.ErrorIs(t, err, kerr.FencedInstanceId)
		})
	})
}

// produceTo produces to a partition that is only just there.
func (k *kafka) produceTo(t *testing.T, topic string, partition int32, value string) {
	t.Helper()
	eventually(t, func() bool {
		// A client that knew the topic before does not see its new partitions for a while.
		return k.client(t).ProduceSync(t.Context(), &kgo.Record{Topic: topic, Partition: partition, Value: []byte(value)}).FirstErr() == nil
	}, "the partition is there")
}

func TestNewTopicsAndPartitionsAreTakenUp(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, k *kafka) {
		topic, later, group := k.topic(t, 1), unique(t, "later"), unique(t, "group")
		m := k.start(t, group, []string{topic, later})
		k.produce(t, topic, 0, "there")
		assert.Equal(t, []string{"there"}, m.values(1))
		eventually(t, func() bool { return m.logs.count("the topic does not exist yet", later) == 1 }, "it says so")

		k.create(t, later, 1, nil)
		k.produce(t, later, 0, "later")
		assert.Equal(t, []string{"later"}, m.values(1))

		_, err := k.admin.CreatePartitions(t.Context(), 1, topic)
		require.NoError(t, err)
		k.produceTo(t, topic, 1, "new partition")
		assert.Equal(t, []string{"new partition"}, m.values(1))
		m.stop()
		m.quiet()
		assert.Equal(t, 1, m.logs.count("the topic does not exist yet", later), "said once")
	})
}

// foreign runs franz-go's client in the group until the test or the returned function ends it.
func (k *kafka) foreign(t *testing.T, j *judge, who, group string, balancer kgo.GroupBalancer, topics ...string) (stop func()) {
	t.Helper()
	cl := k.client(t, kgo.ConsumerGroup(group), kgo.ConsumeTopics(topics...), kgo.Balancers(balancer),
		kgo.HeartbeatInterval(50*time.Millisecond), kgo.SessionTimeout(max(k.session, 2*time.Second)), kgo.BlockRebalanceOnPoll(),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.DisableAutoCommit())
	done := make(chan struct{})
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		defer close(done)
		for ctx.Err() == nil {
			fs := cl.PollFetches(ctx)
			fs.EachRecord(func(r *kgo.Record) {
				j.enter(who, r.Partition, r.Offset)
				j.leave(r.Partition)
			})
			if recs := fs.Records(); len(recs) > 0 {
				if err := cl.CommitRecords(context.WithoutCancel(ctx), recs...); err != nil {
					t.Error(err)
				}
			}
			cl.AllowRebalance()
		}
		cl.CloseAllowingRebalance()
	}()
	stop = func() { cancel(); <-done }
	t.Cleanup(stop)
	return stop
}

func TestSharesAGroupWithFranzGo(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, k *kafka) {
		for _, tc := range []struct {
			name   string
			theirs func() kgo.GroupBalancer
			ours   []consumer.Balancer
		}{
			{"range", kgo.RangeBalancer, nil},
			{"cooperative, and we are not", kgo.CooperativeStickyBalancer, nil},
			{"cooperative", kgo.CooperativeStickyBalancer, []consumer.Balancer{consumer.CooperativeSticky}},
		} {
			for _, weLead := range []bool{true, false} {
				name := tc.name + map[bool]string{true: ", led by us", false: ", led by franz-go"}[weLead]
				t.Run(name, func(t *testing.T) {
					t.Parallel()
					topic, group := k.topic(t, 4), unique(t, "group")
					j := newJudge()
					stop := k.stream(t, topic, 4)
					owns := func(ours, theirs int) {
						eventually(t, func() bool { o := j.owners(); return o["ours"] == ours && o["franz"] == theirs }, "%d and %d", ours, theirs)
					}
					start := func() *member {
						return k.start(t, group, []string{topic}, j.handle("ours"), func(p *consumer.Params) { p.Balancers = tc.ours })
					}
					var m *member
					var leave func()
					if weLead {
						m = start()
						owns(4, 0)
						leave = k.foreign(t, j, "franz", group, tc.theirs(), topic)
					} else {
						leave = k.foreign(t, j, "franz", group, tc.theirs(), topic)
						owns(0, 4)
						m = start()
					}
					owns(2, 2)
					assert.Positive(t, m.logs.count("joined the group", "partitions=2", fmt.Sprintf("leader=%t", weLead)))
					leave()
					owns(4, 0)
					n := stop()
					for range n {
						receive(t, j.handled, "record")
					}
					m.stop()
					j.verdict(t, n)
					assert.Zero(t, m.logs.count("lost the partitions"))
				})
			}
		}
	})
}

// Members of one group need not subscribe to the same topics.
func TestLeadsMembersWithOtherTopics(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, k *kafka) {
		ours, theirs, group := k.topic(t, 1), k.topic(t, 1), unique(t, "group")
		m := k.start(t, group, []string{ours})
		k.produce(t, ours, 0, "ours")
		assert.Equal(t, []string{"ours"}, m.values(1))
		j := newJudge()
		k.foreign(t, j, "franz", group, kgo.RangeBalancer(), theirs)
		k.produce(t, theirs, 0, "theirs")
		receive(t, j.handled, "record")
		k.produce(t, ours, 0, "ours again")
		assert.Equal(t, []string{"ours again"}, m.values(1))
	})
}
