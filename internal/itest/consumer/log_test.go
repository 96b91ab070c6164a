package consumer_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strconv"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/expensevault/sharedlibrary/internal/consumer"
	"github.com/expensevault/sharedlibrary/internal/kerr"
	"github.com/expensevault/sharedlibrary/internal/recordbatch"
)

// transact writes values in one transaction.
func transact(t *testing.T, cl *kgo.Client, commit bool, topic string, values ...string) {
	t.Helper()
	require.NoError(t, cl.BeginTransaction())
	for _, v := range values {
		require.NoError(t, cl.ProduceSync(t.Context(), &kgo.Record{Topic: topic, Value: []byte(v)}).FirstErr())
	}
	require.NoError(t, cl.EndTransaction(t.Context(), kgo.TransactionEndTry(commit)))
}

func TestAbortedRecordsAndMarkersAreNotDelivered(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, k *kafka) {
		topic := k.topic(t, 1)
		one := k.client(t, kgo.TransactionalID(unique(t, "one")))
		two := k.client(t, kgo.TransactionalID(unique(t, "two")))
		transact(t, one, true, topic, "a", "b")
		transact(t, one, false, topic, "no 1", "no 2")
		k.produce(t, topic, 0, "c")
		require.NoError(t, two.BeginTransaction()) // across an aborted transaction of another producer
		require.NoError(t, two.ProduceSync(t.Context(), &kgo.Record{Topic: topic, Value: []byte("d")}).FirstErr())
		transact(t, one, false, topic, "no 3")
		require.NoError(t, two.ProduceSync(t.Context(), &kgo.Record{Topic: topic, Value: []byte("e")}).FirstErr())
		require.NoError(t, two.EndTransaction(t.Context(), kgo.TryCommit))
		transact(t, one, true, topic, "f")
		require.NoError(t, one.BeginTransaction()) // left open: nothing behind its beginning is stable
		require.NoError(t, one.ProduceSync(t.Context(), &kgo.Record{Topic: topic, Value: []byte("open")}).FirstErr())

		group := unique(t, "group")
		m := k.start(t, group, []string{topic})
		assert.ElementsMatch(t, []string{"a", "b", "c", "d", "e", "f"}, m.values(6)) // records without a key have no order
		// a b C no no A c d no A e C f C: the open record is number 14
		eventually(t, func() bool { return k.committed(t, group, topic, 0) == 14 }, "the markers are passed")
		m.quiet()
		require.NoError(t, one.EndTransaction(t.Context(), kgo.TryCommit))
		assert.Equal(t, []string{"open"}, m.values(1))
		m.stop()
		m.quiet()

		dirty := k.start(t, unique(t, "group"), []string{topic}, func(p *consumer.Params) { p.ReadUncommitted = true })
		assert.ElementsMatch(t, []string{"a", "b", "no 1", "no 2", "c", "d", "no 3", "e", "f", "open"}, dirty.values(10))
		dirty.stop()
		dirty.quiet()
	})
}

func TestACompactedTopic(t *testing.T) {
	t.Parallel()
	k := fake(t)
	topic, group := unique(t, "compacted"), unique(t, "group")
	k.create(t, topic, 1, map[string]*string{"cleanup.policy": new("compact"), "min.compaction.lag.ms": new("0")})
	// Every producer leaves its last batch behind, empty once its only key was written again.
	for i := range 8 {
		k.produceBy(t, k.client(t), topic, 0, fmt.Sprint("old ", i))
	}
	k.produce(t, topic, 0, "new")
	k.fake.Compact()
	k.produce(t, topic, 0, "newest")
	m := k.start(t, group, []string{topic})
	rec := m.next()
	assert.Positive(t, rec.Offset, "the first batches are empty")
	for string(rec.Value) != "newest" {
		rec = m.next()
	}
	assert.EqualValues(t, 9, rec.Offset)
	eventually(t, func() bool { return k.committed(t, group, topic, 0) == 10 }, "all is passed")
	m.stop()
	m.quiet()
}

func TestOffsetOutOfRange(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, k *kafka) {
		setup := func(t *testing.T) (topic, group string) {
			t.Helper()
			topic, group = k.topic(t, 1), unique(t, "group")
			k.produce(t, topic, 0, numbers(0, 10)...)
			var start kadm.Offsets
			start.Add(kadm.Offset{Topic: topic, Partition: 0, At: 2, LeaderEpoch: -1})
			require.NoError(t, k.admin.CommitAllOffsets(t.Context(), group, start))
			var del kadm.Offsets
			del.Add(kadm.Offset{Topic: topic, Partition: 0, At: 7, LeaderEpoch: -1})
			_, err := k.admin.DeleteRecords(t.Context(), del)
			require.NoError(t, err)
			return topic, group
		}
		t.Run("to the earliest, loudly", func(t *testing.T) {
			t.Parallel()
			topic, group := setup(t)
			m := k.start(t, group, []string{topic})
			assert.ElementsMatch(t, []string{"7", "8", "9"}, m.values(3))
			m.stop()
			assert.Equal(t, 1, m.logs.count("WARN", "out of range", topic, "skipped=5"))
		})
		t.Run("stop", func(t *testing.T) {
			t.Parallel()
			topic, group := setup(t)
			m := k.start(t, group, []string{topic}, func(p *consumer.Params) { p.OutOfRange = consumer.StopRun })
			var oor *consumer.OutOfRangeError
			err := m.wait()
			require.ErrorAs(t, err, &oor)
			assert.Equal(t, consumer.OutOfRangeError{Topic: topic, Partition: 0, Offset: 2, Start: 7}, *oor)
			require.ErrorIs(t, err, kerr.OffsetOutOfRange)
			assert.EqualValues(t, 2, k.committed(t, group, topic, 0))
			m.quiet()
		})
		t.Run("beyond the end", func(t *testing.T) {
			t.Parallel()
			topic, group := k.topic(t, 1), unique(t, "group")
			k.produce(t, topic, 0, "0")
			var start kadm.Offsets
			start.Add(kadm.Offset{Topic: topic, Partition: 0, At: 100, LeaderEpoch: -1})
			require.NoError(t, k.admin.CommitAllOffsets(t.Context(), group, start))
			m := k.start(t, group, []string{topic})
			assert.Equal(t, []string{"0"}, m.values(1))
			eventually(t, func() bool { return k.committed(t, group, topic, 0) == 1 }, "the place is right again")
		})
	})
}

// Batches larger than what is asked for come nevertheless, from each of the partitions.
func TestBatchesBeyondTheLimits(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, k *kafka) {
		topic := k.topic(t, 3)
		for p := range int32(3) {
			for i := range 5 {
				k.produce(t, topic, p, strconv.Itoa(i)+string(bytes.Repeat([]byte{'x'}, 20_000)))
			}
		}
		m := k.start(t, unique(t, "group"), []string{topic}, func(p *consumer.Params) { p.PartitionMaxBytes, p.FetchMaxBytes = 1000, 2000 })
		next := map[int32]int{}
		for range 15 {
			rec := m.next()
			assert.Equal(t, strconv.Itoa(next[rec.Partition]), string(rec.Value[:1]))
			next[rec.Partition]++
		}
	})
}

func TestABombStopsWithATypedError(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, k *kafka) {
		topic, group := k.topic(t, 1), unique(t, "group")
		cl := k.client(t, kgo.ProducerBatchCompression(kgo.ZstdCompression()))
		k.produceBy(t, cl, topic, 0, "good")
		k.produceBy(t, cl, topic, 0, string(make([]byte, 900_000)))
		m := k.start(t, group, []string{topic}, func(p *consumer.Params) { p.MaxBatchBytes = 100_000 })
		err := m.wait()
		require.ErrorIs(t, err, recordbatch.ErrBatchTooLarge)
		var be *recordbatch.BatchError
		require.ErrorAs(t, err, &be)
		assert.EqualValues(t, 1, be.Offset)
		assert.EqualValues(t, 1, k.committed(t, group, topic, 0))
	})
}

// What waits for a handler is bounded, while the other partitions flow.
func TestASlowHandlerIsNotFlooded(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, k *kafka) {
		topic := k.topic(t, 2)
		for range 40 {
			k.produce(t, topic, 0, string(bytes.Repeat([]byte{'x'}, 500_000)))
		}
		entered, release, other := make(chan struct{}, 100), make(chan struct{}), make(chan string, 1000)
		m := k.start(t, unique(t, "group"), []string{topic}, func(p *consumer.Params) {
			p.PartitionMaxBytes = 1 << 20
			p.Handle = func(ctx context.Context, w *consumer.Work) error {
				rec := w.Records[0]
				if rec.Partition == 1 {
					other <- string(rec.Value)
					return nil
				}
				entered <- struct{}{}
				select {
				case <-release:
					return nil
				case <-ctx.Done():
					return errors.New("given up")
				}
			}
		})
		receive(t, entered, "record")
		for i := range 200 {
			k.produce(t, topic, 1, strconv.Itoa(i))
			assert.Equal(t, strconv.Itoa(i), receive(t, other, "record of the other partition"))
		}
		assert.Less(t, m.read.Load(), int64(12<<20), "bytes read, of 20 MB: 8 MiB in the lanes, and two sets")
		close(release)
		for range 39 {
			receive(t, entered, "record")
		}
		m.stop()
	})
}
