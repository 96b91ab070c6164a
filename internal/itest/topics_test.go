package itest

import (
	"context"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/expensevault/sharedlibrary/messaging"
	"github.com/expensevault/sharedlibrary/messaging/embedded"
)

// freshAdmin is another client than ours, which has cached nothing: kafka-go's shared one may answer from what it knew before.
func freshAdmin(t *testing.T, b broker) *kafka.Client {
	t.Helper()
	transport := &kafka.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	admin := b.admin()
	admin.Transport = transport
	return admin
}

// describeTopic asks another client for the number of partitions and some settings of a topic.
func describeTopic(t *testing.T, b broker, topic string, names ...string) (partitions int, settings map[string]string) {
	t.Helper()
	admin := freshAdmin(t, b)
	md, err := admin.Metadata(t.Context(), &kafka.MetadataRequest{Topics: []string{topic}})
	require.NoError(t, err)
	require.Len(t, md.Topics, 1)
	require.NoError(t, md.Topics[0].Error)
	described, err := admin.DescribeConfigs(t.Context(), &kafka.DescribeConfigsRequest{
		Resources: []kafka.DescribeConfigRequestResource{{ResourceType: kafka.ResourceTypeTopic, ResourceName: topic, ConfigNames: names}},
	})
	require.NoError(t, err)
	require.Len(t, described.Resources, 1)
	require.NoError(t, described.Resources[0].Error)
	settings = map[string]string{}
	for _, e := range described.Resources[0].ConfigEntries {
		settings[e.ConfigName] = e.ConfigValue
	}
	return len(md.Topics[0].Partitions), settings
}

func ensureCreates(t *testing.T, b broker) {
	cfg, topic := b.config(nil), b.name("itest")
	spec := messaging.TopicSpec{
		Name: topic, Partitions: 3, ReplicationFactor: 1, Retention: time.Hour,
		Config: map[string]string{"cleanup.policy": "delete,compact", "max.message.bytes": "2000000"},
	}
	states, err := messaging.EnsureTopics(t.Context(), cfg, spec)
	require.NoError(t, err)
	require.Equal(t, []messaging.TopicState{{Name: topic, Created: true}}, states)

	there := func() {
		partitions, settings := describeTopic(t, b, topic, "retention.ms", "cleanup.policy", "max.message.bytes")
		require.Equal(t, 3, partitions)
		require.Equal(t, "3600000", settings["retention.ms"])
		require.ElementsMatch(t, []string{"compact", "delete"}, strings.Split(settings["cleanup.policy"], ","))
		require.Equal(t, "2000000", settings["max.message.bytes"])
	}
	there()

	states, err = messaging.EnsureTopics(t.Context(), cfg, spec)
	require.NoError(t, err)
	require.Equal(t, []messaging.TopicState{{Name: topic}}, states)

	states, err = messaging.EnsureTopics(t.Context(), cfg, messaging.TopicSpec{
		Name: topic, Partitions: 5, ReplicationFactor: 2, Retention: messaging.RetentionForever,
		Config: map[string]string{"cleanup.policy": "compact,delete", "max.message.bytes": "3000000", "no.such.setting": "1"},
	})
	require.NoError(t, err)
	require.Equal(t, []messaging.TopicState{{Name: topic, Differences: []messaging.TopicDifference{
		{Setting: "partitions", Want: "5", Have: "3"},
		{Setting: "replication factor", Want: "2", Have: "1"},
		{Setting: "max.message.bytes", Want: "3000000", Have: "2000000"},
		{Setting: "no.such.setting", Want: "1", Have: "unset"},
		{Setting: "retention.ms", Want: "-1", Have: "3600000"},
	}}}, states)
	there()
}

func ensureDefaults(t *testing.T, b broker) {
	topic := b.name("itest")
	states, err := messaging.EnsureTopics(t.Context(), b.config(nil), messaging.TopicSpec{Name: topic})
	require.NoError(t, err)
	require.Equal(t, []messaging.TopicState{{Name: topic, Created: true}}, states)
	partitions, _ := describeTopic(t, b, topic)
	require.Positive(t, partitions)

	states, err = messaging.EnsureTopics(t.Context(), b.config(nil))
	require.NoError(t, err)
	require.Empty(t, states)
}

func ensureMapped(t *testing.T, b broker) {
	topic, custom := b.name("itest"), b.name("custom")
	cfg := b.config(map[string]string{topic: custom})
	states, err := messaging.EnsureTopics(t.Context(), cfg, messaging.TopicSpec{Name: topic, Partitions: 1})
	require.NoError(t, err)
	require.Equal(t, []messaging.TopicState{{Name: custom, Created: true}}, states)
	md, err := freshAdmin(t, b).Metadata(t.Context(), &kafka.MetadataRequest{Topics: []string{topic, custom}})
	require.NoError(t, err)
	for _, found := range md.Topics {
		if found.Name == topic {
			require.ErrorIs(t, found.Error, kafka.UnknownTopicOrPartition)
		} else {
			require.NoError(t, found.Error)
		}
	}
}

func ensureSome(t *testing.T, b broker) {
	good, wide, there := b.name("itest"), b.name("itest"), b.topic(t, 1)
	odd := strings.ReplaceAll(there, ".", "_") // which Kafka's metrics could not tell from the other
	states, err := messaging.EnsureTopics(t.Context(), b.config(nil),
		messaging.TopicSpec{Name: wide, ReplicationFactor: 99},
		messaging.TopicSpec{Name: good, Partitions: 1},
		messaging.TopicSpec{Name: odd},
	)
	require.Equal(t, []messaging.TopicState{{Name: good, Created: true}}, states)
	require.ErrorContains(t, err, "topic "+wide+": create: kafka: INVALID_REPLICATION_FACTOR")
	require.ErrorContains(t, err, "topic "+odd+": create: kafka: INVALID_TOPIC_EXCEPTION")
	require.NotErrorIs(t, err, messaging.ErrTimeout)
}

func ensureAtOnce(t *testing.T, b broker) {
	const processes = 8
	cfg, topic := b.config(nil), b.name("itest")
	created := make(chan bool, processes)
	var wg sync.WaitGroup
	for range processes {
		wg.Go(func() {
			states, err := messaging.EnsureTopics(t.Context(), cfg, messaging.TopicSpec{Name: topic, Partitions: 2, Retention: time.Hour})
			if assert.NoError(t, err) && assert.Len(t, states, 1) {
				assert.Empty(t, states[0].Differences)
				created <- states[0].Created
			}
		})
	}
	wg.Wait()
	close(created)
	n := 0
	for c := range created {
		if c {
			n++
		}
	}
	require.Equal(t, 1, n, "processes that created the topic")
}

func TestEnsureTopicsWithSASL(t *testing.T) {
	t.Parallel()
	cfg := broker{address: env(t, realBroker, "KAFKA_TEST_SASL_SSL_BOOTSTRAP")}.config(nil)
	cfg.SecurityProtocol, cfg.SASLMechanism, cfg.SSLCALocation = "SASL_SSL", "SCRAM-SHA-512", os.Getenv("KAFKA_TEST_CA")
	topic := broker{topics: new(atomic.Int64)}.name("itest.sasl")

	as := func(who string) messaging.Config {
		c := cfg
		c.SASLUsername, c.SASLPassword = env(t, realBroker, "KAFKA_TEST_"+who+"_USER"), messaging.Secret(env(t, realBroker, "KAFKA_TEST_"+who+"_PASSWORD"))
		return c
	}
	states, err := messaging.EnsureTopics(t.Context(), as("BOB"), messaging.TopicSpec{Name: topic, Retention: time.Hour})
	require.ErrorIs(t, err, messaging.ErrNotAuthorized)
	require.ErrorContains(t, err, topic)
	require.Empty(t, states)

	states, err = messaging.EnsureTopics(t.Context(), as("ALICE"), messaging.TopicSpec{Name: topic, Retention: time.Hour})
	require.NoError(t, err)
	require.Equal(t, []messaging.TopicState{{Name: topic, Created: true}}, states)

	wrong := as("ALICE")
	wrong.SASLPassword = "wrong-one"
	start := time.Now()
	_, err = messaging.EnsureTopics(t.Context(), wrong, messaging.TopicSpec{Name: topic})
	require.ErrorIs(t, err, messaging.ErrAuthentication)
	require.NotContains(t, err.Error(), "wrong-one")
	require.Less(t, time.Since(start), 5*time.Second)
}

// TestEnsureTopicsEnds: with ctx, or when Config.MessageTimeout has passed.
func TestEnsureTopicsEnds(t *testing.T) {
	t.Parallel()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	nobody := l.Addr().String()
	require.NoError(t, l.Close())

	cfg := broker{address: nobody}.config(nil)
	cfg.MessageTimeout, cfg.RetryBackoff = 300*time.Millisecond, 50*time.Millisecond
	start := time.Now()
	states, err := messaging.EnsureTopics(t.Context(), cfg, messaging.TopicSpec{Name: "a.b.c"})
	require.ErrorIs(t, err, messaging.ErrTimeout)
	require.ErrorContains(t, err, nobody)
	require.Empty(t, states)
	require.Less(t, time.Since(start), 3*time.Second)

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = messaging.EnsureTopics(ctx, cfg, messaging.TopicSpec{Name: "a.b.c"})
	require.ErrorIs(t, err, context.Canceled)
}

// TestEnsureTopicsOnSeveralNodes needs the controller, which need not be the node that was asked first.
func TestEnsureTopicsOnSeveralNodes(t *testing.T) {
	t.Parallel()
	b := embedded.Run(t, embedded.WithNodes(3))
	var specs []messaging.TopicSpec
	for i := range 20 {
		specs = append(specs, messaging.TopicSpec{Name: "a.b.c" + strconv.Itoa(i), Partitions: 3, ReplicationFactor: 3})
	}
	for _, created := range []bool{true, false} {
		states, err := messaging.EnsureTopics(t.Context(), broker{address: b.Addr()}.config(nil), specs...)
		require.NoError(t, err)
		require.Len(t, states, len(specs))
		for i, s := range states {
			require.Equal(t, messaging.TopicState{Name: specs[i].Name, Created: created}, s)
		}
	}
}
