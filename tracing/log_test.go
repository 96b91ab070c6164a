package tracing_test

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"maps"
	"sync"
	"testing"
	"testing/slogtest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/trace"

	"github.com/expensevault/sharedlibrary/tracing"
)

func loggedContext(t *testing.T) context.Context {
	t.Helper()
	return tracing.WithCorrelationID(trace.ContextWithSpanContext(t.Context(), spanContext(t, "")), "abc123-def456")
}

// withContext logs everything with a context of its own, as slogtest does not.
type withContext struct {
	slog.Handler
	ctx context.Context //nolint:containedctx // what the test is about
}

func (h withContext) Handle(_ context.Context, r slog.Record) error {
	return h.Handler.Handle(h.ctx, r) //nolint:contextcheck // what the type is for
}

func (h withContext) WithAttrs(attrs []slog.Attr) slog.Handler {
	return withContext{h.Handler.WithAttrs(attrs), h.ctx}
}

func (h withContext) WithGroup(name string) slog.Handler {
	return withContext{h.Handler.WithGroup(name), h.ctx}
}

func TestLogHandlerKeepsTheRulesOfSlog(t *testing.T) {
	t.Parallel()
	for name, ctx := range map[string]context.Context{"without IDs": context.Background(), "with IDs": loggedContext(t)} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var buf bytes.Buffer
			slogtest.Run(t, func(*testing.T) slog.Handler {
				buf.Reset()
				return withContext{tracing.NewLogHandler(slog.NewJSONHandler(&buf, nil)), ctx}
			}, func(t *testing.T) map[string]any {
				t.Helper()
				line := unmarshal(t, buf.Bytes())
				if name == "with IDs" {
					for key, want := range ids() {
						assert.Equal(t, want, line[key])
					}
				}
				return line
			})
		})
	}
}

func ids() map[string]any {
	return map[string]any{"trace_id": traceID, "span_id": spanID, "trace_flags": "01", "correlation_id": "abc123-def456"}
}

func unmarshal(t *testing.T, line []byte) map[string]any {
	t.Helper()
	var m map[string]any
	require.NoError(t, json.Unmarshal(line, &m), string(line))
	return m
}

func TestLogHandler(t *testing.T) {
	t.Parallel()
	ctx := loggedContext(t)
	type fields = map[string]any
	with := func(more fields) fields {
		m := ids()
		maps.Copy(m, more)
		return m
	}
	for name, c := range map[string]struct {
		ctx  context.Context //nolint:containedctx // a row of a table
		log  func(context.Context, *slog.Logger)
		want fields
	}{
		"all": {ctx, func(ctx context.Context, l *slog.Logger) { l.InfoContext(ctx, "", "a", 1) }, with(fields{"a": 1.0})},
		"none": {
			t.Context(), func(ctx context.Context, l *slog.Logger) { l.InfoContext(ctx, "", "a", 1) }, fields{"a": 1.0},
		},
		"no context": {ctx, func(_ context.Context, l *slog.Logger) { l.Info("", "a", 1) }, fields{"a": 1.0}},
		"correlation only": {
			tracing.WithCorrelationID(t.Context(), "c"),
			func(ctx context.Context, l *slog.Logger) { l.InfoContext(ctx, "") },
			fields{"correlation_id": "c"},
		},
		"trace only": {
			trace.ContextWithSpanContext(t.Context(), spanContext(t, "").WithTraceFlags(0)),
			func(ctx context.Context, l *slog.Logger) { l.InfoContext(ctx, "") },
			fields{"trace_id": traceID, "span_id": spanID, "trace_flags": "00"},
		},
		"attributes": {
			ctx, func(ctx context.Context, l *slog.Logger) { l.With("a", 1).With().With("b", 2).InfoContext(ctx, "") },
			with(fields{"a": 1.0, "b": 2.0}),
		},
		"group": {
			ctx, func(ctx context.Context, l *slog.Logger) { l.WithGroup("g").InfoContext(ctx, "", "a", 1) },
			with(fields{"g": fields{"a": 1.0}}),
		},
		"empty group": {
			ctx, func(ctx context.Context, l *slog.Logger) { l.WithGroup("g").InfoContext(ctx, "") }, with(nil),
		},
		"group without a name": {
			ctx, func(ctx context.Context, l *slog.Logger) { l.WithGroup("").InfoContext(ctx, "", "a", 1) }, with(fields{"a": 1.0}),
		},
		"groups and attributes": {
			ctx, func(ctx context.Context, l *slog.Logger) {
				l.With("a", 1).WithGroup("g").With("b", 2).WithGroup("h").With("c", 3).InfoContext(ctx, "", "d", 4)
			},
			with(fields{"a": 1.0, "g": fields{"b": 2.0, "h": fields{"c": 3.0, "d": 4.0}}}),
		},
		"groups without IDs": {
			t.Context(), func(ctx context.Context, l *slog.Logger) {
				l.With("a", 1).WithGroup("g").With("b", 2).InfoContext(ctx, "", "d", 4)
			},
			fields{"a": 1.0, "g": fields{"b": 2.0, "d": 4.0}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var buf bytes.Buffer
			c.log(c.ctx, slog.New(tracing.NewLogHandler(slog.NewJSONHandler(&buf, nil))))
			line := unmarshal(t, buf.Bytes())
			for _, k := range []string{slog.TimeKey, slog.LevelKey, slog.MessageKey} {
				delete(line, k)
			}
			assert.Equal(t, c.want, line)
			assert.LessOrEqual(t, bytes.Count(buf.Bytes(), []byte(`"trace_id"`)), 1)
		})
	}
}

// Loggers that come from the same one do not see each other's groups.
func TestLogHandlerBranches(t *testing.T) {
	t.Parallel()
	ctx := loggedContext(t)
	var buf bytes.Buffer
	root := slog.New(tracing.NewLogHandler(slog.NewJSONHandler(&buf, nil))).WithGroup("g").With("a", 1).With("b", 2)
	one, two := root.With("c", "one"), root.With("c", "two")
	for l, want := range map[*slog.Logger]string{one: "one", two: "two"} {
		buf.Reset()
		l.InfoContext(ctx, "")
		assert.Equal(t, map[string]any{"a": 1.0, "b": 2.0, "c": want}, unmarshal(t, buf.Bytes())["g"])
	}
}

func TestLogHandlerConcurrently(t *testing.T) {
	t.Parallel()
	ctx := loggedContext(t)
	var buf bytes.Buffer
	l := slog.New(tracing.NewLogHandler(slog.NewJSONHandler(&buf, nil))).WithGroup("g").With("a", 1)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 50 {
				l.InfoContext(ctx, "", "n", 1)
			}
		})
	}
	wg.Wait()
	lines := bytes.Split(bytes.TrimSpace(buf.Bytes()), []byte("\n"))
	require.Len(t, lines, 400)
	for _, line := range lines {
		assert.Equal(t, traceID, unmarshal(t, line)["trace_id"])
	}
}

func TestLogHandlerWraps(t *testing.T) {
	t.Parallel()
	var buf bytes.Buffer
	next := slog.NewJSONHandler(&buf, &slog.HandlerOptions{Level: slog.LevelWarn})
	h := tracing.NewLogHandler(next)
	assert.Same(t, h, h.WithAttrs(nil))
	assert.Same(t, h, h.WithGroup(""))
	assert.Same(t, h, tracing.NewLogHandler(h), "twice is once")
	for _, h := range []slog.Handler{h, h.WithGroup("g")} {
		assert.False(t, h.Enabled(t.Context(), slog.LevelInfo))
		assert.True(t, h.Enabled(t.Context(), slog.LevelWarn))
	}
	assert.Equal(t, slog.DiscardHandler, tracing.NewLogHandler(nil))

	var record slog.Record
	//lint:ignore SA1012 a handler may be given none
	require.NoError(t, h.Handle(nil, record)) //nolint:staticcheck // a handler may be given none
	assert.NotContains(t, buf.String(), "trace_id")
}

// The caller's record is not written to: it may go to another handler too.
func TestLogHandlerLeavesTheRecord(t *testing.T) {
	t.Parallel()
	var buf bytes.Buffer
	var r slog.Record
	for i := range 6 {
		r.AddAttrs(slog.Int("a", i))
	}
	h := tracing.NewLogHandler(slog.NewJSONHandler(&buf, nil))
	require.NoError(t, h.Handle(loggedContext(t), r))
	require.NoError(t, h.Handle(loggedContext(t), r))
	assert.Equal(t, 6, r.NumAttrs())
	assert.Equal(t, 2, bytes.Count(buf.Bytes(), []byte("trace_id")))
	assert.NotContains(t, buf.String(), "!BUG")
}
