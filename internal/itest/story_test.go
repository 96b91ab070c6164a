package itest

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

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

// storyConfig leads numbered events to a topic of the broker.
func (b broker) storyConfig(topic string) messaging.Config {
	return b.config(map[string]string{(*numbered)(nil).Topic().String(): topic})
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
	for _, r := range b.records(t, topic) {
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
