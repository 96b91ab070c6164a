package tracing_test

import (
	"context"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
)

func TestMain(m *testing.M) {
	otel.SetTextMapPropagator(propagation.NewCompositeTextMapPropagator(propagation.TraceContext{}, propagation.Baggage{}))
	os.Exit(m.Run())
}

// withPropagator is for tests that are not parallel: those wait meanwhile.
func withPropagator(t *testing.T, p propagation.TextMapPropagator) {
	t.Helper()
	before := otel.GetTextMapPropagator()
	otel.SetTextMapPropagator(p)
	t.Cleanup(func() { otel.SetTextMapPropagator(before) })
}

const (
	traceID     = "4bf92f3577b34da6a3ce929d0e0e4736"
	spanID      = "00f067aa0ba902b7"
	traceparent = "00-" + traceID + "-" + spanID + "-01"
	// otherParent is of another trace, not sampled.
	otherParent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00"
)

func spanContext(tb testing.TB, state string) trace.SpanContext {
	tb.Helper()
	tid, err := trace.TraceIDFromHex(traceID)
	require.NoError(tb, err)
	sid, err := trace.SpanIDFromHex(spanID)
	require.NoError(tb, err)
	ts, err := trace.ParseTraceState(state)
	require.NoError(tb, err)
	return trace.NewSpanContext(trace.SpanContextConfig{TraceID: tid, SpanID: sid, TraceFlags: trace.FlagsSampled, TraceState: ts})
}

// parent returns the traceparent of ctx, "" when it has none.
func parent(ctx context.Context) string {
	c := propagation.MapCarrier{}
	propagation.TraceContext{}.Inject(ctx, c)
	return c["traceparent"]
}

func TestImportsOnlyTheAPI(t *testing.T) {
	t.Parallel()
	list := func(args ...string) []string {
		out, err := exec.CommandContext(t.Context(), "go", append([]string{"list"}, args...)...).CombinedOutput()
		require.NoError(t, err, string(out))
		return strings.Fields(string(out))
	}
	for _, path := range list("-f", `{{join .Imports "\n"}}`, ".") {
		if first, _, _ := strings.Cut(path, "/"); strings.Contains(first, ".") {
			assert.Contains(t, []string{
				"github.com/google/uuid", "github.com/segmentio/kafka-go/protocol",
				"go.opentelemetry.io/otel", "go.opentelemetry.io/otel/propagation", "go.opentelemetry.io/otel/trace",
			}, path)
		}
	}
	for _, path := range list("-deps", ".") {
		assert.False(t, strings.HasPrefix(path, "go.opentelemetry.io/otel/sdk"), path)
		assert.NotEqual(t, "github.com/segmentio/kafka-go", path, "its protocol package is enough")
		if strings.HasPrefix(path, "github.com/expensevault/") {
			assert.Equal(t, "github.com/expensevault/sharedlibrary/tracing", path)
		}
	}
}
