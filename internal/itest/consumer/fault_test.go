package consumer_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	fkerr "github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/expensevault/sharedlibrary/internal/consumer"
	"github.com/expensevault/sharedlibrary/internal/kerr"
)

func TestTheLeaderMoves(t *testing.T) {
	t.Parallel()
	k := fake(t)
	topic, group := k.topic(t, 3), unique(t, "group")
	m := k.start(t, group, []string{topic})
	next := map[int32]int64{}
	for i := range 30 {
		begin := time.Now()
		for p := range int32(3) {
			require.NoError(t, k.fake.MoveTopicPartition(topic, p, int32((i+int(p))%3)))
			k.produceBy(t, k.client(t), topic, p, "x")
		}
		for range 3 {
			rec := m.next()
			assert.Equal(t, next[rec.Partition], rec.Offset)
			next[rec.Partition]++
		}
		assert.Less(t, time.Since(begin), 5*time.Second, "without waiting for anything long")
	}
	m.stop()
	m.quiet()
	assert.Zero(t, m.logs.count("interrupted"), "a leader that moves is nobody's trouble")
}

func TestTheCoordinatorMoves(t *testing.T) {
	t.Parallel()
	k := fake(t)
	topic, group := k.topic(t, 1), unique(t, "group")
	m := k.start(t, group, []string{topic})
	for i := range 10 {
		k.produce(t, topic, 0, strconv.Itoa(i))
		assert.Equal(t, []string{strconv.Itoa(i)}, m.values(1))
		eventually(t, func() bool { return k.committed(t, group, topic, 0) == int64(i+1) }, "committed")
		k.fake.RehashCoordinators()
	}
	m.stop()
	assert.Equal(t, 1, m.logs.count("joined the group"), "no rebalance")
	assert.EqualValues(t, 10, k.committed(t, group, topic, 0))
}

func TestTheBrokerRestarts(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	c, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.DataDir(dir), kfake.GroupMinSessionTimeout(100*time.Millisecond))
	require.NoError(t, err)
	addrs := c.ListenAddrs()
	var port int
	_, err = fmt.Sscanf(addrs[0], "127.0.0.1:%d", &port)
	require.NoError(t, err)
	k := connect(t, &kafka{addrs: addrs, fake: c, session: time.Second})
	topic, group := k.topic(t, 2), unique(t, "group")
	m := k.start(t, group, []string{topic}, func(p *consumer.Params) { p.SessionTimeout = 30 * time.Second })
	for i := range 4 {
		want := strconv.Itoa(i)
		k.produceBy(t, k.client(t), topic, int32(i%2), want)
		assert.Equal(t, []string{want}, m.values(1))
		eventually(t, func() bool { return k.committed(t, group, topic, int32(i%2)) == int64(i/2+1) }, "committed")
		c.Close()
		eventually(t, func() bool { return m.logs.count("WARN", "consuming is interrupted") == i+1 }, "it is noticed")
		c, err = kfake.NewCluster(kfake.NumBrokers(1), kfake.DataDir(dir), kfake.GroupMinSessionTimeout(100*time.Millisecond), kfake.Ports(port))
		require.NoError(t, err)
		eventually(t, func() bool { return m.logs.count("consuming works again") == i+1 }, "it is over")
	}
	t.Cleanup(func() { c.Close() })
	k.produceBy(t, k.client(t), topic, 0, "last")
	assert.Equal(t, []string{"last"}, m.values(1))
	m.stop()
	m.quiet()
	assert.Equal(t, 4, m.logs.count("WARN", "consuming is interrupted"), "one line per outage")
}

func TestStopsInBoundedTimeWithoutABroker(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name   string
		inside bool
	}{{"idle", false}, {"in a handler", true}} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			k := fake(t)
			topic, group := k.topic(t, 1), unique(t, "group")
			k.produce(t, topic, 0, numbers(0, 3)...)
			entered := make(chan struct{}, 10)
			m := k.start(t, group, []string{topic}, func(p *consumer.Params) {
				p.DrainTimeout = time.Second
				p.CommitInterval = time.Hour // there is something to commit at the end
				p.Handle = func(ctx context.Context, _ *consumer.Work) error {
					entered <- struct{}{}
					if tc.inside {
						<-ctx.Done()
						return ctx.Err()
					}
					return nil
				}
			})
			receive(t, entered, "record")
			k.fake.Close()
			begin := time.Now()
			m.stop()
			assert.Less(t, time.Since(begin), 12*time.Second)
		})
	}
}

func TestWaitsForABroker(t *testing.T) {
	t.Parallel()
	gone := fake(t)
	addrs := gone.addrs
	gone.fake.Close()
	k := &kafka{addrs: addrs}
	m := k.start(t, "group", []string{"topic"})
	eventually(t, func() bool { return m.logs.count("WARN", "consuming is interrupted") == 1 }, "it says so")
	begin := time.Now()
	m.stop()
	assert.Less(t, time.Since(begin), 5*time.Second)
	assert.Equal(t, 1, m.logs.count("WARN", "consuming is interrupted"))
}

func TestWhatIsRefusedEndsRun(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name  string
		fault func(topic, group string) kfake.Fault
		want  kerr.Code
	}{
		{"the group, when it is looked for", func(_, group string) kfake.Fault {
			return kfake.Fault{Keys: []kmsg.Key{kmsg.FindCoordinator}, Group: group, Err: fkerr.GroupAuthorizationFailed}
		}, kerr.GroupAuthorizationFailed},
		{"the group, on joining", func(_, group string) kfake.Fault {
			return kfake.Fault{Keys: []kmsg.Key{kmsg.JoinGroup}, Group: group, Err: fkerr.GroupAuthorizationFailed}
		}, kerr.GroupAuthorizationFailed},
		{"the group, on a heartbeat", func(_, group string) kfake.Fault {
			return kfake.Fault{Keys: []kmsg.Key{kmsg.Heartbeat}, Group: group, Err: fkerr.GroupAuthorizationFailed}
		}, kerr.GroupAuthorizationFailed},
		{"the protocol", func(_, group string) kfake.Fault {
			return kfake.Fault{Keys: []kmsg.Key{kmsg.JoinGroup}, Group: group, Err: fkerr.InconsistentGroupProtocol}
		}, kerr.InconsistentGroupProtocol},
		{"the topic, in metadata", func(topic, _ string) kfake.Fault {
			return kfake.Fault{Keys: []kmsg.Key{kmsg.Metadata}, Topic: topic, Err: fkerr.TopicAuthorizationFailed}
		}, kerr.TopicAuthorizationFailed},
		{"the topic, on a fetch", func(topic, _ string) kfake.Fault {
			return kfake.Fault{Keys: []kmsg.Key{kmsg.Fetch}, Topic: topic, Err: fkerr.TopicAuthorizationFailed}
		}, kerr.TopicAuthorizationFailed},
		{"the topic, on a commit", func(topic, _ string) kfake.Fault {
			return kfake.Fault{Keys: []kmsg.Key{kmsg.OffsetCommit}, Topic: topic, Err: fkerr.TopicAuthorizationFailed}
		}, kerr.TopicAuthorizationFailed},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			k := fake(t)
			topic, group := k.topic(t, 1), unique(t, "group")
			k.produce(t, topic, 0, "x")
			f := tc.fault(topic, group)
			f.Count = -1
			k.fake.Fault(f)
			m := k.start(t, group, []string{topic})
			require.ErrorIs(t, m.wait(), tc.want)
		})
	}
}

// Errors that pass, on every kind of request, many times: nothing is lost, nothing out of order.
func TestErrorsThatPass(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		key    kmsg.Key
		errs   []*fkerr.Error
		single bool // the faults hit the topic's partitions
	}{
		{kmsg.FindCoordinator, []*fkerr.Error{fkerr.CoordinatorNotAvailable, fkerr.CoordinatorLoadInProgress}, false},
		{kmsg.JoinGroup, []*fkerr.Error{fkerr.NotCoordinator, fkerr.CoordinatorLoadInProgress, fkerr.UnknownMemberID, fkerr.UnknownServerError}, false},
		{kmsg.SyncGroup, []*fkerr.Error{fkerr.NotCoordinator, fkerr.RebalanceInProgress, fkerr.UnknownMemberID, fkerr.IllegalGeneration}, false},
		{kmsg.Heartbeat, []*fkerr.Error{fkerr.NotCoordinator, fkerr.CoordinatorNotAvailable, fkerr.RebalanceInProgress, fkerr.IllegalGeneration, fkerr.UnknownMemberID}, false},
		{kmsg.OffsetFetch, []*fkerr.Error{fkerr.NotCoordinator, fkerr.CoordinatorLoadInProgress, fkerr.UnknownServerError}, false},
		{kmsg.OffsetCommit, []*fkerr.Error{fkerr.NotCoordinator, fkerr.CoordinatorLoadInProgress, fkerr.RequestTimedOut, fkerr.IllegalGeneration, fkerr.UnknownMemberID, fkerr.RebalanceInProgress}, false},
		{kmsg.ListOffsets, []*fkerr.Error{fkerr.NotLeaderForPartition, fkerr.UnknownTopicOrPartition, fkerr.FencedLeaderEpoch, fkerr.OffsetNotAvailable}, true},
		{kmsg.Fetch, []*fkerr.Error{fkerr.NotLeaderForPartition, fkerr.UnknownTopicOrPartition, fkerr.FencedLeaderEpoch, fkerr.UnknownLeaderEpoch, fkerr.CorruptMessage, fkerr.KafkaStorageError, fkerr.UnknownServerError}, true},
		{kmsg.Metadata, []*fkerr.Error{fkerr.LeaderNotAvailable}, true},
	} {
		t.Run(tc.key.Name(), func(t *testing.T) {
			t.Parallel()
			k := fake(t)
			topic, group := k.topic(t, 2), unique(t, "group")
			k.produce(t, topic, 0, numbers(0, 20)...)
			k.produce(t, topic, 1, numbers(0, 20)...)
			for _, e := range tc.errs {
				f := kfake.Fault{Keys: []kmsg.Key{tc.key}, Err: e, Count: 2}
				if tc.single {
					f.Topic = topic
				} else {
					f.Group = group
				}
				k.fake.Fault(f)
			}
			j := newJudge()
			m := k.start(t, group, []string{topic}, j.handle("us"))
			for range 40 {
				receive(t, j.handled, "record")
			}
			for p := range int32(2) {
				eventually(t, func() bool { return k.committed(t, group, topic, p) == 20 }, "all is committed")
			}
			m.stop()
			j.verdict(t, 40)
		})
	}
}

// Connections that are cut, with every kind of request.
func TestConnectionsAreCut(t *testing.T) {
	t.Parallel()
	k := fake(t)
	topic, group := k.topic(t, 3), unique(t, "group")
	j := newJudge()
	a := k.start(t, group, []string{topic}, j.handle("a"))
	b := k.start(t, group, []string{topic}, j.handle("b"))
	cut := []kmsg.Key{kmsg.Fetch, kmsg.JoinGroup, kmsg.SyncGroup, kmsg.Heartbeat, kmsg.OffsetCommit, kmsg.OffsetFetch, kmsg.ListOffsets}
	cuts := 0 // the control functions run one by one
	k.fake.Control(func(req kmsg.Request) (kmsg.Response, error, bool) {
		k.fake.KeepControl()
		if slices.Contains(cut, kmsg.Key(req.Key())) && cuts < 100 && rand.IntN(5) == 0 {
			cuts++
			return nil, errors.New("cut"), true
		}
		return nil, nil, false
	})
	const n = 300
	for i := range n {
		k.produce(t, topic, int32(i%3), strconv.Itoa(i))
	}
	for range n {
		receive(t, j.handled, "record")
	}
	a.stop()
	b.stop()
	j.verdict(t, n)
}
