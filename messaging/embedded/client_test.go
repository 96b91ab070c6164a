package embedded_test

import (
	"context"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/expensevault/sharedlibrary/messaging/embedded"
)

const orders = "shop.order.placed"

// dial gives a client that writes to the partition that a record names.
func dial(t *testing.T, addr string, opts ...kgo.Opt) *kgo.Client {
	t.Helper()
	c, err := kgo.NewClient(append([]kgo.Opt{
		kgo.SeedBrokers(strings.Split(addr, ",")...),
		kgo.RecordPartitioner(kgo.ManualPartitioner()),
	}, opts...)...)
	require.NoError(t, err)
	t.Cleanup(c.CloseAllowingRebalance)
	return c
}

// start is Start for tests that stop and start again themselves.
func start(t *testing.T, opts ...embedded.Option) *embedded.Broker {
	t.Helper()
	b, err := embedded.Start(t.Context(), opts...)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, b.Close()) })
	return b
}

// produce writes the numbers from..to-1 to partition 0, each acknowledged before the next.
func produce(ctx context.Context, t *testing.T, c *kgo.Client, from, to int) {
	t.Helper()
	for i := from; i < to; i++ {
		r := &kgo.Record{Topic: orders, Key: []byte("k"), Value: []byte(strconv.Itoa(i))}
		require.NoError(t, c.ProduceSync(ctx, r).FirstErr())
	}
}

// consume polls until it has n records.
func consume(ctx context.Context, t *testing.T, c *kgo.Client, n int) []string {
	t.Helper()
	var values []string
	for len(values) < n {
		fetches := c.PollFetches(ctx)
		require.NoError(t, fetches.Err())
		fetches.EachRecord(func(r *kgo.Record) { values = append(values, string(r.Value)) })
	}
	return values
}

func fromStart() kgo.Opt { return kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()) }
