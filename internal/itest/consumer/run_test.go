package consumer_test

import (
	"context"
	"errors"
	"runtime"
	"strconv"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/expensevault/sharedlibrary/internal/consumer"
)

func TestHandlesEverythingInOrder(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, k *kafka) {
		const perPartition = 600
		topic, group := k.topic(t, 4), unique(t, "group")
		for p, codec := range []kgo.CompressionCodec{kgo.GzipCompression(), kgo.SnappyCompression(), kgo.Lz4Compression(), kgo.ZstdCompression()} {
			cl := k.client(t, kgo.ProducerBatchCompression(codec))
			k.produceBy(t, cl, topic, int32(p), numbers(0, perPartition/2)...)
		}
		m := k.start(t, group, []string{topic}, func(p *consumer.Params) { p.PartitionMaxBytes = 4096 })
		next := map[int32]int{}
		for i := range 4 * perPartition {
			if i == perPartition { // some more while it runs
				for p := range int32(4) {
					k.produce(t, topic, p, numbers(perPartition/2, perPartition)...)
				}
			}
			rec := m.next()
			assert.Equal(t, strconv.Itoa(next[rec.Partition]), string(rec.Value))
			assert.EqualValues(t, next[rec.Partition], rec.Offset)
			assert.Equal(t, "k", string(rec.Key))
			assert.Equal(t, topic, rec.Topic)
			next[rec.Partition]++
		}
		m.stop()
		m.quiet()
		for p := range int32(4) {
			assert.EqualValues(t, perPartition, k.committed(t, group, topic, p))
		}
	})
}

func TestCommitsOnlyWhatWasHandled(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, k *kafka) {
		topic, group := k.topic(t, 1), unique(t, "group")
		k.produce(t, topic, 0, numbers(0, 10)...)
		entered, release := make(chan int64, 10), make(chan struct{})
		m := k.start(t, group, []string{topic}, func(p *consumer.Params) {
			p.Handle = func(_ context.Context, w *consumer.Work) error {
				rec := w.Records[0]
				entered <- rec.Offset
				<-release
				return nil
			}
		})
		for range 5 {
			receive(t, entered, "record")
			release <- struct{}{}
		}
		receive(t, entered, "record") // number 5 stays inside
		eventually(t, func() bool { return k.committed(t, group, topic, 0) == 5 }, "five are committed")
		close(release)
		eventually(t, func() bool { return k.committed(t, group, topic, 0) == 10 }, "all are committed")
		m.stop()
	})
}

func TestResumesAfterRestart(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, k *kafka) {
		topic, group := k.topic(t, 1), unique(t, "group")
		k.produce(t, topic, 0, numbers(0, 100)...)
		m := k.start(t, group, []string{topic})
		assert.ElementsMatch(t, numbers(0, 100), m.values(100))
		m.stop()
		if k.fake != nil {
			assert.EqualValues(t, 0, k.fake.GroupInfo(group).Commits[topic][0].LeaderEpoch, "of the last record that is finished")
		}
		k.produce(t, topic, 0, numbers(100, 110)...)
		m = k.start(t, group, []string{topic})
		assert.ElementsMatch(t, numbers(100, 110), m.values(10))
		m.stop()
		m.quiet()
	})
}

func TestStartsAtTheLatest(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, k *kafka) {
		topic, group := k.topic(t, 1), unique(t, "group")
		k.produce(t, topic, 0, numbers(0, 10)...)
		latest := func(p *consumer.Params) { p.StartLatest = true }
		m := k.start(t, group, []string{topic}, latest)
		// The place is committed although nothing was handled: what comes while nobody is there is not skipped.
		eventually(t, func() bool { return k.committed(t, group, topic, 0) == 10 }, "the beginning is committed")
		m.stop()
		m.quiet()
		k.produce(t, topic, 0, "while nobody was there")
		m = k.start(t, group, []string{topic}, latest)
		assert.Equal(t, []string{"while nobody was there"}, m.values(1))
	})
}

// What appears while a group runs holds nothing from before it began, whatever it does with what was there.
func TestStartsAtTheLatestButWhereSomethingIsNew(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, k *kafka) {
		topic, later, group := k.topic(t, 1), unique(t, "later"), unique(t, "group")
		k.produce(t, topic, 0, "old")
		latest := func(p *consumer.Params) { p.StartLatest = true }
		m := k.start(t, group, []string{topic, later}, latest)
		eventually(t, func() bool { return k.committed(t, group, topic, 0) == 1 }, "the beginning is committed")

		_, err := k.admin.CreatePartitions(t.Context(), 1, topic)
		require.NoError(t, err)
		k.produceTo(t, topic, 1, "new partition")
		assert.Equal(t, []string{"new partition"}, m.values(1))
		k.create(t, later, 1, nil)
		k.produceTo(t, later, 0, "new topic")
		assert.Equal(t, []string{"new topic"}, m.values(1))
		eventually(t, func() bool { return k.committed(t, group, later, 0) == 1 }, "committed")
		m.stop()

		_, err = k.admin.CreatePartitions(t.Context(), 1, later) // while nobody is there
		require.NoError(t, err)
		k.produceTo(t, later, 1, "while nobody was there")
		m = k.start(t, group, []string{topic, later}, latest)
		assert.Equal(t, []string{"while nobody was there"}, m.values(1))
		m.stop()
		m.quiet()
	})
}

func TestAnErrorOfTheHandlerEndsRun(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, k *kafka) {
		topic, group := k.topic(t, 2), unique(t, "group")
		k.produce(t, topic, 0, numbers(0, 10)...)
		k.produce(t, topic, 1, numbers(0, 1)...)
		boom := errors.New("boom")
		inside, release := make(chan struct{}), make(chan struct{})
		m := k.start(t, group, []string{topic}, func(p *consumer.Params) {
			p.Handle = func(ctx context.Context, w *consumer.Work) error {
				rec := w.Records[0]
				switch {
				case rec.Partition == 1:
					close(inside)
					<-release
					return ctx.Err()
				case rec.Offset == 4:
					<-inside
					defer close(release)
					return boom
				}
				return nil
			}
		})
		require.ErrorIs(t, m.wait(), boom)
		assert.EqualValues(t, 4, k.committed(t, group, topic, 0), "not past the failed record")
		assert.EqualValues(t, 1, k.committed(t, group, topic, 1), "the other partition has drained")
	})
}

func TestAPanicOfTheHandlerEndsRun(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, k *kafka) {
		topic, group := k.topic(t, 1), unique(t, "group")
		k.produce(t, topic, 0, numbers(0, 3)...)
		m := k.start(t, group, []string{topic}, func(p *consumer.Params) {
			p.Handle = func(_ context.Context, w *consumer.Work) error {
				rec := w.Records[0]
				if rec.Offset == 2 {
					panic("boom")
				}
				return nil
			}
		})
		var pe *consumer.PanicError
		require.ErrorAs(t, m.wait(), &pe)
		assert.Equal(t, "boom", pe.Value)
		assert.EqualValues(t, 2, k.committed(t, group, topic, 0))
	})
}

func TestAHandlerThatEndsItsGoroutineEndsRun(t *testing.T) {
	t.Parallel()
	k := fake(t)
	topic, group := k.topic(t, 1), unique(t, "group")
	k.produce(t, topic, 0, numbers(0, 3)...)
	m := k.start(t, group, []string{topic}, func(p *consumer.Params) {
		p.Handle = func(_ context.Context, w *consumer.Work) error {
			rec := w.Records[0]
			if rec.Offset == 2 {
				runtime.Goexit()
			}
			return nil
		}
	})
	require.ErrorContains(t, m.wait(), "handle offset 2 of "+topic+"/0: the handler ended its goroutine")
	assert.EqualValues(t, 2, k.committed(t, group, topic, 0))
}
