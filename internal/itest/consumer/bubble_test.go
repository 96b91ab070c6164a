package consumer_test

import (
	"context"
	"errors"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/expensevault/sharedlibrary/internal/cluster"
	"github.com/expensevault/sharedlibrary/internal/consumer"
	"github.com/expensevault/sharedlibrary/internal/wire"
)

// network is one in memory that can be cut: then nothing comes through, and nothing says so.
type network struct {
	kfake.VirtualNetwork

	mu  sync.Mutex
	cut bool
}

func (n *network) set(cut bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.cut = cut
}

func (n *network) gone() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.cut
}

func (n *network) dial(ctx context.Context, netw, addr string) (net.Conn, error) {
	if n.gone() {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	nc, err := n.DialContext(ctx, netw, addr)
	if err != nil {
		return nil, err
	}
	return &cutConn{Conn: nc, network: n}, nil
}

// cutConn swallows what is written while the network is cut.
type cutConn struct {
	net.Conn
	network *network
}

func (c *cutConn) Write(b []byte) (int, error) {
	if c.network.gone() {
		return len(b), nil
	}
	return c.Conn.Write(b)
}

// starter runs the engine on the topic "topic", of two partitions.
type starter func(ctx context.Context, p consumer.Params) (*cluster.Cluster, <-chan error)

// inBubble runs a test on a broker with a clock of its own. It ends only when every goroutine has: none is left behind.
func inBubble(t *testing.T, f func(t *testing.T, n *network, cl *kgo.Client, start starter)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		n := &network{} //nolint:exhaustruct // not cut
		fake, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.ListenFn(n.Listen), kfake.SeedTopics(2, "topic"))
		require.NoError(t, err)
		defer fake.Close()
		cl, err := kgo.NewClient(kgo.SeedBrokers(fake.ListenAddrs()...), kgo.Dialer(n.DialContext), kgo.RecordPartitioner(kgo.ManualPartitioner()))
		require.NoError(t, err)
		defer cl.Close()
		f(t, n, cl, func(ctx context.Context, p consumer.Params) (*cluster.Cluster, <-chan error) {
			c := cluster.New(cluster.Params{
				Seeds:          fake.ListenAddrs(),
				Wire:           wire.Params{ClientID: "c", TLS: nil, SASL: nil, DialTimeout: 10 * time.Second, Dial: n.dial},
				RequestTimeout: 10 * time.Second,
				Logger:         nil,
			})
			p.Cluster, p.Group, p.Topics = c, "group", []string{"topic"}
			done := make(chan error, 1)
			go func() { done <- consumer.Run(ctx, p) }()
			return c, done
		})
	})
}

func TestNoGoroutineIsLeft(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, _ *network, cl *kgo.Client, start starter) {
		require.NoError(t, cl.ProduceSync(t.Context(), &kgo.Record{Topic: "topic", Value: []byte("x")}).FirstErr())
		boom := errors.New("boom")
		c, done := start(t.Context(), consumer.Params{Handle: func(context.Context, *consumer.Work) error { return boom }})
		require.ErrorIs(t, <-done, boom)
		c.Close()
	})
}

func TestStopsInBoundedTimeWhenTheNetworkIsCut(t *testing.T) {
	t.Parallel()
	for name, inside := range map[string]bool{"idle": false, "in a handler": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inBubble(t, func(t *testing.T, n *network, cl *kgo.Client, start starter) {
				require.NoError(t, cl.ProduceSync(t.Context(), &kgo.Record{Topic: "topic", Value: []byte("x")}).FirstErr())
				entered := make(chan struct{})
				ctx, cancel := context.WithCancel(t.Context())
				c, done := start(ctx, consumer.Params{
					DrainTimeout:   20 * time.Second,
					CommitInterval: time.Hour, // there is something to commit at the end
					Handle: func(ctx context.Context, _ *consumer.Work) error {
						close(entered)
						if inside {
							<-ctx.Done()
						}
						return ctx.Err()
					},
				})
				<-entered
				n.set(true)
				begin := time.Now()
				cancel()
				require.NoError(t, <-done)
				limit := 15 * time.Second
				if inside {
					limit += 20 * time.Second
				}
				assert.Less(t, time.Since(begin), limit)
				c.Close()
			})
		})
	}
}
