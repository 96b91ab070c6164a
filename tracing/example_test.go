package tracing_test

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"

	"github.com/segmentio/kafka-go/protocol"

	"github.com/expensevault/sharedlibrary/tracing"
)

// A request's correlation ID and trace are in the log, and go on with the event.
func Example() {
	log := slog.New(tracing.NewLogHandler(slog.NewJSONHandler(os.Stdout, &slog.HandlerOptions{
		ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
			if a.Key == slog.TimeKey {
				return slog.Attr{}
			}
			return a
		},
	})))
	handler := tracing.Middleware(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		log.InfoContext(r.Context(), "Published ItemCreated")
		var headers []protocol.Header
		tracing.Inject(r.Context(), &headers)
		for _, h := range headers {
			fmt.Printf("%s: %s\n", h.Key, h.Value)
		}
	}))

	r := httptest.NewRequestWithContext(context.Background(), http.MethodPost, "/items", http.NoBody)
	r.Header.Set("X-Correlation-ID", "abc123-def456")
	r.Header.Set("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")
	w := httptest.NewRecorder()
	handler.ServeHTTP(w, r)
	fmt.Println(w.Header().Get("X-Correlation-ID"))
	// Output:
	// {"level":"INFO","msg":"Published ItemCreated","trace_id":"4bf92f3577b34da6a3ce929d0e0e4736","span_id":"00f067aa0ba902b7","trace_flags":"01","correlation_id":"abc123-def456"}
	// traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01
	// abc123-def456
}
