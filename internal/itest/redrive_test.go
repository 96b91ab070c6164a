package itest

import (
	"context"
	"errors"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/expensevault/sharedlibrary/messaging"
)

// tooBusy is an error with a type of its own.
type tooBusy struct{}

func (tooBusy) Error() string     { return "too busy" }
func (tooBusy) ErrorType() string { return "too_busy" }

// failing has a group fail on ten records of one key: the even ones as too busy, the odd ones otherwise; then it is mended.
type failing struct {
	*consuming
	mended atomic.Bool
	got    chan int
}

func newFailing(t *testing.T, b broker) *failing {
	t.Helper()
	f := &failing{consuming: newConsuming(t, b, 1), got: make(chan int, 100)}
	f.createDead(t)
	messaging.Handle(&f.mux, func(_ context.Context, e *numbered) error {
		switch {
		case f.mended.Load(), e.N == 10:
			f.got <- e.N
			return nil
		case e.N%2 == 0:
			return messaging.Permanent(tooBusy{})
		}
		return messaging.Permanent(errors.New("odd"))
	})
	var recs []kafka.Record
	for n := range 11 {
		r := f.record(t, &numbered{Key: "k", N: n})
		r.Headers = append(r.Headers, kafka.Header{Key: "theirs", Value: []byte{0, 0xff, byte(n)}})
		recs = append(recs, r)
	}
	f.produce(t, recs...)
	stop := f.run(t)
	assert.Equal(t, 10, next(t, f.got))
	stop()
	require.Len(t, f.b.records(t, f.dead), 10)
	f.mended.Store(true)
	return f
}

func (f *failing) redrive(t *testing.T, r messaging.Redrive) messaging.RedriveResult {
	t.Helper()
	r.Config, r.DeadLetters = f.cfg, f.dead
	res, err := r.Run(t.Context())
	require.NoError(t, err)
	return res
}

// redriveSelected: a dry run changes nothing; a filter leaves letters for later; nothing is sent twice; and what is sent is the original.
func redriveSelected(t *testing.T, b broker) {
	f := newFailing(t, b)
	var listed []int64
	dry := f.redrive(t, messaging.Redrive{DryRun: true, Each: func(l messaging.DeadLetter) {
		assert.Equal(t, f.topic, l.OriginalTopic)
		assert.Equal(t, f.group, l.Group)
		assert.Equal(t, 1, l.Attempts)
		listed = append(listed, l.OriginalOffset)
	}})
	assert.Equal(t, messaging.RedriveResult{Read: 10, Matched: 10, ByErrorType: map[string]int{"too_busy": 5, "*errors.errorString": 5}}, dry)
	assert.ElementsMatch(t, []int64{0, 1, 2, 3, 4, 5, 6, 7, 8, 9}, listed)
	require.Len(t, b.records(t, f.topic), 11)

	busy := f.redrive(t, messaging.Redrive{ErrorTypes: []string{"too_busy"}})
	assert.Equal(t, messaging.RedriveResult{Read: 10, Matched: 5, Sent: 5, Filtered: 5, ByErrorType: map[string]int{"too_busy": 5}}, busy)
	assert.Zero(t, f.redrive(t, messaging.Redrive{ErrorTypes: []string{"too_busy"}}).Matched, "they were sent")
	assert.Zero(t, f.redrive(t, messaging.Redrive{Keys: []string{"other"}}).Matched)
	assert.Zero(t, f.redrive(t, messaging.Redrive{Groups: []string{"other"}}).Matched)
	assert.Zero(t, f.redrive(t, messaging.Redrive{Topics: []string{"other"}}).Matched)
	assert.Zero(t, f.redrive(t, messaging.Redrive{FailedUntil: time.Now().Add(-time.Hour)}).Matched)
	rest := f.redrive(t, messaging.Redrive{
		FailedFrom: time.Now().Add(-time.Hour), FailedUntil: time.Now().Add(time.Hour), Keys: []string{"k"}, Groups: []string{f.group}, Topics: []string{f.topic},
	})
	assert.Equal(t, 5, rest.Sent)
	assert.LessOrEqual(t, rest.Before, 5)
	assert.Zero(t, f.redrive(t, messaging.Redrive{}).Read, "all that was there is behind it")

	recs := b.records(t, f.topic)
	require.Len(t, recs, 21)
	var originals []messaging.Record
	for _, r := range recs {
		r.Timestamp = time.Time{}
		originals = append(originals, r)
	}
	for _, r := range originals[11:] {
		assert.Contains(t, originals[:11], r, "key, value and headers byte for byte")
	}
	stop := f.run(t)
	for _, n := range []int{0, 2, 4, 6, 8, 1, 3, 5, 7, 9} {
		assert.Equal(t, n, next(t, f.got), "in order, of a key, within a redrive")
	}
	stop()
	assert.Len(t, b.records(t, f.dead), 10, "they stay in the dead-letter topic")
}

// redriveToOneGroup: the group that failed handles the record again, the others do not.
func redriveToOneGroup(t *testing.T, b broker) {
	f := newFailing(t, b)
	other := &consuming{b: b, topic: f.topic, dead: f.dead, group: b.name("other"), cfg: f.cfg, quick: f.quick}
	heard := make(chan int, 100)
	messaging.Handle(&other.mux, func(_ context.Context, e *numbered) error { heard <- e.N; return nil })
	assert.Equal(t, 10, f.redrive(t, messaging.Redrive{OnlyFailedGroup: true, PerSecond: 500}).Sent)
	f.produce(t, f.record(t, &numbered{Key: "k", N: 99}))
	stop, stopOther := f.run(t), other.run(t)
	for n := range 10 {
		assert.Equal(t, n, next(t, f.got))
	}
	assert.Equal(t, 99, next(t, f.got))
	for n := range 11 {
		assert.Equal(t, n, next(t, heard))
	}
	assert.Equal(t, 99, next(t, heard), "without those that are for the other group")
	stop()
	stopOther()
	assert.Equal(t, f.committed(t), other.committed(t), "what was passed over is finished")
}

// redriveFailsInTheMiddle: what could be written is remembered, what could not is still there.
func redriveFailsInTheMiddle(t *testing.T, b broker) {
	f := newFailing(t, b)
	letter := func(topic, n string) kafka.Record {
		return kafka.Record{Key: protocol.NewBytes([]byte("k")), Value: protocol.NewBytes([]byte(n)), Headers: []kafka.Header{{Key: "dlt-original-topic", Value: []byte(topic)}}}
	}
	missing := b.name("missing")
	res, err := b.admin().Produce(t.Context(), &kafka.ProduceRequest{
		Topic: f.dead, Partition: 1, RequiredAcks: kafka.RequireAll, Records: kafka.NewRecordReader(
			letter(f.topic, "first"), letter(missing, "second"), kafka.Record{Value: protocol.NewBytes([]byte("foreign"))}, letter(f.topic, "third")),
	})
	require.NoError(t, err)
	require.NoError(t, res.Error)
	cfg := f.cfg
	cfg.MessageTimeout = 3 * time.Second
	var last messaging.RedriveResult
	r := messaging.Redrive{Config: cfg, DeadLetters: f.dead, Topics: nil, Progress: func(r messaging.RedriveResult) { last = r }}
	result, err := r.Run(t.Context())
	require.ErrorContains(t, err, "publish a record to "+missing)
	assert.Equal(t, 1, result.Foreign)
	assert.Equal(t, result.Sent, last.Sent)
	_, err = messaging.EnsureTopics(t.Context(), cfg, messaging.TopicSpec{Name: missing, Partitions: 1, ReplicationFactor: 1})
	require.NoError(t, err)
	again, err := r.Run(t.Context())
	require.NoError(t, err)
	assert.Equal(t, 12+1, result.Sent+again.Sent)
	require.Len(t, b.records(t, missing), 1)
	counts := map[string]int{}
	for _, rec := range b.records(t, f.topic) {
		counts[string(rec.Value)]++
	}
	assert.Equal(t, 1, counts["first"])
	assert.Equal(t, 1, counts["third"])
	third, err := r.Run(t.Context())
	require.NoError(t, err)
	assert.Zero(t, third.Sent, "the foreign one is left, "+strconv.Itoa(third.Foreign))
}

// redriveIsMisused says what to do.
func redriveIsMisused(t *testing.T, b broker) {
	c := newConsuming(t, b, 1)
	for want, r := range map[string]messaging.Redrive{
		"name the dead-letter topic":     {Config: c.cfg},
		"PerSecond is -1":                {Config: c.cfg, DeadLetters: c.topic, PerSecond: -1},
		"give FailedFrom before":         {Config: c.cfg, DeadLetters: c.topic, FailedFrom: time.Now(), FailedUntil: time.Now().Add(-time.Hour)},
		"the topic does not exist":       {Config: c.cfg, DeadLetters: "no.such.topic"},
		"letters, digits, '.', '_' and ": {Config: c.cfg, DeadLetters: "no such topic"},
	} {
		_, err := r.Run(t.Context())
		require.ErrorContains(t, err, want)
	}
}
