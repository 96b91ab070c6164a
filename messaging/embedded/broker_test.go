package embedded_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/segmentio/kafka-go"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/expensevault/sharedlibrary/messaging/embedded"
)

func TestRecordsComeBackInOrder(t *testing.T) {
	t.Parallel()
	b := embedded.Run(t, embedded.WithTopics(3, orders))

	produce(t.Context(), t, dial(t, b.Addr()), 0, 5)

	got := consume(t.Context(), t, dial(t, b.Addr(), kgo.ConsumeTopics(orders), fromStart()), 5)
	assert.Equal(t, []string{"0", "1", "2", "3", "4"}, got)
}

func TestKafkaGoClient(t *testing.T) {
	t.Parallel()
	b := embedded.Run(t, embedded.WithNodes(3), embedded.WithTopics(2, orders), embedded.WithTopics(0, "shop.order.paid"))
	transport := &kafka.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	c := &kafka.Client{Addr: kafka.TCP(strings.Split(b.Addr(), ",")...), Transport: transport}

	meta, err := c.Metadata(t.Context(), &kafka.MetadataRequest{})
	require.NoError(t, err)
	assert.Len(t, meta.Brokers, 3)
	partitions := make(map[string]int)
	for _, topic := range meta.Topics {
		partitions[topic.Name] = len(topic.Partitions)
	}
	assert.Equal(t, map[string]int{orders: 2, "shop.order.paid": 6}, partitions)

	res, err := c.Produce(t.Context(), &kafka.ProduceRequest{
		Topic: orders, Partition: 1, RequiredAcks: kafka.RequireAll,
		Records: kafka.NewRecordReader(kafka.Record{Value: kafka.NewBytes([]byte("one"))}),
	})
	require.NoError(t, err)
	require.NoError(t, res.Error)

	fetched, err := c.Fetch(t.Context(), &kafka.FetchRequest{Topic: orders, Partition: 1, Offset: 0, MinBytes: 1, MaxBytes: 1 << 20})
	require.NoError(t, err)
	r, err := fetched.Records.ReadRecord()
	require.NoError(t, err)
	value, err := kafka.ReadAll(r.Value)
	require.NoError(t, err)
	assert.Equal(t, "one", string(value))
}

func TestAutoCreation(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name string
		opts []embedded.Option
		want error
	}{
		{"off by default", nil, kerr.UnknownTopicOrPartition},
		{"on", []embedded.Option{embedded.WithAutoCreateTopics(), embedded.WithPartitions(4)}, nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			b := embedded.Run(t, tc.opts...)
			c := dial(t, b.Addr(), kgo.AllowAutoTopicCreation(), kgo.UnknownTopicRetries(0))

			err := c.ProduceSync(t.Context(), &kgo.Record{Topic: orders, Value: []byte("x")}).FirstErr()
			require.ErrorIs(t, err, tc.want)
			if tc.want == nil {
				assert.Len(t, b.Cluster().PartitionInfos(orders), 4)
			}
		})
	}
}

func TestFixedPort(t *testing.T) {
	t.Parallel()
	first := start(t)
	_, p, err := net.SplitHostPort(first.Addr())
	require.NoError(t, err)
	port, err := strconv.Atoi(p)
	require.NoError(t, err)

	_, err = embedded.Start(t.Context(), embedded.WithPort(port))
	require.ErrorIs(t, err, embedded.ErrPortInUse)
	require.ErrorContains(t, err, "127.0.0.1:"+p)
	require.ErrorContains(t, err, "WithPort")

	require.NoError(t, first.Close())
	again := start(t, embedded.WithPort(port), embedded.WithTopics(1, orders))
	assert.Equal(t, "127.0.0.1:"+p, again.Addr())
	produce(t.Context(), t, dial(t, again.Addr()), 0, 1)
}

func TestPortsOfSeveralBrokers(t *testing.T) {
	t.Parallel()
	// The second broker's port is the one that is taken: the error must name it, and the first one must not stay open.
	var taken net.Listener
	port := 0
	for taken == nil {
		l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
		require.NoError(t, err)
		port = l.Addr().(*net.TCPAddr).Port - 1
		free, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err != nil {
			require.NoError(t, l.Close())
			continue
		}
		require.NoError(t, free.Close())
		taken = l
	}

	_, err := embedded.Start(t.Context(), embedded.WithPort(port), embedded.WithNodes(2))
	require.ErrorIs(t, err, embedded.ErrPortInUse)
	require.ErrorContains(t, err, taken.Addr().String())

	require.NoError(t, taken.Close())
	b := start(t, embedded.WithPort(port), embedded.WithNodes(2))
	assert.Equal(t, fmt.Sprintf("127.0.0.1:%d,127.0.0.1:%d", port, port+1), b.Addr())
}

func TestContextStopsTheBroker(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	b, err := embedded.Start(ctx)
	require.NoError(t, err)
	conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", b.Addr())
	require.NoError(t, err)
	defer func() { _ = conn.Close() }()

	cancel()
	<-b.Done()
	require.NoError(t, b.Close())
	_, err = conn.Read(make([]byte, 1))
	require.Error(t, err, "the open connection must be closed")
	_, err = (&net.Dialer{}).DialContext(t.Context(), "tcp", b.Addr())
	require.Error(t, err, "the port must be free")

	_, err = embedded.Start(ctx)
	require.ErrorIs(t, err, context.Canceled)
}

func TestCloseIsIdempotent(t *testing.T) {
	t.Parallel()
	b, err := embedded.Start(t.Context(), embedded.WithDataDir(t.TempDir()))
	require.NoError(t, err)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() { assert.NoError(t, b.Close()) })
	}
	wg.Wait()
	require.NoError(t, b.Close())
	assert.NotEmpty(t, b.Addr())
}

type fakeTB struct {
	cleanups []func()
	fatal    string
}

func (*fakeTB) Helper()                        {}
func (f *fakeTB) Cleanup(fn func())            { f.cleanups = append(f.cleanups, fn) }
func (f *fakeTB) Fatalf(s string, args ...any) { f.fatal = fmt.Sprintf(s, args...) }

func TestRun(t *testing.T) {
	t.Parallel()
	var tb fakeTB
	b := embedded.Run(&tb)
	require.Len(t, tb.cleanups, 1)
	tb.cleanups[0]()
	<-b.Done()
	assert.Empty(t, tb.fatal)

	assert.Nil(t, embedded.Run(&tb, embedded.WithNodes(0)))
	assert.Contains(t, tb.fatal, "WithNodes(0)")
}

func TestRunOutlivesLaterCleanups(t *testing.T) {
	t.Parallel()
	b := embedded.Run(t, embedded.WithTopics(1, orders))
	c := dial(t, b.Addr())
	// Not the test's context, which has ended by then.
	t.Cleanup(func() { produce(context.Background(), t, c, 0, 1) })
}

func TestForeignClientsDoNoHarm(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ name, bytes string }{
		{"browser", "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"},
		{"TLS", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"},
		{"unknown request", "\x00\x00\x00\x0a\x7f\xff\x00\x00\x00\x00\x00\x01\xff\xff"},
		{"negative request", "\x00\x00\x00\x0a\xff\xff\x00\x00\x00\x00\x00\x01\xff\xff"},
		{"too short", "\x00\x00\x00\x00\x00\x00\x00\x00"},
		{"too long", "\x7f\xff\xff\xff\x00\x03\x00\x00"},
		{"negative length", "\xff\xff\xff\xff\x00\x03\x00\x00"},
		{"body is no metadata request", "\x00\x00\x00\x0e\x00\x03\x00\x09\x00\x00\x00\x01\x7f\xff\xff\xff\xff\xff"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			b := embedded.Run(t, embedded.WithTopics(1, orders))
			conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", b.Addr())
			require.NoError(t, err)
			defer func() { _ = conn.Close() }()
			_, err = conn.Write([]byte(tc.bytes))
			require.NoError(t, err)
			_, err = conn.Read(make([]byte, 1))
			require.Error(t, err, "the connection must be closed")

			produce(t.Context(), t, dial(t, b.Addr()), 0, 1)
		})
	}
}

func TestBrowserMeetsALogLine(t *testing.T) {
	t.Parallel()
	var out lockedBuffer
	b := embedded.Run(t, embedded.WithLogger(slog.New(slog.NewTextHandler(&out, nil))))
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+b.Addr(), http.NoBody)
	require.NoError(t, err)
	res, err := http.DefaultClient.Do(req)
	if err == nil {
		_ = res.Body.Close()
	}
	require.Error(t, err)
	require.NoError(t, b.Close())
	for _, want := range []string{"embedded Kafka is running", b.Addr(), "doesn't speak Kafka", "embedded Kafka has stopped"} {
		assert.Contains(t, out.String(), want)
	}
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func TestLeaderMovesOnCommand(t *testing.T) {
	t.Parallel()
	b := embedded.Run(t, embedded.WithNodes(2), embedded.WithTopics(1, orders))
	c := dial(t, b.Addr())
	for i := range 4 {
		require.NoError(t, b.Cluster().MoveTopicPartition(orders, 0, int32(i%2)))
		produce(t.Context(), t, c, i, i+1)
	}
	got := consume(t.Context(), t, dial(t, b.Addr(), kgo.ConsumeTopics(orders), fromStart()), 4)
	assert.Equal(t, []string{"0", "1", "2", "3"}, got)
}

func TestSynctestBubble(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var network kfake.VirtualNetwork
		b := embedded.Run(t, embedded.WithListen(network.Listen), embedded.WithTopics(1, orders))
		c := dial(t, b.Addr(), kgo.Dialer(network.DialContext))
		produce(t.Context(), t, c, 0, 2)
		assert.Equal(t, int64(2), b.Cluster().PartitionInfo(orders, 0).HighWatermark)
	})
}

func TestOptionsAreChecked(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		opt  embedded.Option
		want string
	}{
		{embedded.WithNodes(0), "WithNodes(0)"},
		{embedded.WithPort(-1), "WithPort(-1)"},
		{embedded.WithPort(65536), "WithPort(65536)"},
		{func(s *embedded.Settings) { embedded.WithPort(65535)(s); embedded.WithNodes(2)(s) }, "WithPort(65535) with 2"},
		{embedded.WithDataDir(""), `WithDataDir("")`},
		{embedded.WithPartitions(0), "WithPartitions(0)"},
		{embedded.WithTopics(-1, orders), "WithTopics(-1"},
		{embedded.WithTopics(1, "no spaces"), `"no spaces"`},
		{embedded.WithTopics(1, ".."), `".."`},
		{embedded.WithTopics(1, strings.Repeat("a", 250)), "1 to 249"},
		{func(s *embedded.Settings) { embedded.WithTopics(1, "a")(s); embedded.WithTopics(2, "a")(s) }, "with 1 and with 2 partitions"},
		{embedded.WithTopics(1, "a.b", "a_b"), `"a_b"`},
		{embedded.WithUser("PLAIN", "", "x"), `WithUser("PLAIN", ""`},
		{embedded.WithUser("PLAIN", "x", ""), `WithUser("PLAIN", "x"`},
		{embedded.WithUser("GSSAPI", "x", "y"), "mechanism must be"},
	} {
		t.Run(tc.want, func(t *testing.T) {
			t.Parallel()
			b, err := embedded.Start(t.Context(), nil, tc.opt)
			require.ErrorContains(t, err, tc.want)
			require.ErrorContains(t, err, "embedded: ")
			assert.Nil(t, b)
		})
	}
}

func TestNoTestingInPrograms(t *testing.T) {
	t.Parallel()
	out, err := exec.CommandContext(t.Context(), "go", "list", "-deps", ".").CombinedOutput()
	require.NoError(t, err, "%s", out)
	deps := strings.Fields(string(out))
	assert.Contains(t, deps, "github.com/twmb/franz-go/pkg/kfake")
	for _, dep := range deps {
		assert.False(t, dep == "testing" || strings.HasPrefix(dep, "github.com/stretchr/"), dep)
	}
}

var _ embedded.TB = (*testing.T)(nil)
