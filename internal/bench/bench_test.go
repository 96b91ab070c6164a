package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/expensevault/sharedlibrary/messaging/embedded"
)

// TestMain is also the program: the runs that a test measures are processes of their own.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "-one" {
		main()
		return
	}
	os.Exit(m.Run())
}

// TestEveryPeerInEveryScenario also means: the topics held what was acknowledged, and are gone.
func TestEveryPeerInEveryScenario(t *testing.T) {
	t.Parallel()
	broker := embedded.Run(t)
	var out, progress bytes.Buffer
	err := command(t.Context(), []string{"-brokers", broker.Addr(), "-events", "1000", "-rounds", "2"}, &out, &progress)
	require.NoError(t, err, progress.String())

	for _, s := range scenarios() {
		assert.Contains(t, out.String(), s.title+" ("+s.name+",")
	}
	for _, o := range offers() {
		want := 0
		for _, s := range scenarios() {
			if o.missing == "" && o.takes(s) {
				want += 2
			}
		}
		assert.Equal(t, want, strings.Count(progress.String(), " "+o.name+" "), o.name)
	}
	assert.Contains(t, out.String(), "### Goals")
	assert.NotContains(t, out.String(), "NaN")
	assert.NotContains(t, out.String(), "Inf")

	client := kafka.Client{Addr: kafka.TCP(broker.Addr())}
	meta, err := client.Metadata(t.Context(), &kafka.MetadataRequest{})
	require.NoError(t, err)
	for _, topic := range meta.Topics {
		assert.NotContains(t, topic.Name, "bench.")
	}
}

func TestVerifyFindsWhatIsMissing(t *testing.T) {
	t.Parallel()
	broker := embedded.Run(t)
	c := newCluster([]string{broker.Addr()})
	topic, err := c.create(t.Context())
	require.NoError(t, err)
	sc := scenarios()[0]
	_, err = run(t.Context(), offers()[0], sc, []string{broker.Addr()}, topic, 500)
	require.NoError(t, err)

	require.NoError(t, c.verify(t.Context(), topic, 550))
	require.ErrorContains(t, c.verify(t.Context(), topic, 551), "551 events were acknowledged, the topic holds 550 records")
	require.ErrorContains(t, c.verify(t.Context(), topic, 549), "549 events were acknowledged")

	w := &kafka.Writer{Addr: kafka.TCP(broker.Addr()), Topic: topic, RequiredAcks: kafka.RequireAll, BatchSize: 1, Balancer: &kafka.RoundRobin{}}
	require.NoError(t, w.WriteMessages(t.Context(), kafka.Message{Value: []byte("{}")}))
	require.NoError(t, w.Close())
	require.ErrorContains(t, c.verify(t.Context(), topic, 551), "envelope is not filled")
	require.NoError(t, c.remove(t.Context(), topic))
}

func TestCheckRecord(t *testing.T) {
	t.Parallel()
	e := newSource(7, 10).event()
	key, value, err := encode(e)
	require.NoError(t, err)
	headers := make([]kafka.Header, 3)
	require.NoError(t, checkRecord([]byte(key), value, headers))

	require.ErrorContains(t, checkRecord([]byte("x"), value, headers), "key")
	require.ErrorContains(t, checkRecord([]byte(key), value, headers[:2]), "2 headers")
	require.ErrorContains(t, checkRecord([]byte(key), value[1:], headers), "value")
	e.Description = ""
	_, value, err = encode(e)
	require.NoError(t, err)
	require.ErrorContains(t, checkRecord([]byte(key), value, headers), "not all of the event")
}

func TestEventIsTheSizeThatTheTablesSay(t *testing.T) {
	t.Parallel()
	_, value, err := encode(newSource(0, 1).event())
	require.NoError(t, err)
	assert.InDelta(t, 430, len(value), 30)
}

func TestSourcesShareTheUsers(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for i := range 7 {
		s := newSource(i, 7)
		for range s.events {
			seen[s.event().PartitionKey()] = true
		}
	}
	assert.Len(t, seen, users)
}

func TestArguments(t *testing.T) {
	t.Parallel()
	env := func(string) string { return "kafka:9092" }
	for args, want := range map[string]string{
		"-peers nobody":          `there is no "nobody"; there are ours, `,
		"-peers ours,ours":       "ours is named twice",
		"-scenarios x":           `there is no "x"; there are bulk, ready`,
		"-scenarios bulk,bulk":   "bulk is named twice",
		"-events 0":              "at least 1",
		"-rounds -1":             "at least 1",
		"bulk":                   `unexpected argument "bulk"`,
		"-events many":           "invalid value",
		"-peers ours -scenarios": "needs an argument",
	} {
		_, err := parse(strings.Fields(args), env, &bytes.Buffer{})
		require.ErrorContains(t, err, want, args)
	}
	_, err := parse(nil, func(string) string { return "" }, &bytes.Buffer{})
	require.ErrorContains(t, err, "KAFKA_BOOTSTRAP_SERVERS")

	s, err := parse(strings.Fields("-peers franz-go,ours -scenarios sync-1 -events 7"), env, &bytes.Buffer{})
	require.NoError(t, err)
	assert.Equal(t, []string{"franz-go", "ours"}, names(s.peers))
	assert.Equal(t, []string{"kafka:9092"}, s.brokers)
	assert.Equal(t, 7, s.events)

	err = command(t.Context(), []string{"-one", "topic", "-brokers", "kafka:9092"}, &bytes.Buffer{}, &bytes.Buffer{})
	require.ErrorContains(t, err, "-one needs one of")
}

func TestHelpNamesEverything(t *testing.T) {
	t.Parallel()
	var help bytes.Buffer
	_, err := parse([]string{"-h"}, os.Getenv, &help)
	require.Error(t, err)
	for _, o := range offers() {
		assert.Contains(t, help.String(), o.name)
	}
	for _, s := range scenarios() {
		assert.Contains(t, help.String(), s.name)
	}
}

func TestAFailingRunNamesItself(t *testing.T) {
	t.Parallel()
	err := command(t.Context(), []string{"-brokers", "127.0.0.1:1", "-peers", "ours", "-scenarios", "bulk"}, &bytes.Buffer{}, &bytes.Buffer{})
	require.ErrorContains(t, err, "ours, bulk: creating topic bench.")
}

func TestReport(t *testing.T) {
	t.Parallel()
	all := offers()
	s := settings{peers: []offer{all[0], all[3]}, scenarios: []scenario{scenarios()[0], scenarios()[2]}, events: 150_000, rounds: 3}
	r := newReport(s)
	for _, cpu := range []time.Duration{3 * time.Second, time.Second, 2 * time.Second} {
		r.add(s.scenarios[0], all[0], result{Events: 1_000_000, CPU: cpu, Wall: cpu, Mallocs: 1_500_000, RSS: 70e6})
		r.add(s.scenarios[0], all[3], result{Events: 1_000_000, CPU: 4 * cpu, Wall: time.Second})
		r.add(s.scenarios[1], all[0], result{Events: 1000, CPU: cpu, Wall: time.Second, P50: 3 * time.Millisecond, P99: cpu})
		r.add(s.scenarios[1], all[3], result{Events: 1000, CPU: cpu, Wall: time.Second, P50: 4 * time.Millisecond, P99: cpu})
	}
	var out bytes.Buffer
	require.NoError(t, r.print(&out))
	for _, line := range []string{
		"### Bulk publish, struct to ack (bulk, 150,000 events a run)\n\n| peer | CPU s/1M | events/s | allocs/event | RSS MB |",
		"| ours | 2.00 [1.00–3.00] | 500,000 [333,333–1,000,000] | 1.5 [1.5–1.5] | 70 [70–70] |",
		"| franz-go | 8.00 [4.00–12.00] **×0.25** | 1,000,000 [1,000,000–1,000,000] **×0.50** |",
		"| bulk: CPU s/1M ÷ franz-go's | ≤ 0.50 | 0.25 | met |",
		"| bulk: allocs/event | ≤ 1.00 | 1.50 | **missed** |",
		"| bulk: RSS MB | ≤ 80.00 | 70.00 | met |",
		"| sync-1: p50 ms ÷ franz-go's | ≤ 0.70 | 0.75 | **missed** |",
	} {
		assert.Contains(t, out.String(), line)
	}
	assert.NotContains(t, out.String(), "kafka-go's")
}

func TestTheBestPeerCounts(t *testing.T) {
	t.Parallel()
	s := settings{peers: offers(), scenarios: scenarios(), events: 1, rounds: 1}
	r := newReport(s)
	for peer, p50 := range map[string]time.Duration{ours: 6e6, "sarama": 12e6, "franz-go": 8e6, "confluent": 24e6} {
		r.results["sync-1"] = withResult(r.results["sync-1"], peer, result{Events: 1, P50: p50})
	}
	have, against, ok := r.reached(goal{scenario: "sync-1", figure: "p50 ms", peers: []string{"sarama", "franz-go", "confluent"}})
	assert.True(t, ok)
	assert.InDelta(t, 0.75, have, 1e-9)
	assert.Equal(t, " ÷ franz-go's", against)
}

func withResult(m map[string][]result, peer string, res result) map[string][]result {
	if m == nil {
		m = map[string][]result{}
	}
	m[peer] = append(m[peer], res)
	return m
}

func TestMedianAndNumbers(t *testing.T) {
	t.Parallel()
	assert.InDelta(t, 2, median([]float64{9, 1, 2}), 0)
	assert.InDelta(t, 1.5, median([]float64{1, 9, 2, 1}), 0)
	for f, want := range map[float64]string{0: "0", 999: "999", 1000: "1,000", 1234567.6: "1,234,568"} {
		assert.Equal(t, want, thousands(f))
	}
}

func TestCountsDivideEvenly(t *testing.T) {
	t.Parallel()
	for _, s := range scenarios() {
		for _, events := range []int{1, 999, 200_000} {
			n, warmup := s.count(events)
			assert.Equal(t, s.handler == noHandler, warmup > 0)
			if s.callers > 0 {
				assert.GreaterOrEqual(t, n, s.callers)
				assert.Zero(t, n%s.callers)
				assert.Zero(t, warmup%s.callers)
			}
		}
	}
}

func TestWindow(t *testing.T) {
	t.Parallel()
	w := newWindow(2)
	require.NoError(t, w.take(2))
	taken := make(chan error)
	go func() { taken <- w.take(1) }()
	w.settle(1, nil)
	require.NoError(t, <-taken)
	w.settle(1, errors.New("first"))
	w.settle(1, errors.New("second"))
	require.EqualError(t, w.drain(t.Context()), "first")
	require.EqualError(t, w.take(1), "first")
}

func TestResultSurvivesThePipe(t *testing.T) {
	t.Parallel()
	want := result{Events: 1, Wall: 2, CPU: 3, Mallocs: 4, RSS: 5, P50: 6, P99: 7}
	data, err := json.Marshal(want)
	require.NoError(t, err)
	var have result
	require.NoError(t, json.Unmarshal(data, &have))
	assert.Equal(t, want, have)
}
