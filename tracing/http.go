package tracing

import (
	"net/http"

	"github.com/google/uuid"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
)

// responseHeader is the header in which a client finds its correlation ID.
const responseHeader = "X-Correlation-ID"

// Middleware gives each request's context a correlation ID: the first valid one
// (see [ValidCorrelationID]) of the headers X-Correlation-ID, X-Request-ID and
// Correlation-Id, in this order, or else a new random UUID. Of a header that is
// sent several times the first value counts. The response carries the ID in
// X-Correlation-ID, set before next is called. What a client sends and is not
// valid is neither stored nor echoed nor logged.
//
// It also reads the request's trace context with the propagator in force, unless
// the context already has a span: beneath or above otelhttp nothing is read
// twice. It starts no span.
func Middleware(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx := r.Context()
		if !trace.SpanContextFromContext(ctx).IsValid() {
			ctx = otel.GetTextMapPropagator().Extract(ctx, propagation.HeaderCarrier(r.Header))
		}
		id := requestCorrelationID(r.Header)
		w.Header().Set(responseHeader, id)
		next.ServeHTTP(w, r.WithContext(WithCorrelationID(ctx, id)))
	})
}

func requestCorrelationID(h http.Header) string {
	for _, name := range [...]string{"X-Correlation-ID", "X-Request-ID", "Correlation-Id"} {
		if id := h.Get(name); ValidCorrelationID(id) {
			return id
		}
	}
	return uuid.NewString()
}
