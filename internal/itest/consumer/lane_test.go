package consumer_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kadm"
	fkerr "github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/expensevault/sharedlibrary/internal/consumer"
)

// produceKeys writes one record per key to partition 0; its value is the key.
func (k *kafka) produceKeys(t *testing.T, topic string, keys ...string) {
	t.Helper()
	for _, key := range keys {
		rec := &kgo.Record{Topic: topic, Key: []byte(key), Value: []byte(key)}
		require.NoError(t, k.cl.ProduceSync(t.Context(), rec).FirstErr())
	}
}

// text is the metadata of the group's offset in partition 0.
func (k *kafka) text(t *testing.T, group, topic string) string {
	t.Helper()
	offsets, err := k.admin.FetchOffsets(t.Context(), group)
	require.NoError(t, err)
	o, _ := offsets.Lookup(topic, 0)
	return o.Metadata
}

func (k *kafka) commitAs(t *testing.T, group, topic string, at int64, metadata string) {
	t.Helper()
	var os kadm.Offsets
	os.Add(kadm.Offset{Topic: topic, Partition: 0, At: at, LeaderEpoch: -1, Metadata: metadata})
	require.NoError(t, k.admin.CommitAllOffsets(t.Context(), group, os))
}

// parking has one key's records wait for an hour, and tells of all the others.
func parking(bad string, good chan<- string) func(p *consumer.Params) {
	return func(p *consumer.Params) {
		p.Handle = func(_ context.Context, w *consumer.Work) error {
			if string(w.Records[0].Key) == bad {
				return &consumer.Again{After: time.Hour, Done: 0, Err: errors.New("not yet")}
			}
			good <- string(w.Records[0].Value)
			return nil
		}
	}
}

func TestKeysOfOnePartitionAreHandledAtOnce(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, k *kafka) {
		topic := k.topic(t, 1)
		k.produceKeys(t, topic, "a", "a", "b", "c", "d", "e")
		entered, release := make(chan string, 10), make(chan struct{})
		m := k.start(t, unique(t, "group"), []string{topic}, func(p *consumer.Params) {
			p.Concurrency = 4
			p.Handle = func(_ context.Context, w *consumer.Work) error {
				entered <- string(w.Records[0].Value)
				<-release
				return nil
			}
		})
		var got []string
		for range 4 {
			got = append(got, receive(t, entered, "record"))
		}
		assert.ElementsMatch(t, []string{"a", "b", "c", "d"}, got, "one of each key, as many as are allowed")
		close(release)
		assert.ElementsMatch(t, []string{"a", "e"}, []string{receive(t, entered, "record"), receive(t, entered, "record")})
		m.stop()
	})
}

// A record that fails is never passed by the commit of one behind it; and what is finished behind it is not handled again.
func TestTheCommitStaysBelowWhatFails(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, k *kafka) {
		topic, group := k.topic(t, 1), unique(t, "group")
		k.produceKeys(t, topic, "x", "bad", "y", "bad", "z", "x")
		good := make(chan string, 10)
		m := k.start(t, group, []string{topic}, parking("bad", good))
		for range 4 {
			receive(t, good, "record")
		}
		begin := time.Now()
		m.stop()
		assert.Less(t, time.Since(begin), 8*time.Second, "what is parked does not hold the drain")
		assert.EqualValues(t, 1, k.committed(t, group, topic, 0))
		assert.Contains(t, k.text(t, group, topic), "lanes1:")

		m = k.start(t, group, []string{topic})
		assert.Equal(t, []string{"bad", "bad"}, m.values(2))
		eventually(t, func() bool { return k.committed(t, group, topic, 0) == 6 }, "all is finished")
		m.stop()
		m.quiet()
		assert.Empty(t, k.text(t, group, topic))
	})
}

func TestMetadataThatIsNotOursIsIgnored(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, k *kafka) {
		topic, group := k.topic(t, 1), unique(t, "group")
		k.produceKeys(t, topic, "bad", "y", "z")
		good := make(chan string, 10)
		m := k.start(t, group, []string{topic}, parking("bad", good))
		receive(t, good, "record")
		receive(t, good, "record")
		m.stop()
		ours := k.text(t, group, topic)
		require.NotEmpty(t, ours)
		k.produceKeys(t, topic, "again")
		for _, text := range []string{"another client's", "lanes1:!!!", ours} {
			k.commitAs(t, group, topic, 1, text) // ours is of offset 0
			m = k.start(t, group, []string{topic})
			assert.ElementsMatch(t, []string{"y", "z", "again"}, m.values(3), text)
			m.stop()
			m.quiet()
		}
	})
}

// A broker may allow less metadata than most; the offset is committed nevertheless.
func TestABrokerThatTakesLittleMetadata(t *testing.T) {
	t.Parallel()
	k := fake(t)
	topic, group := k.topic(t, 1), unique(t, "group")
	k.fake.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.OffsetCommit}, Group: group, Err: fkerr.OffsetMetadataTooLarge, Count: 6})
	k.produceKeys(t, topic, "x", "bad", "y")
	good := make(chan string, 10)
	m := k.start(t, group, []string{topic}, parking("bad", good))
	receive(t, good, "record")
	receive(t, good, "record")
	eventually(t, func() bool { return k.committed(t, group, topic, 0) == 1 }, "the watermark")
	m.stop()
}

// A pause is no fetch and no handling, and no reason for the group to rebalance.
func TestAPausedTopicWaitsWhileHeartbeatsGoOn(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, k *kafka) {
		topic, group := k.topic(t, 1), unique(t, "group")
		control := &consumer.Control{} //nolint:exhaustruct // nothing is paused
		control.Pause(topic)
		m := k.start(t, group, []string{topic}, func(p *consumer.Params) { p.Control, p.SessionTimeout = control, k.session })
		eventually(t, func() bool { return m.logs.count("joined the group") == 1 }, "it is a member")
		k.produceKeys(t, topic, "a")
		<-time.After(k.session + k.session/4) // longer than a session
		m.quiet()
		control.Resume(topic)
		assert.Equal(t, []string{"a"}, m.values(1))
		m.stop()
		assert.Zero(t, m.logs.count("lost the partitions"))
	})
}
