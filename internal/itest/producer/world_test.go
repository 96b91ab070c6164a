package producer_test

import (
	"context"
	"encoding/json"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/expensevault/sharedlibrary/events"
	"github.com/expensevault/sharedlibrary/messaging"
	"github.com/expensevault/sharedlibrary/messaging/embedded"
)

const topicName = "itest.word.said"

// word is an event; N tells one from another.
type word struct {
	N int `json:"n"`
	events.Base
	Key string `json:"key"`
	Pad string `json:"pad,omitempty"`
}

func (*word) Topic() events.Topic    { return events.NewTopic("itest", "word", "said") }
func (w *word) PartitionKey() string { return w.Key }

// world is a broker, its network, and a publisher, on a clock of their own.
type world struct {
	*testing.T

	network embedded.Network
	broker  *embedded.Broker
	tap     *tap
	cfg     messaging.Config
	reader  []kgo.Opt
	pub     *messaging.KafkaPublisher
	begin   time.Time

	mu     sync.Mutex
	begun  map[int]time.Time
	told   map[int]answer
	closed bool
}

// answer is what one caller was told.
type answer struct {
	after   time.Duration // since its call
	receipt messaging.Receipt
	err     error
}

type settings struct {
	nodes, partitions int
	cfg               func(*messaging.Config)
	broker            []embedded.Option
	publisher         []messaging.PublisherOption
	reader            []kgo.Opt
}

// inBubble runs a story. When it returns, nothing that it has started is left, or the test fails.
func inBubble(t *testing.T, s settings, story func(w *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := &world{T: t, reader: s.reader, begun: map[int]time.Time{}, told: map[int]answer{}}
		opts := append([]embedded.Option{
			embedded.WithListen(w.network.Listen), embedded.WithNodes(max(1, s.nodes)), embedded.WithTopics(max(1, s.partitions), topicName),
		}, s.broker...)
		w.broker = embedded.Run(t, opts...)
		var err error
		w.tap, err = newTap(&w.network, strings.Split(w.broker.Addr(), ","))
		require.NoError(t, err)
		t.Cleanup(w.tap.close)
		w.cfg = messaging.DefaultConfig()
		w.cfg.BootstrapServers = w.broker.Addr()
		if s.cfg != nil {
			s.cfg(&w.cfg)
		}
		w.pub = w.publisher(s.publisher...)
		t.Cleanup(func() {
			if !w.closed {
				_ = w.pub.Close()
			}
		})
		w.begin = time.Now()
		story(w)
	})
}

func (w *world) publisher(opts ...messaging.PublisherOption) *messaging.KafkaPublisher {
	w.Helper()
	opts = append([]messaging.PublisherOption{messaging.WithDialer(w.tap.dial), messaging.WithLogger(slog.New(slog.DiscardHandler))}, opts...)
	p, err := messaging.NewKafkaPublisher(w.cfg, opts...)
	require.NoError(w, err)
	return p
}

// full is the padding of an event that shares its batch with no other.
func full() string { return strings.Repeat("x", 600_000) }

// say begins to publish an event, which goes as soon as it may, and waits until nothing happens any more at this time.
func (w *world) say(n int, options ...func(*word)) { w.sayUntil(context.Background(), n, options...) }

func (w *world) sayUntil(ctx context.Context, n int, options ...func(*word)) {
	e := &word{N: n, Key: "k"}
	for _, o := range options {
		o(e)
	}
	start := time.Now()
	w.mu.Lock()
	w.begun[n] = start
	w.mu.Unlock()
	w.pub.PublishAsync(ctx, e, func(r messaging.Receipt, err error) {
		w.mu.Lock()
		defer w.mu.Unlock()
		_, twice := w.told[n]
		assert.False(w, twice, "event %d has two answers", n)
		w.told[n] = answer{time.Since(start), r, err}
	})
	synctest.Wait()
}

// sayBig is say for events that have a batch, and so a request, each of their own.
func (w *world) sayBig(ns ...int) {
	for _, n := range ns {
		w.say(n, func(e *word) { e.Pad = full() })
	}
}

// sleep lets virtual time pass.
// cut ends every connection, and waits until the publisher knows.
func (w *world) cut() {
	w.tap.cut()
	synctest.Wait()
}

func (w *world) sleep(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

// flush waits until everything is answered.
func (w *world) flush() {
	w.Helper()
	require.NoError(w, w.pub.Flush(context.Background()))
	synctest.Wait()
}

func (w *world) answer(n int) answer {
	w.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	a, ok := w.told[n]
	require.True(w, ok, "event %d has no answer", n)
	return a
}

func (w *world) answered(n int) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	_, ok := w.told[n]
	return ok
}

// acked asserts that these were acknowledged.
func (w *world) acked(ns ...int) {
	w.Helper()
	for _, n := range ns {
		require.NoError(w, w.answer(n).err, "event %d", n)
	}
}

// failed asserts what a caller was told.
func (w *world) failed(n int, kind error, maybe bool) {
	w.Helper()
	err := w.answer(n).err
	require.ErrorIs(w, err, kind, "event %d", n)
	require.Equal(w, maybe, w.publishError(n).MaybeWritten, "event %d: %v", n, err)
	require.Equal(w, !maybe, messaging.SafeToRetry(err))
}

func (w *world) publishError(n int) *messaging.PublishError {
	w.Helper()
	var pe *messaging.PublishError
	require.ErrorAs(w, w.answer(n).err, &pe, "event %d", n)
	return pe
}

// log reads the topic by another client, past the tap: the events' numbers, by partition.
func (w *world) logs() map[int32][]int {
	w.Helper()
	out := map[int32][]int{}
	ends := map[int32]int64{}
	starts := map[string]map[int32]kgo.Offset{topicName: {}}
	for _, p := range w.broker.Cluster().PartitionInfos(topicName) {
		if p.HighWatermark > 0 {
			ends[p.Partition] = p.HighWatermark
			starts[topicName][p.Partition] = kgo.NewOffset().At(0)
		}
	}
	if len(ends) == 0 {
		return out
	}
	c, err := kgo.NewClient(append([]kgo.Opt{
		kgo.SeedBrokers(strings.Split(w.broker.Addr(), ",")...), kgo.Dialer(w.network.DialContext),
		kgo.ConsumePartitions(starts), kgo.FetchMaxWait(100 * time.Millisecond),
	}, w.reader...)...)
	require.NoError(w, err)
	defer c.Close()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	for len(ends) > 0 {
		fetches := c.PollFetches(ctx)
		require.NoError(w, fetches.Err())
		fetches.EachRecord(func(r *kgo.Record) {
			var e word
			assert.NoError(w, json.Unmarshal(r.Value, &e)) //nolint:testifylint // the other records are worth a look too
			out[r.Partition] = append(out[r.Partition], e.N)
			if r.Offset+1 >= ends[r.Partition] {
				delete(ends, r.Partition)
			}
		})
	}
	return out
}

// log is the log of a topic of one partition.
func (w *world) log() []int {
	w.Helper()
	return w.logs()[0]
}

// stands asserts what stands in the topic, which has one partition, and that everybody was told the truth.
func (w *world) stands(ns ...int) {
	w.Helper()
	require.Equal(w, ns, w.truth())
}

// standsIn is stands for when some of the events may be written or not: their callers know only that it is possible.
func (w *world) standsIn(ns ...int) {
	w.Helper()
	log := w.truth()
	for _, n := range ns {
		if len(log) > 0 && log[0] == n {
			log = log[1:]
		}
	}
	require.Empty(w, log, "twice, or out of order")
}

// truth is the log, after a look at what the callers were told.
func (w *world) truth() []int {
	w.Helper()
	log := w.log()
	w.mu.Lock()
	defer w.mu.Unlock()
	count := map[int]int{}
	for _, n := range log {
		count[n]++
		require.Equal(w, 1, count[n], "%d is there twice: %v", n, log)
		require.Contains(w, w.begun, n)
	}
	for n, a := range w.told {
		switch at := slices.Index(log, n); {
		case a.err == nil:
			require.GreaterOrEqual(w, at, 0, "%d is acknowledged, and not there", n)
			if a.receipt.Offset >= 0 {
				require.EqualValues(w, at, a.receipt.Offset, "the offset of %d", n)
			}
		case messaging.SafeToRetry(a.err):
			require.Negative(w, at, "%d is there, and its caller was told that it surely is not: %v", n, a.err)
		}
	}
	return log
}

// shape is what requests carried: the events and the stamp of each batch.
func shape(rs []*request) []sealed {
	var out []sealed
	for _, r := range rs {
		out = append(out, r.batches...)
	}
	return out
}

// tries are the batches that carried an event, oldest first.
func (w *world) tries(n int) []sealed {
	var out []sealed
	for _, b := range shape(w.tap.requests()) {
		if slices.Contains(b.events, n) {
			out = append(out, b)
		}
	}
	return out
}

// identical asserts that all tries of an event carried the same bytes, and returns how many there were.
func (w *world) identical(n int) int {
	w.Helper()
	tries := w.tries(n)
	for _, b := range tries {
		require.Equal(w, tries[0], b, "event %d", n)
	}
	return len(tries)
}

// lastTry is the last batch that carried an event.
func (w *world) lastTry(n int) sealed {
	w.Helper()
	tries := w.tries(n)
	require.NotEmpty(w, tries, "event %d was never sent", n)
	return tries[len(tries)-1]
}

// onTry is a script that does something at the first so many tries of the batches that begin with an event.
func onTry(event, times int, a act) func(*request) act {
	return func(r *request) act {
		if times > 0 && len(r.batches) > 0 && len(r.batches[0].events) > 0 && r.batches[0].events[0] == event {
			times--
			return a
		}
		return act{}
	}
}

// each tries scripts in turn, until one wants something else than to let the request pass.
func each(scripts ...func(*request) act) func(*request) act {
	return func(r *request) act {
		var out act
		for _, s := range scripts {
			if a := s(r); out == (act{}) {
				out = a
			}
		}
		return out
	}
}

// slowly holds the answers to all requests back for a while, so that several are under way.
func slowly(script func(*request) act) func(*request) act {
	return func(r *request) act {
		a := script(r)
		a.after += answersTake
		return a
	}
}
