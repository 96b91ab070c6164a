package embedded_test

import (
	"context"
	"io"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/expensevault/sharedlibrary/messaging/embedded"
)

// TestNetworkInABubble: a broker and its client on a clock of their own. The bubble ends only when nothing of them is left.
func TestNetworkInABubble(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var network embedded.Network
		b := embedded.Run(t, embedded.WithListen(network.Listen), embedded.WithNodes(3), embedded.WithTopics(1, orders))
		c := dial(t, b.Addr(), kgo.Dialer(network.DialContext), kgo.ConsumeTopics(orders), fromStart())
		produce(t.Context(), t, c, 0, 3)
		<-time.After(time.Hour)
		produce(t.Context(), t, c, 3, 5)
		require.Equal(t, []string{"0", "1", "2", "3", "4"}, consume(t.Context(), t, c, 5))
	})
}

// ends are the two ends of a connection.
func ends(t *testing.T) (dialled, accepted net.Conn) {
	t.Helper()
	var network embedded.Network
	l, err := network.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	got := make(chan net.Conn, 1)
	go func() {
		c, err := l.Accept()
		assert.NoError(t, err)
		got <- c
	}()
	dialled, err = network.DialContext(t.Context(), "tcp", l.Addr().String())
	require.NoError(t, err)
	require.Equal(t, l.Addr().String(), dialled.RemoteAddr().String())
	return dialled, <-got
}

func TestNetworkDeadlines(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a, b := ends(t)
		begin := time.Now()
		require.NoError(t, a.SetReadDeadline(begin.Add(30*time.Second)))
		_, err := a.Read(make([]byte, 1))
		require.ErrorIs(t, err, os.ErrDeadlineExceeded)
		assert.Equal(t, 30*time.Second, time.Since(begin))
		var ne net.Error
		require.ErrorAs(t, err, &ne)
		assert.True(t, ne.Timeout())

		require.NoError(t, a.SetDeadline(begin.Add(time.Minute)))
		n, err := a.Write(make([]byte, 1<<20))
		require.ErrorIs(t, err, os.ErrDeadlineExceeded)
		assert.Equal(t, 64<<10, n, "what nobody reads is bounded")
		assert.Equal(t, time.Minute, time.Since(begin))

		require.NoError(t, a.SetDeadline(time.Time{}))
		go func() {
			<-time.After(time.Hour)
			_, err := b.Write([]byte("x"))
			assert.NoError(t, err)
		}()
		_, err = a.Read(make([]byte, 1))
		require.NoError(t, err, "there is no deadline any more")
	})
}

func TestNetworkCloses(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a, b := ends(t)
		_, err := a.Write([]byte("last words"))
		require.NoError(t, err)
		waiting := make(chan error, 1)
		go func() {
			_, err := a.Read(make([]byte, 1))
			waiting <- err
		}()
		synctest.Wait()
		require.NoError(t, a.Close())
		require.ErrorIs(t, <-waiting, net.ErrClosed)
		_, err = a.Write([]byte("x"))
		require.ErrorIs(t, err, net.ErrClosed)
		require.ErrorIs(t, a.Close(), net.ErrClosed)
		heard, err := io.ReadAll(b)
		require.NoError(t, err)
		assert.Equal(t, "last words", string(heard))
		_, err = b.Write([]byte("x"))
		require.ErrorIs(t, err, syscall.EPIPE)
	})
}

func TestNetworkBytesArriveInOrder(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a, b := ends(t)
		want := strings.Repeat("0123456789abcdef", 20_000)
		go func() {
			n, err := io.WriteString(a, want)
			assert.NoError(t, err)
			assert.Equal(t, len(want), n)
			assert.NoError(t, a.Close())
		}()
		got, err := io.ReadAll(b)
		require.NoError(t, err)
		require.Equal(t, want, string(got))
	})
}

func TestNetworkAddresses(t *testing.T) {
	t.Parallel()
	var network embedded.Network
	_, err := network.DialContext(t.Context(), "tcp", "127.0.0.1:9092")
	require.ErrorIs(t, err, syscall.ECONNREFUSED)
	l, err := network.Listen("tcp", ":9092")
	require.NoError(t, err)
	_, err = network.Listen("tcp", "localhost:9092")
	require.ErrorIs(t, err, syscall.EADDRINUSE)
	_, err = embedded.Start(t.Context(), embedded.WithListen(network.Listen), embedded.WithPort(9092))
	require.ErrorIs(t, err, embedded.ErrPortInUse)

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = network.DialContext(ctx, "tcp", "127.0.0.1:9092") // nobody accepts
	require.ErrorIs(t, err, context.Canceled)
	require.NoError(t, l.Close())
	require.NoError(t, l.Close())
	_, err = l.Accept()
	require.ErrorIs(t, err, net.ErrClosed)
	_, err = network.DialContext(t.Context(), "tcp", "127.0.0.1:9092")
	require.ErrorIs(t, err, syscall.ECONNREFUSED)
	for _, bad := range []string{"", "nohost", "kafka.example:9092", "127.0.0.1:http"} {
		_, err = network.DialContext(t.Context(), "tcp", bad)
		require.Error(t, err, bad)
		_, err = network.Listen("tcp", bad)
		require.Error(t, err, bad)
	}
}
