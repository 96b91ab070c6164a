package messaging

import (
	"context"
	"log/slog"
	"net"

	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"
)

// Option is an option of publishers and of subscribers alike.
type Option interface {
	PublisherOption
	SubscriberOption
}

// PublisherOption is what [NewKafkaPublisher] takes. What an operator sets stands in [Config].
type PublisherOption interface{ applyPublisher(*publisherOptions) }

// SubscriberOption is what [NewSubscriber] takes.
type SubscriberOption interface{ applySubscriber(*subscriberOptions) }

// HandlerOption is what [Handle] takes, for one handler.
type HandlerOption interface{ applyHandler(*handlerOptions) }

// commonOptions are those of every connection to Kafka.
type commonOptions struct {
	log   *slog.Logger
	dial  func(ctx context.Context, network, addr string) (net.Conn, error)
	codec Codec // nil: the default

	tracers trace.TracerProvider // nil: the global one
	meters  metric.MeterProvider // nil: the global one
	keyless bool                 // spans do not tell keys
}

type commonOption func(*commonOptions)

func (f commonOption) applyPublisher(o *publisherOptions)   { f(&o.commonOptions) }
func (f commonOption) applySubscriber(o *subscriberOptions) { f(&o.commonOptions) }

// WithLogger sets where is logged; the default is [slog.Default] at the time of
// construction. Values and keys of records are never logged.
func WithLogger(log *slog.Logger) Option {
	return commonOption(func(o *commonOptions) { o.log = log })
}

// WithDialer replaces how connections are opened, below TLS; the default is a
// [net.Dialer]. It must honour ctx, and any number of goroutines call it.
func WithDialer(dial func(ctx context.Context, network, addr string) (net.Conn, error)) Option {
	return commonOption(func(o *commonOptions) { o.dial = dial })
}

// WithTracerProvider sets who makes the spans; the default is
// OpenTelemetry's global provider, whichever is set at the time of each span.
// Where there is none, no span is begun. See "Traces and metrics" in the
// package's documentation.
func WithTracerProvider(p trace.TracerProvider) Option {
	return commonOption(func(o *commonOptions) { o.tracers = p })
}

// WithMeterProvider sets where metrics go; the default is OpenTelemetry's
// global provider, which may be set later.
func WithMeterProvider(p metric.MeterProvider) Option {
	return commonOption(func(o *commonOptions) { o.meters = p })
}

// WithoutMessageKeys leaves the attribute messaging.kafka.message.key out of
// spans: a key may be a person's ID. Logs and metrics never have it.
func WithoutMessageKeys() Option {
	return commonOption(func(o *commonOptions) { o.keyless = true })
}

type publisherOptions struct {
	commonOptions

	bufferBytes int
}

type publisherOption func(*publisherOptions)

func (f publisherOption) applyPublisher(o *publisherOptions) { f(o) }

// WithBufferBytes bounds the bytes of events that are not settled, keys and
// headers included; the default is 32 MiB. The batches made of them, and some
// hundred bytes of bookkeeping per event, come on top. When it is full, Publish and PublishAsync wait for room,
// for half of Config.MessageTimeout at most.
func WithBufferBytes(n int) PublisherOption {
	return publisherOption(func(o *publisherOptions) { o.bufferBytes = n })
}
