package messaging

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/expensevault/sharedlibrary/events"
	"github.com/expensevault/sharedlibrary/internal/consumer"
	"github.com/expensevault/sharedlibrary/internal/recordbatch"
)

type paid struct {
	events.Base
	Secret string `json:"secret"`
	Amount int    `json:"amount"`
}

func (*paid) Topic() events.Topic    { return events.NewTopic("shop", "order", "paid") }
func (e *paid) PartitionKey() string { return e.Secret }

// pipelineTest is a pipeline without a broker.
type pipelineTest struct {
	*pipeline

	mux     Mux
	rec     *recordbatch.Record
	event   *paid
	log     bytes.Buffer
	sent    []Record
	refuse  error     // of the dead-letter topic
	created time.Time // until when it refuses; zero: for ever
	tries   int       // to write there
	stop    context.CancelFunc
	stopped context.Context //nolint:containedctx // ends with stop
	lost    bool            // whether the partition is another member's
}

// errUnfinished is what run returns for a record that is to be handled again.
var errUnfinished = errors.New("not finished")

func (p *pipelineTest) Owned(ctx context.Context) bool { return !p.lost && ctx.Err() == nil }
func (p *pipelineTest) Draining() bool                 { return p.stopped.Err() != nil }

// run does what the engine does with a record.
func (p *pipelineTest) run(ctx context.Context) error {
	w := consumer.Work{Records: []*recordbatch.Record{p.rec}, Attempt: 1, Guard: p}
	for {
		err := p.handle(ctx, &w)
		var again *consumer.Again
		if !errors.As(err, &again) {
			return err
		}
		w.Attempt++
		select {
		case <-time.After(again.After):
		case <-p.stopped.Done():
		case <-ctx.Done():
		}
		if p.Draining() || ctx.Err() != nil || p.lost {
			return errUnfinished
		}
	}
}

func newPipelineTest(t *testing.T, handle func(context.Context, *paid) error, opts ...HandlerOption) *pipelineTest {
	t.Helper()
	p := &pipelineTest{event: &paid{Secret: "the-secret-key", Amount: 7}}
	Handle(&p.mux, handle, opts...)
	r, err := Encode(t.Context(), p.event)
	require.NoError(t, err)
	p.rec = &recordbatch.Record{
		Topic: "paid-here", Partition: 3, Offset: 42, Timestamp: r.Timestamp, Key: r.Key, Value: r.Value, Headers: r.Headers,
	}
	stop, cancel := context.WithCancel(t.Context())
	p.stopped, p.stop = stop, cancel
	p.pipeline = &pipeline{
		log: slog.New(slog.NewJSONHandler(&p.log, nil)), mux: &p.mux, group: "billing", retry: defaultRetry(),
		routes:           map[string]*route{"paid-here": p.mux.route("shop.order.paid")},
		deadLetterTopics: map[string]string{"paid-here": "paid-here-dlt"},
		write: func(_ context.Context, r Record) error {
			p.tries++
			if p.refuse != nil && (p.created.IsZero() || time.Now().Before(p.created)) {
				return p.refuse
			}
			p.sent = append(p.sent, r)
			return nil
		},
	}
	return p
}

// lines returns what was logged.
func (p *pipelineTest) lines(t *testing.T) []map[string]any {
	t.Helper()
	assert.NotContains(t, p.log.String(), "the-secret-key", "neither key nor value is logged")
	var out []map[string]any
	for dec := json.NewDecoder(&p.log); dec.More(); {
		var line map[string]any
		require.NoError(t, dec.Decode(&line))
		out = append(out, line)
	}
	return out
}

func levels(lines []map[string]any) string {
	all := make([]string, len(lines))
	for i, l := range lines {
		all[i] = fmt.Sprint(l["level"])
	}
	return strings.Join(all, " ")
}

func header(r Record, name string) string {
	var found []string
	for _, h := range r.Headers {
		if h.Key == name {
			found = append(found, string(h.Value))
		}
	}
	return strings.Join(found, "|")
}

func TestHandledAtOnce(t *testing.T) {
	t.Parallel()
	var got Delivery
	p := newPipelineTest(t, func(ctx context.Context, _ *paid) error {
		got, _ = DeliveryFrom(ctx)
		return nil
	})
	require.NoError(t, p.run(t.Context()))
	assert.Equal(t, Delivery{
		Topic: "paid-here", Partition: 3, Offset: 42, Attempt: 1, Group: "billing",
		Key: p.rec.Key, Headers: p.rec.Headers, Time: p.rec.Timestamp,
	}, got)
	assert.Empty(t, p.sent)
	assert.Empty(t, p.lines(t))
}

func TestFailsTwiceThenSucceeds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var attempts []int
		var at []time.Duration
		begin := time.Now()
		p := newPipelineTest(t, func(ctx context.Context, e *paid) error {
			d, _ := DeliveryFrom(ctx)
			attempts, at = append(attempts, d.Attempt), append(at, time.Since(begin))
			assert.Equal(t, 7, e.Amount, "each attempt has an event of its own")
			e.Amount = 0
			if d.Attempt < 3 {
				return fmt.Errorf("wrapped: %w", errors.New("not yet"))
			}
			return nil
		})
		require.NoError(t, p.run(t.Context()))
		assert.Equal(t, []int{1, 2, 3}, attempts)
		assert.Empty(t, p.sent)
		// Pauses of 250 and 500 ms, less up to a half.
		assert.GreaterOrEqual(t, at[1], 125*time.Millisecond)
		assert.LessOrEqual(t, at[1], 250*time.Millisecond)
		assert.GreaterOrEqual(t, at[2]-at[1], 250*time.Millisecond)
		assert.LessOrEqual(t, at[2]-at[1], 500*time.Millisecond)

		lines := p.lines(t)
		require.Equal(t, "WARN WARN", levels(lines))
		line := lines[1]
		assert.Equal(t, "paid-here", line["messaging.destination.name"])
		assert.EqualValues(t, 3, line["messaging.destination.partition.id"])
		assert.EqualValues(t, 42, line["messaging.kafka.offset"])
		assert.Equal(t, "billing", line["messaging.consumer.group.name"])
		assert.Equal(t, p.event.EventID.String(), line["messaging.message.id"])
		assert.EqualValues(t, 2, line["attempt"])
		assert.Equal(t, "*errors.errorString", line["error.type"])
		assert.Equal(t, "wrapped: not yet", line["error"])
	})
}

func TestSpentRetriesAreDeadLettered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var attempts int
		p := newPipelineTest(t, func(context.Context, *paid) error {
			attempts++
			return errors.New("line one\nline two\x00" + strings.Repeat("é", 1000))
		}, WithRetry(3, time.Second, time.Second))
		p.rec.Headers = append(p.rec.Headers,
			Header{Key: "dlt-original-topic", Value: []byte("an earlier one")},
			Header{Key: "binary", Value: []byte{0, 0xff}}, Header{Key: "binary", Value: nil},
			Header{Key: "dlt-attempts", Value: []byte("99")}, Header{Key: "dlt-attempts", Value: []byte("98")},
			Header{Key: "dlt-of-theirs", Value: []byte("stays")})
		require.NoError(t, p.run(t.Context()))
		assert.Equal(t, 3, attempts)
		require.Len(t, p.sent, 1)
		dead := p.sent[0]
		assert.Equal(t, "paid-here-dlt", dead.Topic)
		assert.Equal(t, p.rec.Key, dead.Key)
		assert.Equal(t, p.rec.Value, dead.Value)
		assert.True(t, dead.Timestamp.IsZero(), "the moment of publishing")
		assert.Equal(t, "paid-here", header(dead, "dlt-original-topic"), "replaced, not doubled")
		assert.Equal(t, "3", header(dead, "dlt-original-partition"))
		assert.Equal(t, "42", header(dead, "dlt-original-offset"))
		assert.Equal(t, p.rec.Timestamp.Format("2006-01-02T15:04:05.000Z"), header(dead, "dlt-original-timestamp"))
		assert.Equal(t, "billing", header(dead, "dlt-original-consumer-group"))
		assert.Equal(t, "*errors.errorString", header(dead, "dlt-error-type"))
		message := header(dead, "dlt-error-message")
		assert.True(t, strings.HasPrefix(message, "line one line two ééé"), message)
		assert.Len(t, message, 1024)
		assert.Equal(t, "3", header(dead, "dlt-attempts"))
		failed, err := time.Parse(time.RFC3339, header(dead, "dlt-failed-at"))
		require.NoError(t, err)
		assert.WithinDuration(t, time.Now(), failed, time.Second)
		// The rest is as it was, and in order.
		var rest []Header
		for _, h := range p.rec.Headers {
			if h.Key != "dlt-original-topic" && h.Key != "dlt-attempts" {
				rest = append(rest, h)
			}
		}
		assert.Equal(t, rest, dead.Headers[:len(dead.Headers)-9])

		lines := p.lines(t)
		require.Equal(t, "WARN WARN ERROR", levels(lines))
		assert.Equal(t, "paid-here-dlt", lines[2]["dead_letter.topic"])
		assert.EqualValues(t, 3, lines[2]["attempt"])
	})
}

func TestPermanentIsDeadLetteredAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var attempts int
		p := newPipelineTest(t, func(context.Context, *paid) error {
			attempts++
			return fmt.Errorf("wrapped: %w", Permanent(fmt.Errorf("again: %w", context.DeadlineExceeded)))
		})
		begin := time.Now()
		require.NoError(t, p.run(t.Context()))
		assert.Equal(t, 1, attempts)
		assert.Zero(t, time.Since(begin))
		require.Len(t, p.sent, 1)
		assert.Equal(t, "context.deadlineExceededError", header(p.sent[0], "dlt-error-type"))
		assert.Equal(t, "1", header(p.sent[0], "dlt-attempts"))
	})
}

func TestUndecodableIsDeadLetteredAtOnce(t *testing.T) {
	t.Parallel()
	for name, value := range map[string][]byte{
		"broken":    []byte(`{"eventId":"the-secret-key"}`),
		"tombstone": nil,
		"empty":     {},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newPipelineTest(t, func(context.Context, *paid) error { t.Error("was handled"); return nil })
			p.rec.Value = value
			require.NoError(t, p.run(t.Context()))
			require.Len(t, p.sent, 1)
			assert.Equal(t, value, p.sent[0].Value)
			assert.Equal(t, value == nil, p.sent[0].Value == nil, "a tombstone stays one")
			assert.Equal(t, "decode_error", header(p.sent[0], "dlt-error-type"))
			lines := p.lines(t)
			require.Equal(t, "ERROR", levels(lines))
			assert.Equal(t, p.event.EventID.String(), lines[0]["messaging.message.id"], "of the headers")
		})
	}
}

func TestPanicIsRetriedAndItsStackLoggedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPipelineTest(t, func(context.Context, *paid) error { panic("the cause") })
		require.NoError(t, p.run(t.Context()))
		require.Len(t, p.sent, 1)
		assert.Equal(t, "panic", header(p.sent[0], "dlt-error-type"))
		assert.Equal(t, "panic: the cause", header(p.sent[0], "dlt-error-message"))
		assert.Equal(t, "5", header(p.sent[0], "dlt-attempts"))
		assert.Equal(t, 1, strings.Count(p.log.String(), "exception.stacktrace"))
		lines := p.lines(t)
		assert.Equal(t, "WARN WARN WARN WARN ERROR", levels(lines))
		assert.Contains(t, lines[0]["exception.stacktrace"], "TestPanicIsRetried")
	})
}

// nullError panics when it is nil, as most error types do.
type nullError struct{ text string }

func (e *nullError) Error() string { return e.text }

// worseError has no method that returns, and panics with itself.
type worseError struct{}

func (e worseError) Error() string     { panic(e) }
func (e worseError) Unwrap() error     { panic(e) }
func (e worseError) Is(error) bool     { panic(e) }
func (e worseError) As(any) bool       { panic(e) }
func (e worseError) String() string    { panic(e) }
func (e worseError) ErrorType() string { panic(e) }

// An error that cannot be read is no reason to stop for ever at its record.
func TestErrorThatPanics(t *testing.T) {
	var null *nullError
	for _, tc := range []struct {
		name     string
		fail     func() error
		attempts string
		want     string
	}{
		{"nil pointer", func() error { return null }, "5", "*messaging.nullError, cannot be read: runtime error: invalid memory address"},
		{"wrapped nil pointer", func() error { return errors.Join(errors.New("one"), null) }, "5", "*errors.joinError, cannot be read"},
		{"permanent", func() error { return Permanent(null) }, "1", "cannot be read: runtime error"},
		{"every method", func() error { return worseError{} }, "5", "messaging.worseError, cannot be read: a messaging.worseError"},
		{"permanent with every method", func() error { return Permanent(worseError{}) }, "1", "cannot be read"},
		{"panic with it", func() error { panic(worseError{}) }, "5", "*messaging.PanicError, cannot be read"},
		{"panic with a nil pointer", func() error { panic(null) }, "5", "panic: <nil>"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := newPipelineTest(t, func(context.Context, *paid) error { return tc.fail() })
				require.NoError(t, p.run(t.Context()))
				require.Len(t, p.sent, 1)
				assert.Equal(t, tc.attempts, header(p.sent[0], "dlt-attempts"))
				assert.Equal(t, "panic", header(p.sent[0], "dlt-error-type"))
				assert.Contains(t, header(p.sent[0], "dlt-error-message"), tc.want)
				assert.Equal(t, 1, strings.Count(p.log.String(), "exception.stacktrace"))
				lines := p.lines(t)
				assert.Equal(t, "panic", lines[0]["error.type"])
				assert.Contains(t, lines[0]["error"], tc.want)
			})
		})
	}
}

func TestRetryAfterSetsThePause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPipelineTest(t, func(ctx context.Context, _ *paid) error {
			switch d, _ := DeliveryFrom(ctx); d.Attempt {
			case 1:
				return fmt.Errorf("wrapped: %w", RetryAfter(time.Hour, errors.New("busy")))
			case 2:
				return RetryAfter(-time.Second, errors.New("busy"))
			}
			return nil
		})
		begin := time.Now()
		require.NoError(t, p.run(t.Context()))
		assert.Equal(t, time.Hour, time.Since(begin))
	})
}

// A handler's own timeout, or a cancelled call of its own, is a failure.
func TestHandlersOwnContextErrorIsAFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, cause := range []error{context.Canceled, context.DeadlineExceeded} {
			var attempts int
			p := newPipelineTest(t, func(context.Context, *paid) error { attempts++; return cause })
			require.NoError(t, p.run(t.Context()))
			assert.Equal(t, 5, attempts)
			assert.Len(t, p.sent, 1)
		}
	})
}

func TestStopEndsThePause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPipelineTest(t, func(context.Context, *paid) error { return errors.New("failed") }, WithRetry(2, time.Hour, time.Hour))
		done := make(chan error, 1)
		go func() { done <- p.run(t.Context()) }()
		synctest.Wait()
		begin := time.Now()
		p.stop()
		require.ErrorIs(t, <-done, errUnfinished)
		assert.Zero(t, time.Since(begin))
		assert.Empty(t, p.sent)
	})
}

func TestLostPartitionEndsThePause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPipelineTest(t, func(context.Context, *paid) error { return errors.New("failed") }, WithRetry(2, time.Hour, time.Hour))
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- p.run(ctx) }()
		synctest.Wait()
		cancel()
		require.ErrorIs(t, <-done, errUnfinished)
		assert.Empty(t, p.sent)
	})
}

// What fails while the service shuts down may fail for that reason: it is neither done nor dead.
func TestFailureWhileStoppingIsUnfinished(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var p *pipelineTest
		p = newPipelineTest(t, func(context.Context, *paid) error { p.stop(); return errors.New("database is closed") }, WithRetry(1, 0, 0))
		require.ErrorIs(t, p.run(t.Context()), errUnfinished)
		assert.Empty(t, p.sent)
		assert.Equal(t, "INFO", levels(p.lines(t)))

		p = newPipelineTest(t, func(context.Context, *paid) error { p.stop(); return nil })
		require.NoError(t, p.run(t.Context()), "what is done is done")

		p = newPipelineTest(t, func(context.Context, *paid) error { p.stop(); return Permanent(errors.New("no")) })
		require.NoError(t, p.run(t.Context()))
		assert.Len(t, p.sent, 1)
	})
}

func TestFailureOfALostPartitionIsUnfinished(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	p := newPipelineTest(t, func(ctx context.Context, _ *paid) error { cancel(); return Permanent(ctx.Err()) })
	require.ErrorIs(t, p.run(ctx), errUnfinished)
	assert.Empty(t, p.sent)
}

func TestDeadLetterThatCannotBeWritten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPipelineTest(t, func(context.Context, *paid) error { return Permanent(errors.New("failed")) })
		p.refuse = &PublishError{Topic: "paid-here-dlt", Err: ErrUnknownTopic}
		p.created = time.Now().Add(time.Hour)
		begin := time.Now()
		require.NoError(t, p.run(t.Context()))
		assert.GreaterOrEqual(t, time.Since(begin), time.Hour, "the record is not finished before")
		assert.LessOrEqual(t, time.Since(begin), time.Hour+10*time.Second)
		assert.Greater(t, p.tries, 300, "at least every 10 s")
		require.Len(t, p.sent, 1)

		lines := p.lines(t)
		assert.Greater(t, len(lines), 100, "it is said again")
		assert.Less(t, len(lines), 122, "but not more than every 30 s")
		assert.Contains(t, lines[0]["msg"], "EnsureTopics")
		assert.Contains(t, lines[0]["dead_letter.error"], "does not exist")
		assert.Equal(t, "failed", lines[0]["error"])
		assert.Contains(t, lines[len(lines)-1]["msg"], "went to the dead-letter topic")
	})
}

// A handler may take so long that its partition is another member's before it fails.
func TestNoDeadLetterOfALostPartition(t *testing.T) {
	t.Parallel()
	var p *pipelineTest
	p = newPipelineTest(t, func(context.Context, *paid) error { p.lost = true; return Permanent(errors.New("failed")) })
	require.ErrorIs(t, p.run(t.Context()), errUnfinished)
	assert.Zero(t, p.tries)
}

// Once a record is to be a dead letter its handler is not called again.
func TestADeadLetterIsTriedAgainWithoutTheHandler(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var attempts int
		p := newPipelineTest(t, func(context.Context, *paid) error { attempts++; return errors.New("failed") }, WithRetry(2, 0, 0))
		p.refuse, p.created = errors.New("away"), time.Now().Add(time.Minute)
		require.NoError(t, p.run(t.Context()))
		assert.Equal(t, 2, attempts)
		require.Len(t, p.sent, 1)
		assert.Equal(t, "2", header(p.sent[0], "dlt-attempts"))
	})
}

func TestStopWhileADeadLetterCannotBeWritten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPipelineTest(t, func(context.Context, *paid) error { return Permanent(errors.New("failed")) })
		p.refuse = errors.New("away")
		done := make(chan error, 1)
		go func() { done <- p.run(t.Context()) }()
		synctest.Wait()
		p.stop()
		require.ErrorIs(t, <-done, errUnfinished)
	})
}

func TestMiddlewareCannotChangeTheDeadLetter(t *testing.T) {
	t.Parallel()
	p := newPipelineTest(t, func(context.Context, *paid) error { return Permanent(errors.New("failed")) })
	p.mux.Use(func(next HandlerFunc) HandlerFunc {
		return func(ctx context.Context, r Record) error {
			r.Headers = append(r.Headers, Header{Key: "added"})
			r.Key, r.Topic = nil, "elsewhere"
			return next(ctx, r)
		}
	})
	p.rec.Headers = append(make([]Header, 0, 100), p.rec.Headers...)
	require.NoError(t, p.run(t.Context()))
	require.Len(t, p.sent, 1)
	assert.Empty(t, header(p.sent[0], "added"))
	assert.Equal(t, p.rec.Key, p.sent[0].Key)
}

func TestPrintable(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"":                   "",
		"plain":              "plain",
		"0123456789abcdef":   "01234567",
		"1234567é":           "1234567",
		"a\r\nb\tc\x7f":      "a  b c ",
		"a\u0085b\u2028c":    "a b c",
		"\xff\xfe":           "??",
		"\u0085\u0085\u0085": "   ",
	} {
		assert.Equal(t, want, printable(in, 8), "%q", in)
	}
}
