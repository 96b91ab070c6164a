package broker

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/expensevault/sharedlibrary/messaging"
)

func TestTopics(t *testing.T) {
	t.Parallel()
	cfg := messaging.DefaultConfig()
	cfg.Topics = map[string]string{"customservice.item.deleted": "removed"}
	assert.Equal(t, []messaging.TopicSpec{
		{Name: "customservice.item.created", Partitions: 6, ReplicationFactor: 3},
		{Name: "customservice.item.created-dlt", Partitions: 6, ReplicationFactor: 3},
		{Name: "customservice.item.deleted", Partitions: 6, ReplicationFactor: 3},
		{Name: "removed-dlt", Partitions: 6, ReplicationFactor: 3},
	}, Topics(cfg, []string{"customservice.item.created", "customservice.item.deleted"}, 6, 3))
}

// brokers is a cluster that can go away.
type brokers struct {
	mu     sync.Mutex
	err    error
	states []messaging.TopicState
	asked  int
}

func (b *brokers) ensure(context.Context) ([]messaging.TopicState, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.asked++
	return b.states, b.err
}

func (b *brokers) set(err error, states ...messaging.TopicState) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.err, b.states = err, states
}

func TestLink(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		b := &brokers{err: errors.New("connection refused")}
		l := newLink("127.0.0.1:1", slog.New(slog.NewTextHandler(&log, nil)), b.ensure)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		go l.Run(ctx)
		synctest.Wait()
		assert.False(t, l.State().Up)
		assert.Equal(t, "connection refused", l.State().Detail)

		opened := make(chan error, 1)
		go func() { opened <- l.Wait(ctx) }()
		synctest.Wait()
		assert.Empty(t, opened)

		time.Sleep(10 * time.Second) //nolint:forbidigo // time is the bubble's
		synctest.Wait()
		assert.Equal(t, 1, bytes.Count(log.Bytes(), []byte("not reachable")), "an outage is told once: %s", &log)

		b.set(nil, messaging.TopicState{Name: "a", Created: true}, messaging.TopicState{
			Name: "b", Differences: []messaging.TopicDifference{{Setting: "partitions", Want: "6", Have: "3"}},
		})
		time.Sleep(lookWhenDown) //nolint:forbidigo // time is the bubble's
		synctest.Wait()
		require.NoError(t, <-opened)
		require.NoError(t, l.Wait(ctx))
		assert.True(t, l.State().Up)
		assert.Contains(t, log.String(), "topics=a")
		assert.Contains(t, log.String(), "partitions is 3, wanted is 6")
		time.Sleep(time.Minute) //nolint:forbidigo // time is the bubble's
		synctest.Wait()
		assert.Equal(t, 1, bytes.Count(log.Bytes(), []byte("wanted is 6")), "and so is a difference")

		b.set(context.DeadlineExceeded)
		asked := b.asked
		l.Suspect()
		synctest.Wait()
		assert.Equal(t, asked+1, b.asked, "a suspicion is looked into at once")
		assert.False(t, l.State().Up)
		gone, giveUp := context.WithCancelCause(ctx)
		giveUp(assert.AnError)
		require.ErrorIs(t, l.Wait(gone), assert.AnError)

		b.set(fmt.Errorf("create b: %w", messaging.ErrNotAuthorized))
		time.Sleep(lookWhenDown) //nolint:forbidigo // time is the bubble's
		synctest.Wait()
		assert.True(t, l.State().Up, "it answers, and other topics may be there")
		assert.Contains(t, l.State().Detail, "create b")
	})
}
