package messaging

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/expensevault/sharedlibrary/internal/cluster"
	"github.com/expensevault/sharedlibrary/internal/kerr"
)

func TestWantedTopics(t *testing.T) {
	t.Parallel()
	cfg := DefaultConfig()
	cfg.Topics = map[string]string{"a.b.c": "custom"}
	for _, c := range []struct {
		name  string
		specs []TopicSpec
		want  []string // names on the broker
		err   string
	}{
		{name: "none"},
		{name: "in order", specs: []TopicSpec{{Name: "z.z.z"}, {Name: "a.a.a"}}, want: []string{"z.z.z", "a.a.a"}},
		{name: "mapped", specs: []TopicSpec{{Name: "a.b.c"}}, want: []string{"custom"}},
		{name: "two on one", specs: []TopicSpec{{Name: "a.b.c", Partitions: 3}, {Name: "custom", Partitions: 3}}, want: []string{"custom"}},
		{name: "retention either way", specs: []TopicSpec{
			{Name: "a.b.c", Retention: time.Second},
			{Name: "custom", Config: map[string]string{"retention.ms": "1000"}},
		}, want: []string{"custom"}},
		{name: "two on one at odds", specs: []TopicSpec{{Name: "a.b.c", Partitions: 3}, {Name: "custom"}}, err: `topic "custom": two specs want it differently`},
		{name: "no name", specs: []TopicSpec{{}}, err: "empty"},
		{name: "illegal name", specs: []TopicSpec{{Name: "a b"}}, err: `a b`},
		{name: "partitions", specs: []TopicSpec{{Name: "t", Partitions: -1}}, err: `topic "t": has Partitions -1: give 1 or more`},
		{name: "too many partitions", specs: []TopicSpec{{Name: "t", Partitions: 1 << 31}}, err: "Partitions 2147483648"},
		{name: "replication", specs: []TopicSpec{{Name: "t", ReplicationFactor: 1 << 15}}, err: "ReplicationFactor 32768"},
		{name: "retention below a millisecond", specs: []TopicSpec{{Name: "t", Retention: time.Microsecond}}, err: "Retention 1µs"},
		{name: "negative retention", specs: []TopicSpec{{Name: "t", Retention: -time.Second}}, err: "Retention -1s"},
		{name: "retention twice", specs: []TopicSpec{{
			Name: "t", Retention: time.Second, Config: map[string]string{"retention.ms": "1000"},
		}}, err: "give one of them"},
		{name: "a setting without a name", specs: []TopicSpec{{Name: "t", Config: map[string]string{"": "x"}}}, err: "without a name"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			topics, err := wantedTopics(cfg, c.specs)
			if c.err != "" {
				require.ErrorContains(t, err, c.err)
				return
			}
			require.NoError(t, err)
			var names []string
			for _, w := range topics {
				names = append(names, w.Name)
			}
			assert.Equal(t, c.want, names)
		})
	}
}

func TestWantedTopicsLeavesTheSpecAlone(t *testing.T) {
	t.Parallel()
	spec := TopicSpec{Name: "t", Retention: RetentionForever, Config: map[string]string{"cleanup.policy": "compact"}}
	topics, err := wantedTopics(DefaultConfig(), []TopicSpec{spec})
	require.NoError(t, err)
	assert.Equal(t, map[string]string{"cleanup.policy": "compact", "retention.ms": "-1"}, topics[0].settings)
	assert.Equal(t, map[string]string{"cleanup.policy": "compact"}, spec.Config)
}

func TestTopicState(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		spec TopicSpec
		have wantedTopic
		want string
	}{
		{name: "created", spec: TopicSpec{Partitions: 3}, have: wantedTopic{created: true}, want: "t: created"},
		{name: "whatever the broker has", have: wantedTopic{partitions: 7, replicas: []int{3}}, want: "t: exists"},
		{
			name: "as wanted", spec: TopicSpec{Partitions: 2, ReplicationFactor: 3, Retention: time.Minute},
			have: wantedTopic{partitions: 2, replicas: []int{3, 3}, configs: map[string]string{"retention.ms": "60000"}}, want: "t: exists",
		},
		{
			name: "all at odds", spec: TopicSpec{Partitions: 3, ReplicationFactor: 3, Retention: time.Minute, Config: map[string]string{"x.y": "1"}},
			have: wantedTopic{partitions: 1, replicas: []int{1}, configs: map[string]string{"retention.ms": "-1"}},
			want: "t: differs: partitions is 1, wanted is 3; replication factor is 1, wanted is 3; retention.ms is -1, wanted is 60000; x.y is unset, wanted is 1",
		},
		{
			name: "a reassignment under way", spec: TopicSpec{ReplicationFactor: 3}, have: wantedTopic{partitions: 2, replicas: []int{3, 4}},
			want: "t: differs: replication factor is 3 to 4, wanted is 3",
		},
		{
			name: "a list in another order", spec: TopicSpec{Config: map[string]string{"cleanup.policy": "delete, compact"}},
			have: wantedTopic{configs: map[string]string{"cleanup.policy": "compact,delete"}}, want: "t: exists",
		},
		{
			name: "an empty value", spec: TopicSpec{Config: map[string]string{"a": "", "b": "x"}},
			have: wantedTopic{configs: map[string]string{"a": "", "b": ""}}, want: `t: differs: b is "", wanted is x`,
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			c.spec.Name = "t"
			topics, err := wantedTopics(DefaultConfig(), []TopicSpec{c.spec})
			require.NoError(t, err)
			c.have.TopicSpec, c.have.settings = topics[0].TopicSpec, topics[0].settings
			assert.Equal(t, c.want, c.have.state().String())
		})
	}
}

func TestWantedTopicSees(t *testing.T) {
	t.Parallel()
	leaderless := &cluster.Topic{Partitions: []cluster.Partition{{Leader: 1, Replicas: 3}, {ID: 1, Leader: -1, Replicas: 3}}}
	for _, c := range []struct {
		name    string
		created bool
		topic   *cluster.Topic
		settled bool
		err     error // why not yet
		final   error
	}{
		{name: "no answer"},
		{name: "missing", topic: &cluster.Topic{Err: kerr.UnknownTopicOrPartition}, err: kerr.UnknownTopicOrPartition},
		{name: "an election", topic: &cluster.Topic{Err: kerr.LeaderNotAvailable}, err: kerr.LeaderNotAvailable},
		{name: "created, a leader is missing", created: true, topic: leaderless, err: kerr.LeaderNotAvailable},
		{name: "was there, a leader is missing", topic: leaderless, settled: true},
		{name: "not allowed", topic: &cluster.Topic{Err: kerr.TopicAuthorizationFailed}, settled: true, final: ErrNotAuthorized},
		{name: "illegal", topic: &cluster.Topic{Err: kerr.InvalidTopicException}, settled: true, final: kerr.InvalidTopicException},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := wantedTopic{TopicSpec: TopicSpec{Name: "t"}, created: c.created}
			settled, err := w.see(c.topic)
			assert.Equal(t, c.settled, settled)
			assert.Equal(t, c.settled, err == nil)
			if c.err != nil {
				require.ErrorIs(t, err, c.err)
			}
			assert.ErrorIs(t, w.err, c.final)
		})
	}
}
