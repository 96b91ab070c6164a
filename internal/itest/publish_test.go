package itest

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/expensevault/sharedlibrary/events"
	"github.com/expensevault/sharedlibrary/messaging"
	"github.com/expensevault/sharedlibrary/messaging/messagingtest"
)

// config leads to the broker; topics maps default names to the test's own.
func (b broker) config(topics map[string]string) messaging.Config {
	cfg := messaging.DefaultConfig()
	cfg.BootstrapServers = b.address
	cfg.ClientID = "itest"
	cfg.Topics = topics
	return cfg
}

// newPublisher makes a publisher that must close without an error.
func newPublisher(t testing.TB, cfg messaging.Config) *messaging.KafkaPublisher {
	t.Helper()
	p, err := messaging.NewKafkaPublisher(cfg)
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, p.Close()) })
	return p
}

// publishGuideEvents: what the library writes is read by librdkafka and by the Java client, and is the guide's.
func publishGuideEvents(t *testing.T, b broker) {
	// The guide's events are of 2025: the broker's retention would delete them, when it comes by.
	topic := b.topic(t, 1, kafka.ConfigEntry{ConfigName: "retention.ms", ConfigValue: "-1"})
	var want []message
	for i, kind := range []struct {
		name  string
		event events.IntegrationEvent
	}{
		{"item_created", &itemCreated{}},
		{"item_updated", &itemUpdated{}},
		{"item_deleted", &itemDeleted{}},
	} {
		body := guideJSON(t, kind.name)
		require.NoError(t, json.Unmarshal([]byte(body), kind.event))
		p := newPublisher(t, b.config(map[string]string{kind.event.Topic().String(): topic}))
		require.NoError(t, p.Publish(t.Context(), kind.event))
		base := kind.event.Metadata()
		want = append(want, message{
			Topic: topic, Offset: int64(i), Key: "550e8400-e29b-41d4-a716-446655440000", HasKey: true, Value: body, Timestamp: base.Timestamp,
			Headers: map[string]string{
				"content-type":     "application/json",
				"ce_specversion":   "1.0",
				"ce_id":            base.EventID.String(),
				"ce_source":        "/customservice",
				"ce_type":          "customservice.item." + base.EventType,
				"ce_time":          base.Timestamp.Format(time.RFC3339),
				"ce_eventversion":  "1.0",
				"ce_correlationid": "abc123-def456",
				"ce_partitionkey":  "550e8400-e29b-41d4-a716-446655440000",
			},
		})
	}
	assert.Equal(t, want, kcatRead(t, b, topic, len(want)))
	assert.Equal(t, want, consoleRead(t, b, topic, len(want)))
}

// publishCompressed: every codec is understood by both other clients.
func publishCompressed(t *testing.T, b broker) {
	topic := b.topic(t, 1)
	var want []string
	for _, codec := range []string{"none", "gzip", "snappy", "lz4", "zstd"} {
		cfg := b.config(map[string]string{"itest.thing.happened": topic})
		cfg.Compression = codec
		var evs []events.IntegrationEvent
		for i := range 20 {
			evs = append(evs, &keyed{Key: codec, N: i, Padding: strings.Repeat("compressible ", 100)})
		}
		require.NoError(t, newPublisher(t, cfg).Publish(t.Context(), evs...))
		for _, e := range evs {
			body, err := json.Marshal(e)
			require.NoError(t, err)
			want = append(want, string(body))
		}
	}
	byKcat := kcatRead(t, b, topic, len(want))
	for i, m := range byKcat {
		require.Equal(t, want[i], m.Value)
	}
	require.Equal(t, byKcat, consoleRead(t, b, topic, len(want)))
}

// publishInOrder: many goroutines, each with a key of its own, and every key's events stand in their order on one partition.
func publishInOrder(t *testing.T, b broker) {
	topic := b.topic(t, 5)
	p := newPublisher(t, b.config(map[string]string{"itest.thing.happened": topic}))
	const keys, each = 16, 60
	var wg sync.WaitGroup
	for k := range keys {
		key := fmt.Sprintf("key-%d", k)
		wg.Go(func() {
			for i := 0; i < each; i += 3 {
				// Three at a time: two calls' events stay in order as well as one call's.
				assert.NoError(t, p.Publish(t.Context(), &keyed{Key: key, N: i}, &keyed{Key: key, N: i + 1}, &keyed{Key: key, N: i + 2}))
			}
		})
	}
	wg.Wait()
	next, partition := map[string]int{}, map[string]int{}
	for _, m := range kcatRead(t, b, topic, keys*each) {
		var e keyed
		require.NoError(t, json.Unmarshal([]byte(m.Value), &e))
		require.Equal(t, next[m.Key], e.N, "the order of %s", m.Key)
		next[m.Key]++
		if at, seen := partition[m.Key]; seen {
			require.Equal(t, at, m.Partition, "the partition of %s", m.Key)
		}
		partition[m.Key] = m.Partition
	}
	require.Len(t, next, keys)
}

// partitionKeys are written by our publisher and by another client.
func partitionKeys() []string {
	keys := []string{"550e8400-e29b-41d4-a716-446655440000", "naïve", "ключ", "日本語", "a", "tenant/7"}
	for i := range 24 {
		keys = append(keys, "user-"+strconv.Itoa(i))
	}
	return keys
}

// publishWhere compares where our records and those of the other client lie: b's topic has both after produce.
func publishWhere(t *testing.T, b broker, partitioner string, produce func(topic, lines string)) {
	t.Helper()
	topic := b.topic(t, 7)
	var lines strings.Builder
	for _, k := range partitionKeys() {
		fmt.Fprintf(&lines, "%s=theirs\n", k)
	}
	produce(topic, lines.String())
	cfg := b.config(map[string]string{"itest.thing.happened": topic})
	cfg.Partitioner = partitioner
	p := newPublisher(t, cfg)
	var evs []events.IntegrationEvent
	for _, k := range partitionKeys() {
		evs = append(evs, &keyed{Key: k})
	}
	require.NoError(t, p.Publish(t.Context(), evs...))
	theirs, ours := map[string]int{}, map[string]int{}
	for _, m := range kcatRead(t, b, topic, 2*len(partitionKeys())) {
		if m.Value == "theirs" {
			theirs[m.Key] = m.Partition
		} else {
			ours[m.Key] = m.Partition
		}
	}
	require.Len(t, theirs, len(partitionKeys()))
	assert.Equal(t, theirs, ours)
}

// publishWhereLibrdkafkaDoes: by default a key goes to the partition that the .NET services would choose.
func publishWhereLibrdkafkaDoes(t *testing.T, b broker) {
	publishWhere(t, b, "crc32", func(topic, lines string) {
		kcat(t, strings.NewReader(lines), "-P", "-b", b.address, "-t", topic, "-K", "=")
	})
}

// publishWhereJavaDoes: with murmur2 it goes where Kafka's own producer puts it.
func publishWhereJavaDoes(t *testing.T, b broker) {
	publishWhere(t, b, "murmur2", func(topic, lines string) {
		java(t, strings.NewReader(lines), "org.apache.kafka.tools.ConsoleProducer", "--bootstrap-server", b.address, "--topic", topic,
			"--property", "parse.key=true", "--property", "key.separator==")
	})
}

// publishConforms runs the suite that every Publisher must pass.
func publishConforms(t *testing.T, b broker) {
	messagingtest.TestPublisher(t, func(t testing.TB) (messaging.Publisher, func() []messaging.Record) {
		t.Helper()
		topic := b.topic(t, 4)
		return newPublisher(t, b.config(map[string]string{messagingtest.PublisherTopic: topic})), func() []messaging.Record {
			return b.records(t, topic)
		}
	})
}

// records reads all that the topic holds now, by kafka-go.
func (b broker) records(t testing.TB, topic string) []messaging.Record {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	var records []messaging.Record
	for partition, end := range b.ends(t, topic) {
		if end == 0 {
			continue
		}
		r := kafka.NewReader(kafka.ReaderConfig{Brokers: strings.Split(b.address, ","), Topic: topic, Partition: partition, MaxWait: 100 * time.Millisecond, MaxBytes: 10 << 20})
		for offset := int64(0); offset < end; {
			m, err := r.ReadMessage(ctx)
			require.NoError(t, err)
			offset = m.Offset + 1
			records = append(records, messaging.Record{Topic: topic, Key: m.Key, Value: m.Value, Headers: m.Headers, Timestamp: m.Time})
		}
		require.NoError(t, r.Close())
	}
	return records
}

// ends returns the next offset of each partition. It waits for a topic that was just created to have its leaders.
func (b broker) ends(t testing.TB, topic string) map[int]int64 {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	var ends map[int]int64
	require.EventuallyWithT(t, func(t *assert.CollectT) {
		meta, err := b.admin().Metadata(ctx, &kafka.MetadataRequest{Topics: []string{topic}})
		require.NoError(t, err)
		require.NoError(t, meta.Topics[0].Error)
		var ask []kafka.OffsetRequest
		for _, p := range meta.Topics[0].Partitions {
			ask = append(ask, kafka.LastOffsetOf(p.ID))
		}
		listed, err := b.admin().ListOffsets(ctx, &kafka.ListOffsetsRequest{Topics: map[string][]kafka.OffsetRequest{topic: ask}})
		require.NoError(t, err)
		ends = map[int]int64{}
		for _, p := range listed.Topics[topic] {
			require.NoError(t, p.Error)
			ends[p.Partition] = p.LastOffset
		}
	}, 20*time.Second, 20*time.Millisecond)
	return ends
}

// publishToNoTopic: a topic that is not there is a typed error in time, and is not created.
func publishToNoTopic(t *testing.T, b broker) {
	missing := b.name("itest.missing")
	p := newPublisher(t, b.config(map[string]string{"itest.thing.happened": missing}))
	began := time.Now()
	err := p.Publish(t.Context(), &keyed{Key: "k"})
	require.ErrorIs(t, err, messaging.ErrUnknownTopic)
	assert.Less(t, time.Since(began), 5*time.Second)
	assert.True(t, messaging.SafeToRetry(err), "%v", err)
	var typed *messaging.PublishError
	require.ErrorAs(t, err, &typed)
	assert.Equal(t, missing, typed.Topic)
	assert.Equal(t, "UNKNOWN_TOPIC_OR_PARTITION", typed.ErrorType())
	meta, err := b.admin().Metadata(t.Context(), &kafka.MetadataRequest{Topics: []string{missing}})
	require.NoError(t, err)
	assert.ErrorIs(t, meta.Topics[0].Error, kafka.UnknownTopicOrPartition)
}

// publishTooLarge: what is over our limit is not sent; what is over the broker's is its answer, and the neighbours are delivered.
func publishTooLarge(t *testing.T, b broker) {
	topic := b.topic(t, 1, kafka.ConfigEntry{ConfigName: "max.message.bytes", ConfigValue: "2000"})
	p := newPublisher(t, b.config(map[string]string{"itest.thing.happened": topic}))
	err := p.Publish(t.Context(), &keyed{Key: "k", Padding: strings.Repeat("x", 1_000_000)})
	require.ErrorIs(t, err, messaging.ErrTooLarge)
	assert.True(t, messaging.SafeToRetry(err), "%v", err)
	assert.Empty(t, b.records(t, topic))

	require.NoError(t, p.Publish(t.Context(), &keyed{Key: "k", N: 1}))
	err = p.Publish(t.Context(), &keyed{Key: "k", N: 2, Padding: strings.Repeat("x", 5000)})
	require.ErrorIs(t, err, messaging.ErrTooLarge)
	assert.True(t, messaging.SafeToRetry(err), "%v", err)
	var typed *messaging.PublishError
	require.ErrorAs(t, err, &typed)
	assert.Equal(t, "MESSAGE_TOO_LARGE", typed.ErrorType())
	require.NoError(t, p.Publish(t.Context(), &keyed{Key: "k", N: 3}))
	var got []int
	for _, r := range b.records(t, topic) {
		var e keyed
		require.NoError(t, json.Unmarshal(r.Value, &e))
		got = append(got, e.N)
	}
	assert.Equal(t, []int{1, 3}, got)
}
