package itest

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/expensevault/sharedlibrary/events"
	"github.com/expensevault/sharedlibrary/messaging"
)

// numbered is an event of a story: number N of its key.
type numbered struct {
	events.Base
	Key string `json:"key"`
	N   int    `json:"n"`
	Pad string `json:"pad,omitempty"`
}

func (*numbered) Topic() events.Topic    { return events.NewTopic("itest", "story", "numbered") }
func (e *numbered) PartitionKey() string { return e.Key }

// config leads numbered events to a topic of the broker.
func (b broker) config(topic string) messaging.Config {
	cfg := messaging.DefaultConfig()
	cfg.BootstrapServers = b.address
	cfg.ClientID = "itest"
	cfg.Topics = map[string]string{(*numbered)(nil).Topic().String(): topic}
	return cfg
}

// story is what publishers of numbered events were told.
type story struct {
	mu      sync.Mutex
	acked   map[string][]int // by key
	maybe   map[string]map[int]bool
	refused map[string]map[int]bool
}

func newStory() *story {
	return &story{acked: map[string][]int{}, maybe: map[string]map[int]bool{}, refused: map[string]map[int]bool{}}
}

func (s *story) told(e *numbered, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	note := func(m map[string]map[int]bool) {
		if m[e.Key] == nil {
			m[e.Key] = map[int]bool{}
		}
		m[e.Key][e.N] = true
	}
	switch {
	case err == nil:
		s.acked[e.Key] = append(s.acked[e.Key], e.N)
	case messaging.SafeToRetry(err):
		note(s.refused)
	default:
		note(s.maybe)
	}
}

// check reads the topic by an independent client and holds it against what was told.
func (s *story) check(t *testing.T, b broker, topic string) {
	t.Helper()
	seen := map[string][]int{}
	for _, r := range b.readAll(t, topic) {
		var e numbered
		require.NoError(t, json.Unmarshal(r.Value, &e))
		require.Equal(t, e.Key, string(r.Key))
		seen[e.Key] = append(seen[e.Key], e.N)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for key, acked := range s.acked {
		count := map[int]int{}
		last := -1
		for _, n := range seen[key] {
			count[n]++
			require.Equal(t, 1, count[n], "%s/%d stands in the topic twice", key, n)
			require.Greater(t, n, last, "%s/%d stands behind %d", key, n, last)
			last = n
			require.False(t, s.refused[key][n], "%s/%d was surely not written, as it was said", key, n)
		}
		for _, n := range acked {
			require.Equal(t, 1, count[n], "%s/%d was acknowledged and is not there", key, n)
		}
		for n := range count {
			if !s.maybe[key][n] {
				require.Contains(t, acked, n, "%s/%d is there, and nobody was told", key, n)
			}
		}
	}
}

// readAll reads a topic to its end by franz-go, committed records alone.
func (b broker) readAll(t *testing.T, topic string) []*kgo.Record {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	end := b.ends(t, topic)
	cl, err := kgo.NewClient(kgo.SeedBrokers(strings.Split(b.address, ",")...), kgo.ConsumeTopics(topic),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.FetchMaxWait(100*time.Millisecond))
	require.NoError(t, err)
	defer cl.Close()
	var out []*kgo.Record
	for len(end) > 0 {
		fetches := cl.PollFetches(ctx)
		require.NoError(t, ctx.Err(), "partitions that were not read to their end: %v", end)
		fetches.EachRecord(func(r *kgo.Record) {
			out = append(out, r)
			if r.Offset+1 >= end[r.Partition] {
				delete(end, r.Partition)
			}
		})
	}
	return out
}

// ends is the end of every partition that has records.
func (b broker) ends(t *testing.T, topic string) map[int32]int64 {
	t.Helper()
	admin := b.admin()
	md, err := admin.Metadata(t.Context(), &kafka.MetadataRequest{Topics: []string{topic}})
	require.NoError(t, err)
	var reqs []kafka.OffsetRequest
	for _, p := range md.Topics[0].Partitions {
		reqs = append(reqs, kafka.LastOffsetOf(p.ID))
	}
	res, err := admin.ListOffsets(t.Context(), &kafka.ListOffsetsRequest{Topics: map[string][]kafka.OffsetRequest{topic: reqs}})
	require.NoError(t, err)
	out := map[int32]int64{}
	for _, p := range res.Topics[topic] {
		require.NoError(t, p.Error)
		if p.LastOffset > 0 {
			out[int32(p.Partition)] = p.LastOffset
		}
	}
	return out
}

// tell publishes per events of each of so many keys, one after the other within a key, and calls after when one is settled.
func (s *story) tell(ctx context.Context, p messaging.Publisher, keys, per int, after func(total int)) {
	var (
		wg    sync.WaitGroup
		mu    sync.Mutex
		total int
	)
	for k := range keys {
		wg.Go(func() {
			for n := range per {
				e := &numbered{Key: fmt.Sprint("key-", k), N: n}
				s.told(e, p.Publish(ctx, e))
				mu.Lock()
				total++
				now := total
				mu.Unlock()
				after(now)
			}
		})
	}
	wg.Wait()
}
