// Package tracing carries correlation IDs and trace context through a context.Context, HTTP and Kafka headers.
package tracing
