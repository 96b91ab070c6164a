// Package telemetry holds the tests of what others see of the library: spans,
// metrics and health, by OpenTelemetry's own SDK, on the embedded broker and on
// the real one that KAFKA_BOOTSTRAP_SERVERS names.
package telemetry
