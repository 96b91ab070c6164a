package producer

import (
	"context"
	"log/slog"
	"net"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/expensevault/sharedlibrary/internal/backoff"
	"github.com/expensevault/sharedlibrary/internal/cluster"
	"github.com/expensevault/sharedlibrary/internal/wire"
)

// nowhere is a producer whose brokers never answer a dial.
func nowhere(log *slog.Logger) *Producer {
	return New(Params{
		Cluster: cluster.New(cluster.Params{Seeds: []string{"a:1"}, Wire: wire.Params{
			DialTimeout: time.Second,
			Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
				<-ctx.Done()
				return nil, ctx.Err()
			},
		}}),
		Logger: log, Acks: -1, Idempotent: true, MaxInFlight: 5,
		MessageTimeout: 30 * time.Second, RequestTimeout: 30 * time.Second,
		Backoff:     backoff.Policy{Min: 50 * time.Millisecond, Max: time.Second},
		Partitioner: CRC32, BufferBytes: 1 << 20,
	})
}

// told makes a function a Completion.
type told func(Result, error)

func (f told) Settled(_ int, res Result, err error) { f(res, err) }

// TestCancelledRecordsDoNotPileUp while no broker is there.
func TestCancelledRecordsDoNotPileUp(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := nowhere(slog.New(slog.DiscardHandler))
		var kept []Ticket
		for n := range 20_000 {
			ticket, err := p.Produce(t.Context(), &Record{Topic: "t", Value: []byte("x")}, time.Now(), told(func(Result, error) {}), 0)
			require.NoError(t, err)
			if n%10 == 0 {
				kept = append(kept, ticket)
				continue
			}
			p.Cancel(ticket, context.Canceled)
		}
		p.mu.Lock()
		held := 0
		for _, b := range p.topics["t"].pending {
			held += len(b.entries)
		}
		require.LessOrEqual(t, held, 2*len(kept)+1)
		require.LessOrEqual(t, p.buf.used, held*32)
		p.mu.Unlock()
		for _, ticket := range kept {
			p.Cancel(ticket, context.Canceled)
		}
		p.mu.Lock()
		require.Empty(t, p.topics["t"].pending)
		require.Zero(t, p.buf.used)
		p.mu.Unlock()
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		left, err := p.Close(ctx)
		require.NoError(t, err)
		require.Zero(t, left)
	})
}

// publishingHandler is a log handler that produces what it is given.
type publishingHandler struct {
	slog.Handler
	p *Producer
	n int
}

func (h *publishingHandler) Handle(ctx context.Context, r slog.Record) error {
	h.n++
	_, err := h.p.Produce(ctx, &Record{Topic: "logs", Value: []byte(r.Message)}, time.Now(), told(func(Result, error) {}), 0)
	return err
}

// TestLoggerMayPublish through the producer that logs.
func TestLoggerMayPublish(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := &publishingHandler{Handler: slog.NewTextHandler(t.Output(), nil)}
		p := nowhere(slog.New(h))
		h.p = p
		answered := make(chan error, 1)
		_, err := p.Produce(t.Context(), &Record{Topic: "t", Value: []byte("x")}, time.Now(), told(func(_ Result, err error) { answered <- err }), 0)
		require.NoError(t, err)
		begin := time.Now()
		require.ErrorIs(t, <-answered, ErrTimeout)
		require.Equal(t, 30*time.Second, time.Since(begin))
		require.Positive(t, h.n)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		_, err = p.Close(ctx)
		require.NoError(t, err)
	})
}

// TestEveryRecordIsAnsweredOnce by a Close that nobody waits for.
func TestEveryRecordIsAnsweredOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := nowhere(slog.New(slog.DiscardHandler))
		answers := map[string]int{}
		for n := range 100 {
			id := strconv.Itoa(n)
			_, err := p.Produce(t.Context(), &Record{Topic: id, Value: []byte("x")}, time.Now(), told(func(_ Result, err error) {
				answers[id]++
				require.ErrorIs(t, err, ErrClosed)
			}), 0)
			require.NoError(t, err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		left, err := p.Close(ctx)
		require.NoError(t, err)
		require.Equal(t, 100, left)
		require.Len(t, answers, 100)
		for id, n := range answers {
			require.Equal(t, 1, n, id)
		}
		_, err = p.Produce(t.Context(), &Record{Topic: "t"}, time.Now(), nil, 0)
		require.ErrorIs(t, err, ErrClosed)
	})
}
