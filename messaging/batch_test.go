package messaging

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/expensevault/sharedlibrary/internal/consumer"
	"github.com/expensevault/sharedlibrary/internal/recordbatch"
)

// batchTest is a pipeline with a batch handler and n records in one partition.
func batchTest(t *testing.T, n int, handle func(ctx context.Context, amounts []int) error, opts ...HandlerOption) (*pipelineTest, *consumer.Work) {
	t.Helper()
	p := newPipelineTest(t, func(context.Context, *paid) error { return nil })
	p.mux.routes = nil
	HandleBatch(&p.mux, func(ctx context.Context, batch []*paid) error {
		amounts := make([]int, len(batch))
		for i, e := range batch {
			amounts[i] = e.Amount
		}
		return handle(ctx, amounts)
	}, opts...)
	p.routes["paid-here"] = p.mux.route("shop.order.paid")
	w := &consumer.Work{Attempt: 1, Guard: p}
	for i := range n {
		r, err := Encode(t.Context(), &paid{Secret: "the-secret-key", Amount: i})
		require.NoError(t, err)
		w.Records = append(w.Records, &recordbatch.Record{
			Topic: "paid-here", Offset: int64(i), Timestamp: r.Timestamp, Key: r.Key, Value: r.Value, Headers: r.Headers,
		})
	}
	return p, w
}

// runBatch does what the engine does with the work.
func (p *pipelineTest) runBatch(ctx context.Context, w *consumer.Work) error {
	for {
		err := p.handle(ctx, w)
		var again *consumer.Again
		if !errors.As(err, &again) {
			return err
		}
		if p.Draining() {
			return errUnfinished
		}
		w.Records = w.Records[again.Done:]
		w.Attempt++
		<-time.After(again.After)
	}
}

func deadOffsets(p *pipelineTest) (out []string) {
	for _, r := range p.sent {
		out = append(out, header(r, headerOriginalOffset)+" "+header(r, headerErrorType)+" "+header(r, headerAttempts))
	}
	return out
}

func TestBatch(t *testing.T) {
	for _, tc := range []struct {
		name   string
		broken []int // records that do not decode
		handle func(calls int, amounts []int) error
		calls  string
		dead   []string
	}{
		{"all at once", nil, func(int, []int) error { return nil }, "[0 1 2 3]", nil},
		{"one undecodable in the middle", []int{1}, func(int, []int) error { return nil }, "[0][2 3]", []string{"1 decode_error 1"}},
		{"undecodable at both ends", []int{0, 3}, func(int, []int) error { return nil }, "[1 2]", []string{"0 decode_error 1", "3 decode_error 1"}},
		{"tried again as a whole", nil, func(n int, _ []int) error {
			if n == 1 {
				return errors.New("not yet")
			}
			return nil
		}, "[0 1 2 3][0 1 2 3]", nil},
		{"one that is bad, and not named", nil, func(_ int, amounts []int) error {
			if slices.Contains(amounts, 2) {
				return errors.New("two")
			}
			return nil
		}, "[0 1 2 3][0 1 2 3][0][1][2][3]", []string{"2 *errors.errorString 3"}},
		{"permanent, and not named", nil, func(_ int, amounts []int) error {
			if amounts[0] == 0 {
				return Permanent(errors.New("zero"))
			}
			return nil
		}, "[0 1 2 3][0][1][2][3]", []string{"0 *errors.errorString 2"}},
		{"named", nil, func(_ int, amounts []int) error {
			for i, a := range amounts {
				if a == 2 {
					return fmt.Errorf("wrapped: %w", FailedAt(i, errors.New("two")))
				}
			}
			return nil
		}, "[0 1 2 3][2 3][3]", []string{"2 *errors.errorString 2"}},
		{"named and permanent", nil, func(_ int, amounts []int) error {
			for i, a := range amounts {
				if a == 2 {
					return FailedAt(i, Permanent(errors.New("two")))
				}
			}
			return nil
		}, "[0 1 2 3][3]", []string{"2 *errors.errorString 1"}},
		{"a panic", nil, func(_ int, amounts []int) error {
			if len(amounts) > 1 || amounts[0] == 1 {
				panic("no")
			}
			return nil
		}, "[0 1 2 3][0 1 2 3][0][1][2][3]", []string{"1 panic 3"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				calls, seen := 0, ""
				p, w := batchTest(t, 4, func(_ context.Context, amounts []int) error {
					calls++
					seen += fmt.Sprint(amounts)
					return tc.handle(calls, amounts)
				}, WithRetry(2, time.Second, time.Second))
				for _, i := range tc.broken {
					w.Records[i].Value = []byte("{")
				}
				require.NoError(t, p.runBatch(t.Context(), w))
				assert.Equal(t, tc.calls, seen)
				assert.Equal(t, tc.dead, deadOffsets(p))
			})
		})
	}
}

// TestBatchMiddleware: each record passes it, the first outermost; one that is taken out is finished, and the others are handled.
func TestBatchMiddleware(t *testing.T) {
	t.Parallel()
	seen := ""
	p, w := batchTest(t, 3, func(ctx context.Context, amounts []int) error {
		d, ok := DeliveryFrom(ctx)
		assert.True(t, ok)
		assert.Nil(t, d.Key)
		seen += fmt.Sprint(amounts, "@", d.Offset, " ")
		return nil
	})
	p.mux.Use(func(next HandlerFunc) HandlerFunc {
		return func(ctx context.Context, r Record) error {
			d, _ := DeliveryFrom(ctx)
			seen += "+" + strconv.FormatInt(d.Offset, 10) + " "
			if d.Offset == 1 {
				return nil
			}
			defer func() { seen += "-" + strconv.FormatInt(d.Offset, 10) + " " }()
			return next(ctx, r)
		}
	})
	require.NoError(t, p.runBatch(t.Context(), w))
	assert.Equal(t, "+0 +1 +2 [0 2]@0 -2 -0 ", seen)
	assert.Empty(t, p.sent)
}

// TestBatchWhileStopping: what failed for whatever reason while Run stops is not finished.
func TestBatchWhileStopping(t *testing.T) {
	t.Parallel()
	var p *pipelineTest
	p, w := batchTest(t, 3, func(context.Context, []int) error { p.stop(); return errors.New("closed") }, WithRetry(1, 0, 0))
	require.ErrorIs(t, p.runBatch(t.Context(), w), errUnfinished)
	assert.Empty(t, p.sent)
}

// TestUnhandled: each policy, by version and by type.
func TestUnhandled(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name   string
		policy UnhandledPolicy
		opts   []HandlerOption
		edit   func(*paid)
		calls  int
		dead   int
		fails  bool
	}{
		{"another version", UnhandledDeadLetter, nil, func(e *paid) { e.EventVersion = "2.0" }, 0, 1, false},
		{"another type", UnhandledDeadLetter, nil, func(e *paid) { e.EventType = "refunded" }, 0, 1, false},
		{"a minor version", UnhandledDeadLetter, nil, func(e *paid) { e.EventVersion = "1.7" }, 1, 0, false},
		{"another case", UnhandledDeadLetter, nil, func(e *paid) { e.EventType = "Paid" }, 1, 0, false},
		{"versions", UnhandledDeadLetter, []HandlerOption{WithVersions("1", "2")}, func(e *paid) { e.EventVersion = "2.0" }, 1, 0, false},
		{"skip", UnhandledSkip, nil, func(e *paid) { e.EventVersion = "2.0" }, 0, 0, false},
		{"stop", UnhandledStop, nil, func(e *paid) { e.EventVersion = "2.0" }, 0, 0, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			calls := 0
			p := newPipelineTest(t, func(context.Context, *paid) error { calls++; return nil }, tc.opts...)
			p.unhandled = tc.policy
			e := &paid{Secret: "the-secret-key"}
			tc.edit(e)
			r, err := Encode(t.Context(), e)
			require.NoError(t, err)
			p.rec.Value, p.rec.Headers = r.Value, r.Headers
			err = p.run(t.Context())
			var unhandled *UnhandledError
			assert.Equal(t, tc.fails, errors.As(err, &unhandled))
			assert.Equal(t, tc.calls, calls)
			assert.Len(t, p.sent, tc.dead)
		})
	}
}

// TestRetryTopics follows a record through two retry topics into the dead letters.
func TestRetryTopics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var attempts []int
		p := newPipelineTest(t, func(ctx context.Context, _ *paid) error {
			d, _ := DeliveryFrom(ctx)
			assert.Equal(t, Delivery{Topic: "paid-here", Partition: 3, Offset: 42, Attempt: d.Attempt, Group: "billing", Key: d.Key, Headers: d.Headers, Time: d.Time}, d)
			attempts = append(attempts, d.Attempt)
			return errors.New("never")
		}, WithRetry(2, 0, 0))
		p.retryTopics = map[string][]string{"paid-here": {"r-1", "r-2"}}
		p.stages = map[string]retryStage{"r-1": {"paid-here", 1, time.Minute}, "r-2": {"paid-here", 2, time.Hour}}
		p.routes["r-1"], p.routes["r-2"] = p.routes["paid-here"], p.routes["paid-here"]
		original := *p.rec
		for i, want := range []struct {
			topic string
			wait  time.Duration
		}{{"r-1", 0}, {"r-2", time.Minute}, {"paid-here-dlt", time.Hour}} {
			begin := time.Now()
			require.NoError(t, p.run(t.Context()))
			assert.InDelta(t, float64(want.wait), float64(time.Since(begin)), float64(time.Millisecond), "it is not begun before, nor much later")
			require.Len(t, p.sent, i+1)
			r := p.sent[i]
			require.Equal(t, want.topic, r.Topic)
			assert.Equal(t, original.Value, r.Value)
			p.rec = &recordbatch.Record{Topic: r.Topic, Partition: 1, Offset: 7, Timestamp: r.Timestamp, Key: r.Key, Value: r.Value, Headers: r.Headers}
		}
		assert.Equal(t, []int{1, 2, 3, 4, 5, 6}, attempts)
		dead := p.sent[2]
		assert.Equal(t, "6", header(dead, headerAttempts))
		assert.Equal(t, "paid-here", header(dead, headerOriginalTopic))
		assert.Equal(t, "3", header(dead, headerOriginalPartition))
		assert.Equal(t, "42", header(dead, headerOriginalOffset))
		assert.Equal(t, original.Headers, dead.Headers[:len(original.Headers)])
		for _, h := range dead.Headers {
			assert.False(t, retryHeader(h.Key), h.Key)
		}
	})
}

// TestRetryHeadersAreNotTrusted: what they say makes nothing wait longer, or go further, than is set here.
func TestRetryHeadersAreNotTrusted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		attempt := 0
		p := newPipelineTest(t, func(ctx context.Context, _ *paid) error {
			d, _ := DeliveryFrom(ctx)
			attempt = d.Attempt
			return nil
		}, WithRetry(2, 0, 0))
		p.stages = map[string]retryStage{"r-1": {"paid-here", 1, time.Minute}}
		p.routes["r-1"] = p.routes["paid-here"]
		p.rec.Topic, p.rec.Timestamp = "r-1", time.Now().Add(1000*time.Hour)
		p.rec.Headers = append(p.rec.Headers,
			Header{Key: headerRetryGroup, Value: []byte("billing")}, Header{Key: headerRetryTopic, Value: []byte("paid-here")},
			Header{Key: headerRetryAttempt, Value: []byte("1000000")}, Header{Key: headerRetryDueAt, Value: []byte("2999-01-01T00:00:00Z")})
		begin := time.Now()
		require.NoError(t, p.run(t.Context()))
		assert.Equal(t, time.Minute, time.Since(begin))
		assert.Equal(t, 3, attempt, "two before, and this one")

		p.rec.Headers[len(p.rec.Headers)-4].Value = []byte("another")
		attempt = 0
		require.NoError(t, p.run(t.Context()))
		assert.Zero(t, attempt, "another group's is passed over")
	})
}
