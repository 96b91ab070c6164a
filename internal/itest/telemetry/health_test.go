package telemetry_test

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/expensevault/sharedlibrary/messaging"
)

// cable is a network that can be pulled out.
type cable struct {
	mu    sync.Mutex
	out   bool
	conns map[net.Conn]struct{}
}

func (c *cable) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.out {
		return nil, errors.New("the cable is out")
	}
	conn, err := (&net.Dialer{}).DialContext(ctx, network, addr)
	if err == nil {
		c.conns[conn] = struct{}{}
	}
	return conn, err
}

func (c *cable) pull(out bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.out = out
	for conn := range c.conns {
		_ = conn.Close()
		delete(c.conns, conn)
	}
}

func status(t *testing.T, h http.Handler) int {
	t.Helper()
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", nil))
	return w.Code
}

// TestHealthOfANetwork: that it is away is told within seconds, by both sides, and that it is back.
func TestHealthOfANetwork(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, s *seen) {
		wire := &cable{conns: map[net.Conn]struct{}{}}
		handled := make(chan struct{}, 10)
		var mux messaging.Mux
		messaging.Handle(&mux, func(context.Context, *happened) error {
			handled <- struct{}{}
			return nil
		})
		sub := s.subscribe(t, &mux, messaging.WithDialer(wire.dial))
		pub, err := messaging.NewKafkaPublisher(s.cfg, messaging.WithDialer(wire.dial))
		require.NoError(t, err)
		t.Cleanup(func() { _ = pub.Close() })
		checks := map[string]messaging.HealthCheck{"publisher": pub.Health, "subscriber": sub.Health}
		ready, live := messaging.ReadyHandler(checks), messaging.LiveHandler(time.Minute, checks)

		eventually(t, "ready", func() bool { return status(t, ready) == http.StatusOK })
		assert.Equal(t, 1, sub.Health(t.Context()).Assigned)
		require.NoError(t, pub.Publish(t.Context(), &happened{Key: "k"}))
		<-handled

		wire.pull(true)
		start := time.Now()
		eventually(t, "both know", func() bool {
			return pub.Health(t.Context()).Problem != nil && sub.Health(t.Context()).Problem != nil
		})
		assert.Less(t, time.Since(start), 20*time.Second)
		assert.False(t, pub.Health(t.Context()).Connected)
		assert.False(t, sub.Health(t.Context()).Connected)
		assert.Equal(t, http.StatusServiceUnavailable, status(t, ready))
		assert.Equal(t, http.StatusOK, status(t, live), "another process would not help")

		wire.pull(false)
		eventually(t, "ready again", func() bool { return status(t, ready) == http.StatusOK })
		require.NoError(t, pub.Publish(t.Context(), &happened{Key: "k"}))
		<-handled
	})
}

// TestHealthOfAHandler: one that hangs.
func TestHealthOfAHandler(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, s *seen) {
		release := make(chan struct{})
		var mux messaging.Mux
		messaging.Handle(&mux, func(context.Context, *happened) error {
			<-release
			return nil
		})
		sub := s.subscribe(t, &mux)
		require.NoError(t, s.publisher(t).Publish(t.Context(), &happened{Key: "k"}))
		eventually(t, "it is seen to wait", func() bool {
			h := sub.Health(t.Context())
			return h.Oldest > 0 && h.Backlog == 1 && h.Problem == nil && h.Progressing
		})
		checks := map[string]messaging.HealthCheck{"subscriber": sub.Health}
		eventually(t, "it is a problem", func() bool { return sub.Health(t.Context()).Problem != nil })
		h := sub.Health(t.Context())
		assert.False(t, h.Progressing)
		assert.GreaterOrEqual(t, h.Oldest, messaging.StallAfter)
		assert.Contains(t, h.Problem.Error(), "offset 0 of "+s.topic+"/0")
		assert.Equal(t, http.StatusServiceUnavailable, status(t, messaging.LiveHandler(messaging.StallAfter, checks)))
		assert.Equal(t, http.StatusOK, status(t, messaging.LiveHandler(time.Hour, checks)))
		close(release)
		eventually(t, "over", func() bool { h := sub.Health(t.Context()); return h.Problem == nil && h.Backlog == 0 && h.Oldest == 0 })
	})
}

// TestHealthOfWhatStopped: closed, and not run.
func TestHealthOfWhatStopped(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, s *seen) {
		pub := s.publisher(t)
		require.NoError(t, pub.Close())
		h := pub.Health(t.Context())
		assert.True(t, h.Stopped)
		require.ErrorIs(t, h.Problem, messaging.ErrClosed)

		var mux messaging.Mux
		messaging.Handle(&mux, func(context.Context, *happened) error { return nil })
		sub, err := messaging.NewSubscriber(s.cfg, s.group, &mux)
		require.NoError(t, err)
		h = sub.Health(t.Context())
		assert.True(t, h.Stopped)
		require.ErrorContains(t, h.Problem, "does not run")
		live := messaging.LiveHandler(0, map[string]messaging.HealthCheck{"s": sub.Health})
		assert.Equal(t, http.StatusServiceUnavailable, status(t, live))
	})
}
