package embedded_test

import (
	"context"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/stretchr/testify/require"

	"github.com/expensevault/sharedlibrary/messaging/embedded"
)

func client(b *embedded.Broker) *kafka.Client {
	return &kafka.Client{Addr: kafka.TCP(strings.Split(b.Addr(), ",")...), Timeout: 10 * time.Second}
}

func produce(t *testing.T, b *embedded.Broker, topic, value string) int64 {
	t.Helper()
	res, err := client(b).Produce(t.Context(), &kafka.ProduceRequest{
		Topic: topic, RequiredAcks: kafka.RequireAll,
		Records: kafka.NewRecordReader(kafka.Record{Value: kafka.NewBytes([]byte(value))}),
	})
	require.NoError(t, err)
	require.NoError(t, res.Error)
	return res.BaseOffset
}

func count(t *testing.T, b *embedded.Broker, topic string) int64 {
	t.Helper()
	res, err := client(b).ListOffsets(t.Context(), &kafka.ListOffsetsRequest{
		Topics: map[string][]kafka.OffsetRequest{topic: {kafka.LastOffsetOf(0)}},
	})
	require.NoError(t, err)
	require.NoError(t, res.Topics[topic][0].Error)
	return res.Topics[topic][0].LastOffset
}

func TestTakesRecords(t *testing.T) {
	t.Parallel()
	b := embedded.Run(t, embedded.WithTopics(1, "a.b.c"))
	require.EqualValues(t, 0, produce(t, b, "a.b.c", "one"))
	require.EqualValues(t, 1, produce(t, b, "a.b.c", "two"))
	require.EqualValues(t, 2, count(t, b, "a.b.c"))
}

func TestFolderSurvivesARestart(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	first, err := embedded.Start(t.Context(), embedded.WithDataDir(dir), embedded.WithTopics(1, "kept"))
	require.NoError(t, err)
	produce(t, first, "kept", "one")

	_, err = embedded.Start(t.Context(), embedded.WithDataDir(dir))
	require.ErrorContains(t, err, "another running broker")

	require.NoError(t, first.Close())
	second := embedded.Run(t, embedded.WithDataDir(dir), embedded.WithTopics(1, "kept"))
	require.EqualValues(t, 1, count(t, second, "kept"))
	require.EqualValues(t, 1, produce(t, second, "kept", "two"))
}

func TestFixedPort(t *testing.T) {
	t.Parallel()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	port := l.Addr().(*net.TCPAddr).Port
	_, err = embedded.Start(t.Context(), embedded.WithPort(port))
	require.ErrorContains(t, err, fmt.Sprintf("port %d is in use", port))
	require.NoError(t, l.Close())

	b := embedded.Run(t, embedded.WithPort(port))
	require.Equal(t, fmt.Sprintf("127.0.0.1:%d", port), b.Addr())
}

func TestEndsWithTheContext(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	b, err := embedded.Start(ctx)
	require.NoError(t, err)
	addr := b.Addr()
	cancel()
	require.NoError(t, b.Close(), "waits for the end, whoever began it")
	_, err = new(net.Dialer).DialContext(t.Context(), "tcp", addr)
	require.Error(t, err)

	_, err = embedded.Start(ctx)
	require.ErrorIs(t, err, context.Canceled)
}

func TestNodes(t *testing.T) {
	t.Parallel()
	b := embedded.Run(t, embedded.WithNodes(3), embedded.WithTopics(9, "spread"))
	require.Len(t, strings.Split(b.Addr(), ","), 3)
	md, err := client(b).Metadata(t.Context(), &kafka.MetadataRequest{Topics: []string{"spread"}})
	require.NoError(t, err)
	require.Len(t, md.Brokers, 3)
	require.Len(t, md.Topics[0].Partitions, 9)
}

func TestBadOptions(t *testing.T) {
	t.Parallel()
	for name, opt := range map[string]embedded.Option{
		"nodes":      embedded.WithNodes(0),
		"partitions": embedded.WithPartitions(0),
		"port":       embedded.WithPort(70000),
		"topics":     embedded.WithTopics(0, "x"),
		"name":       embedded.WithTopics(1, ""),
		"folder":     embedded.WithDataDir("/proc/nowhere"),
	} {
		_, err := embedded.Start(t.Context(), opt)
		require.ErrorContains(t, err, "embedded: ", name)
	}
}

func Example() {
	broker, err := embedded.Start(context.Background(), embedded.WithTopics(6, "customservice.item.created"))
	if err != nil {
		fmt.Println(err)
		return
	}
	defer broker.Close()
	conn, err := kafka.Dial("tcp", broker.Addr())
	if err != nil {
		fmt.Println(err)
		return
	}
	defer conn.Close()
	partitions, err := conn.ReadPartitions("customservice.item.created")
	fmt.Println(len(partitions), err)
	// Output: 6 <nil>
}
