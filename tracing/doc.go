// Package tracing carries what belongs together through a context.Context, HTTP
// requests, Kafka headers and the log: the correlation ID of a request and all
// that it sets off, the causation ID of the event being handled, and the W3C
// trace context.
//
//	HTTP request ─► Middleware ─► ctx ─► Publish ─► Inject ─► Kafka headers
//	Kafka headers ─► Extract ─► ctx ─► handler ─► Publish ─► …
//	ctx ─► NewLogHandler ─► {"trace_id":…,"span_id":…,"trace_flags":…,"correlation_id":…}
//
// A correlation ID is not a trace ID. A trace may be sampled away, started anew
// or long gone when an event is read from an outbox; the correlation ID stays.
//
// An ID in a context is always one that [ValidCorrelationID] accepts, whether it
// came from a request, from a header or from code: it can go into a header and
// into a log line without harm.
//
// # The propagator in force
//
// Trace context is read and written by [otel.GetTextMapPropagator] at the time
// of each call: this package sets no global. OpenTelemetry's own default is to
// propagate nothing, so that no header is written and none is read until the
// program has said, once, in its main function:
//
//	otel.SetTextMapPropagator(propagation.NewCompositeTextMapPropagator(
//		propagation.TraceContext{}, propagation.Baggage{}))
//
// Baggage crosses trust borders: a service that answers to strangers should leave
// it out, or strip the baggage header before [Middleware].
//
// Only OpenTelemetry's API is imported. Without its SDK trace context passes
// through, from the request to the event, as it came.
package tracing
