package itest

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/expensevault/sharedlibrary/messaging"
)

// batches makes records that are the same each time.
func batches() func(from, n int) []messaging.Record {
	begin := time.Now().UnixMilli()
	return func(from, n int) []messaging.Record {
		var out []messaging.Record
		for i := from; i < from+n; i++ {
			out = append(out, messaging.Record{
				Key: []byte("k"), Value: fmt.Append(nil, "v", i), Timestamp: time.UnixMilli(begin + int64(i)),
				Headers: []messaging.Header{{Key: "n", Value: fmt.Append(nil, i)}},
			})
		}
		return out
	}
}

func values(recs []messaging.Record) []string {
	var out []string
	for _, r := range recs {
		out = append(out, string(r.Value))
	}
	return out
}

// TestSequencedBatches go to the topic once, whichever process sends them, until somebody raises the epoch.
func TestSequencedBatches(t *testing.T) {
	t.Parallel()
	onBrokers(t, func(t *testing.T, b broker) {
		topic, batchOf := b.topic(t, 3), batches()
		ctx := t.Context()
		first, second := publisher(t, b.config(nil)), publisher(t, b.config(nil))
		id, err := first.NewIdentity(ctx)
		require.NoError(t, err)
		other, err := first.NewIdentity(ctx)
		require.NoError(t, err)
		require.NotEqual(t, id, other)
		part, err := first.PartitionFor(ctx, topic, []byte("k"))
		require.NoError(t, err)
		send := func(p *messaging.KafkaPublisher, id messaging.Identity, seq int32, recs []messaging.Record) (int64, error) {
			return p.PublishSequenced(ctx, id, topic, part, seq, recs)
		}

		offset, err := send(first, id, 0, batchOf(0, 3))
		require.NoError(t, err)
		require.Zero(t, offset)
		offset, err = send(first, id, 3, batchOf(3, 2))
		require.NoError(t, err)
		require.EqualValues(t, 3, offset)

		// Another process, which does not know what became of it.
		offset, err = send(second, id, 3, batchOf(3, 2))
		require.NoError(t, err)
		require.EqualValues(t, 3, offset, "the broker has it already")
		_, err = send(second, id, 9, batchOf(9, 1))
		require.ErrorIs(t, err, messaging.ErrSequence)
		require.True(t, messaging.SafeToRetry(err))

		// It takes over.
		next := messaging.Identity{ProducerID: id.ProducerID, Epoch: id.Epoch + 1}
		offset, err = send(second, next, 0, batchOf(5, 1))
		require.NoError(t, err)
		require.EqualValues(t, 5, offset)
		_, err = send(first, id, 5, batchOf(100, 1))
		require.ErrorIs(t, err, messaging.ErrFenced)
		require.True(t, messaging.SafeToRetry(err))

		tail, err := second.Tail(ctx, topic, part, 4)
		require.NoError(t, err)
		assert.Equal(t, []string{"v2", "v3", "v4", "v5"}, values(tail))
		assert.Equal(t, topic, tail[0].Topic)
		tail, err = second.Tail(ctx, topic, part, 100)
		require.NoError(t, err)
		assert.Equal(t, []string{"v0", "v1", "v2", "v3", "v4", "v5"}, values(tail))
		assert.Equal(t, batchOf(3, 1)[0].Timestamp.UnixMilli(), tail[3].Timestamp.UnixMilli())
		assert.Equal(t, batchOf(3, 1)[0].Headers, tail[3].Headers)

		// It is where Publish puts the key.
		require.NoError(t, first.PublishRecords(ctx, messaging.Record{Topic: topic, Key: []byte("k"), Value: []byte("published")}))
		tail, err = second.Tail(ctx, topic, part, 1)
		require.NoError(t, err)
		assert.Equal(t, []string{"published"}, values(tail))
		empty, err := second.Tail(ctx, topic, (part+1)%3, 10)
		require.NoError(t, err)
		assert.Empty(t, empty)
	}, embeddedBroker, realBroker)
}

// TestSequencedUnderFaults: lost answers and cut connections do not double what is sent under a kept identity.
func TestSequencedUnderFaults(t *testing.T) {
	t.Parallel()
	onBrokers(t, func(t *testing.T, b broker) {
		topic, batchOf := b.topic(t, 1), batches()
		net := newFaultNet()
		cfg := b.config(nil)
		cfg.RetryBackoff = 20 * time.Millisecond
		p := publisher(t, cfg, messaging.WithDialer(net.dial))
		id, err := p.NewIdentity(t.Context())
		require.NoError(t, err)
		var want []string
		for n := range 60 {
			recs := batchOf(2*n, 2)
			switch n % 6 {
			case 1, 2:
				net.lose.Add(1)
			case 4:
				net.halve.Add(1)
			}
			offset, err := p.PublishSequenced(t.Context(), id, topic, 0, int32(2*n), recs)
			require.NoError(t, err)
			require.EqualValues(t, 2*n, offset)
			want = append(want, values(recs)...)
		}
		require.EqualValues(t, 30, net.hit.Load())
		tail, err := p.Tail(t.Context(), topic, 0, 1000)
		require.NoError(t, err)
		assert.Equal(t, want, values(tail))
	}, embeddedBroker, realBroker)
}

// TestSequencedIsRefused where a batch could not be the same again, or could not be at all.
func TestSequencedIsRefused(t *testing.T) {
	t.Parallel()
	b, _ := one(t)
	topic, batchOf := b.topic(t, 1), batches()
	p := publisher(t, b.config(nil))
	id := messaging.Identity{ProducerID: 7}
	timeless := batchOf(0, 1)
	timeless[0].Timestamp = time.Time{}
	big := batchOf(0, 3)
	for i := range big {
		big[i].Value = make([]byte, 400_000)
	}
	for name, c := range map[string]struct {
		kind error
		send func(ctx context.Context) error
	}{
		"no records": {messaging.ErrInvalidEvent, func(ctx context.Context) error {
			_, err := p.PublishSequenced(ctx, id, topic, 0, 0, nil)
			return err
		}},
		"no timestamp": {messaging.ErrInvalidEvent, func(ctx context.Context) error {
			_, err := p.PublishSequenced(ctx, id, topic, 0, 0, timeless)
			return err
		}},
		"too large": {messaging.ErrTooLarge, func(ctx context.Context) error {
			_, err := p.PublishSequenced(ctx, id, topic, 0, 0, big)
			return err
		}},
		"negative": {messaging.ErrInvalidEvent, func(ctx context.Context) error {
			_, err := p.PublishSequenced(ctx, id, topic, 0, -1, batchOf(0, 1))
			return err
		}},
		"unknown topic": {messaging.ErrUnknownTopic, func(ctx context.Context) error {
			_, err := p.PublishSequenced(ctx, id, "itest.no.such", 0, 0, batchOf(0, 1))
			return err
		}},
		"partition of an unknown topic": {messaging.ErrUnknownTopic, func(ctx context.Context) error {
			_, err := p.PartitionFor(ctx, "itest.no.such", nil)
			return err
		}},
		"cancelled": {context.Canceled, func(ctx context.Context) error {
			ctx, cancel := context.WithCancel(ctx)
			cancel()
			_, err := p.PublishSequenced(ctx, id, topic, 0, 0, batchOf(0, 1))
			return err
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			err := c.send(t.Context())
			require.ErrorIs(t, err, c.kind)
			require.True(t, messaging.SafeToRetry(err), err)
		})
	}
	t.Cleanup(func() {
		require.NoError(t, p.Close())
		_, err := p.PublishSequenced(context.Background(), id, topic, 0, 0, batchOf(0, 1))
		require.ErrorIs(t, err, messaging.ErrClosed)
		_, err = p.NewIdentity(context.Background())
		require.ErrorIs(t, err, messaging.ErrClosed)
	})
}
