package consumer_test

import (
	"context"
	"crypto/rand"
	"fmt"
	"log/slog"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/expensevault/sharedlibrary/internal/cluster"
	"github.com/expensevault/sharedlibrary/internal/consumer"
	"github.com/expensevault/sharedlibrary/internal/recordbatch"
	"github.com/expensevault/sharedlibrary/internal/wire"
)

// patience is how long a test waits for what must happen.
const patience = 60 * time.Second

// kafka is a cluster of some kind.
type kafka struct {
	addrs   []string
	fake    *kfake.Cluster // nil: a real one
	cl      *kgo.Client
	admin   *kadm.Client
	session time.Duration // the shortest that the brokers accept
}

// onEach runs a test on the in-process broker, and on a real one where KAFKA_BOOTSTRAP_SERVERS names it.
func onEach(t *testing.T, f func(t *testing.T, k *kafka)) {
	t.Helper()
	t.Run("fake", func(t *testing.T) {
		t.Parallel()
		f(t, fake(t))
	})
	t.Run("real", func(t *testing.T) {
		t.Parallel()
		f(t, realOne(t))
	})
}

// realOne is the cluster that KAFKA_BOOTSTRAP_SERVERS names; without it the test is skipped.
func realOne(t *testing.T) *kafka {
	t.Helper()
	addrs := os.Getenv("KAFKA_BOOTSTRAP_SERVERS")
	if addrs == "" {
		// As for the other tests on brokers: what ITEST_REQUIRE names must not be missing.
		if slices.Contains(strings.Split(os.Getenv("ITEST_REQUIRE"), ","), "real") {
			t.Fatal("ITEST_REQUIRE names \"real\", but KAFKA_BOOTSTRAP_SERVERS is not set")
		}
		t.Skip("KAFKA_BOOTSTRAP_SERVERS is not set (.ci/kafka start prints it)")
	}
	return connect(t, &kafka{addrs: strings.Split(addrs, ","), session: 6 * time.Second})
}

// fake starts a cluster in this process.
func fake(t *testing.T) *kafka {
	t.Helper()
	c, err := kfake.NewCluster(kfake.NumBrokers(3), kfake.GroupMinSessionTimeout(100*time.Millisecond))
	require.NoError(t, err)
	t.Cleanup(c.Close)
	return connect(t, &kafka{addrs: c.ListenAddrs(), fake: c, session: time.Second})
}

func connect(t *testing.T, k *kafka) *kafka {
	t.Helper()
	k.cl = k.client(t)
	k.admin = kadm.NewClient(k.cl)
	return k
}

// client is another library's client.
func (k *kafka) client(t *testing.T, opts ...kgo.Opt) *kgo.Client {
	t.Helper()
	cl, err := kgo.NewClient(append([]kgo.Opt{
		kgo.SeedBrokers(k.addrs...), kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.MetadataMinAge(50 * time.Millisecond), kgo.UnknownTopicRetries(50),
	}, opts...)...)
	require.NoError(t, err)
	t.Cleanup(cl.Close)
	return cl
}

// unique is a name that nobody has; later ones are greater.
func unique(t *testing.T, kind string) string {
	t.Helper()
	return fmt.Sprintf("%s.%d.%s", kind, time.Now().UnixNano(), rand.Text())
}

// topic creates a topic of a name that nobody has.
func (k *kafka) topic(t *testing.T, partitions int32) string {
	t.Helper()
	name := unique(t, "topic")
	k.create(t, name, partitions, nil)
	return name
}

func (k *kafka) create(t *testing.T, name string, partitions int32, configs map[string]*string) {
	t.Helper()
	_, err := k.admin.CreateTopic(t.Context(), partitions, 1, configs, name)
	require.NoError(t, err)
	t.Cleanup(func() {
		if k.fake == nil {
			_, _ = k.admin.DeleteTopics(context.WithoutCancel(t.Context()), name)
		}
	})
}

// produce writes values to one partition, in one batch when they are few.
func (k *kafka) produce(t *testing.T, topic string, partition int32, values ...string) {
	t.Helper()
	k.produceBy(t, k.cl, topic, partition, values...)
}

func (k *kafka) produceBy(t *testing.T, cl *kgo.Client, topic string, partition int32, values ...string) {
	t.Helper()
	recs := make([]*kgo.Record, len(values))
	for i, v := range values {
		recs[i] = &kgo.Record{Topic: topic, Partition: partition, Key: []byte("k"), Value: []byte(v)}
	}
	require.NoError(t, cl.ProduceSync(t.Context(), recs...).FirstErr())
}

// committed is the group's offset; -1 when it has none, or is not there yet.
func (k *kafka) committed(t *testing.T, group, topic string, partition int32) int64 {
	t.Helper()
	offsets, err := k.admin.FetchOffsets(t.Context(), group)
	if err != nil {
		return -1
	}
	o, ok := offsets.Lookup(topic, partition)
	if !ok {
		return -1
	}
	return o.At
}

// numbers are the values from, …, to-1.
func numbers(from, to int) []string {
	out := make([]string, 0, to-from)
	for i := from; i < to; i++ {
		out = append(out, strconv.Itoa(i))
	}
	return out
}

// member is a running engine.
type member struct {
	t      *testing.T
	name   string
	cancel context.CancelFunc
	done   chan error
	got    chan *recordbatch.Record // what was handled, by the default handler
	logs   *logs
	read   *atomic.Int64 // bytes that came from the brokers
}

// start runs the engine until the test ends, or stop is called.
func (k *kafka) start(t *testing.T, group string, topics []string, change ...func(p *consumer.Params)) *member {
	t.Helper()
	m := &member{
		t: t, name: unique(t, "member"), done: make(chan error, 1), got: make(chan *recordbatch.Record, 1_000_000),
		logs: newLogs(), read: new(atomic.Int64),
	}
	c := cluster.New(cluster.Params{
		Seeds: k.addrs,
		Wire: wire.Params{ClientID: m.name, TLS: nil, SASL: nil, DialTimeout: 5 * time.Second, Dial: func(ctx context.Context, network, addr string) (net.Conn, error) {
			nc, err := new(net.Dialer).DialContext(ctx, network, addr)
			if err != nil {
				return nil, err
			}
			return &countedConn{nc, m.read}, nil
		}},
		RequestTimeout: 10 * time.Second,
		Logger:         slog.New(m.logs),
	})
	p := consumer.Params{ //nolint:exhaustruct // the others have defaults
		Cluster: c, Logger: slog.New(m.logs), Group: group, Topics: topics,
		SessionTimeout: max(k.session, 2*time.Second), RebalanceTimeout: 20 * time.Second, HeartbeatInterval: 50 * time.Millisecond,
		CommitInterval: 20 * time.Millisecond, DrainTimeout: 10 * time.Second, MetadataInterval: 50 * time.Millisecond,
		Handle: func(_ context.Context, w *consumer.Work) error {
			rec := w.Records[0]
			m.got <- rec
			return nil
		},
	}
	for _, f := range change {
		f(&p)
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	m.cancel = cancel
	go func() {
		m.done <- consumer.Run(ctx, p)
		c.Close()
	}()
	t.Cleanup(func() {
		cancel()
		if _, err := m.result(); err != nil {
			t.Error(err)
		}
		if t.Failed() {
			t.Logf("log of %s:\n%s", m.name, m.logs)
		}
	})
	return m
}

// result is what Run returned.
func (m *member) result() (run, timeout error) {
	select {
	case err := <-m.done:
		m.done <- err
		return err, nil
	case <-time.After(patience):
		return nil, fmt.Errorf("%s did not stop", m.name)
	}
}

// wait waits for Run to return by itself.
func (m *member) wait() error {
	m.t.Helper()
	err, timeout := m.result()
	require.NoError(m.t, timeout)
	return err
}

// stop has Run return, which must be in order.
func (m *member) stop() {
	m.t.Helper()
	m.cancel()
	require.NoError(m.t, m.wait())
}

// next is the next record that was handled.
func (m *member) next() *recordbatch.Record {
	m.t.Helper()
	return receive(m.t, m.got, "record")
}

// values are the next n values; of one partition they are in order.
func (m *member) values(n int) []string {
	m.t.Helper()
	var out []string
	for range n {
		out = append(out, string(m.next().Value))
	}
	return out
}

// quiet checks that no record was handled that a test did not ask for.
func (m *member) quiet() {
	m.t.Helper()
	require.Empty(m.t, m.got)
}

func receive[T any](t *testing.T, ch <-chan T, what string) T {
	t.Helper()
	select {
	case v := <-ch:
		return v
	case <-time.After(patience):
		require.FailNow(t, "waited in vain for a "+what)
		panic("not reached")
	}
}

// eventually waits for a state that nothing announces.
func eventually(t *testing.T, f func() bool, what string, args ...any) {
	t.Helper()
	require.Eventually(t, f, patience, 10*time.Millisecond, append([]any{what}, args...)...)
}

type countedConn struct {
	net.Conn
	n *atomic.Int64
}

func (c *countedConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.n.Add(int64(n))
	return n, err
}
