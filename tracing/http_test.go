package tracing_test

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/baggage"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"github.com/expensevault/sharedlibrary/tracing"
)

// serve sends r through the middleware and returns the context that the handler
// saw and the ID in the response.
func serve(t *testing.T, r *http.Request) (ctx context.Context, echoed string) {
	t.Helper()
	w := httptest.NewRecorder()
	tracing.Middleware(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx = r.Context() //nolint:fatcontext // handed out, not nested
		assert.NotEmpty(t, w.Header().Get("X-Correlation-ID"), "set before the handler writes")
		w.WriteHeader(http.StatusNoContent)
	})).ServeHTTP(w, r)
	require.NotNil(t, ctx)
	assert.Equal(t, http.StatusNoContent, w.Code)
	require.Len(t, w.Result().Header.Values("X-Correlation-ID"), 1)
	return ctx, w.Result().Header.Get("X-Correlation-ID")
}

func request(t *testing.T, header http.Header) *http.Request {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", http.NoBody)
	r.Header = header
	return r
}

func TestMiddlewareReadsTheHeadersInOrder(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		header http.Header
		want   string // "" for a new UUID
	}{
		"first": {http.Header{
			"X-Correlation-Id": {"one"}, "X-Request-Id": {"two"}, "Correlation-Id": {"three"},
		}, "one"},
		"second":              {http.Header{"X-Request-Id": {"two"}, "Correlation-Id": {"three"}}, "two"},
		"third":               {http.Header{"Correlation-Id": {"three"}}, "three"},
		"first of several":    {http.Header{"X-Correlation-Id": {"one", "other"}}, "one"},
		"bad, then good":      {http.Header{"X-Correlation-Id": {"o ne"}, "X-Request-Id": {"two"}}, "two"},
		"bad, bad, then good": {http.Header{"X-Correlation-Id": {""}, "X-Request-Id": {"t\nwo"}, "Correlation-Id": {"three"}}, "three"},
		"other header":        {http.Header{"Request-Id": {"four"}}, ""},
		"none":                {http.Header{}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx, echoed := serve(t, request(t, c.header))
			assert.Equal(t, echoed, tracing.CorrelationID(ctx))
			if c.want != "" {
				assert.Equal(t, c.want, echoed)
				return
			}
			id, err := uuid.Parse(echoed)
			require.NoError(t, err)
			assert.Equal(t, uuid.Version(4), id.Version())
		})
	}
}

func TestMiddlewareRefusesHostileIDs(t *testing.T) {
	t.Parallel()
	for name, id := range hostileIDs() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx, echoed := serve(t, request(t, http.Header{
				"X-Correlation-Id": {id}, "X-Request-Id": {id}, "Correlation-Id": {id},
			}))
			assert.Equal(t, echoed, tracing.CorrelationID(ctx))
			assert.NotEqual(t, id, echoed)
			_, err := uuid.Parse(echoed)
			require.NoError(t, err)
		})
	}
}

func TestMiddlewareMakesAnIDForEachRequest(t *testing.T) {
	t.Parallel()
	_, one := serve(t, request(t, http.Header{}))
	_, two := serve(t, request(t, http.Header{}))
	assert.NotEqual(t, one, two)
}

// On a connection, where the server and the client canonicalize the names.
func TestMiddlewareOverHTTP(t *testing.T) {
	t.Parallel()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	s := &httptest.Server{Listener: l, Config: &http.Server{
		Handler: tracing.Middleware(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			_, _ = w.Write([]byte(tracing.CorrelationID(r.Context())))
		})),
	}}
	s.Start()
	t.Cleanup(s.Close)
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.URL, http.NoBody)
	require.NoError(t, err)
	r.Header["x-correlation-ID"] = []string{"abc123-def456"}
	resp, err := s.Client().Do(r)
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	assert.Equal(t, "abc123-def456", resp.Header.Get("X-Correlation-ID"))
	assert.Equal(t, int64(len("abc123-def456")), resp.ContentLength)
}

func TestMiddlewareReadsTheTrace(t *testing.T) {
	t.Parallel()
	header := http.Header{"Traceparent": {traceparent}, "Tracestate": {"vendor=1"}, "Baggage": {"tenant=one"}}
	ctx, echoed := serve(t, request(t, header))
	sc := trace.SpanContextFromContext(ctx)
	assert.Equal(t, spanContext(t, "vendor=1").WithRemote(true), sc)
	assert.Equal(t, "one", baggage.FromContext(ctx).Member("tenant").Value())
	assert.NotEqual(t, traceID, echoed, "a correlation ID is not a trace ID")

	ctx, _ = serve(t, request(t, http.Header{"Traceparent": {"00-" + traceID + "-xyz-01"}}))
	assert.False(t, trace.SpanContextFromContext(ctx).IsValid())
}

func TestMiddlewareLeavesASpanThatIsThere(t *testing.T) {
	t.Parallel()
	mine := spanContext(t, "")
	r := request(t, http.Header{"Traceparent": {otherParent}, "Baggage": {"tenant=one"}})
	ctx, _ := serve(t, r.WithContext(trace.ContextWithSpanContext(r.Context(), mine)))
	assert.Equal(t, mine, trace.SpanContextFromContext(ctx))
	assert.Zero(t, baggage.FromContext(ctx).Len(), "whoever made the span has read what it wanted")
}

func TestMiddlewareAsksForThePropagatorAtEachRequest(t *testing.T) { //nolint:paralleltest // sets the global
	withPropagator(t, propagation.NewCompositeTextMapPropagator())
	ctx, _ := serve(t, request(t, http.Header{"Traceparent": {traceparent}}))
	assert.False(t, trace.SpanContextFromContext(ctx).IsValid())
}
