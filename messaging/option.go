package messaging

import (
	"context"
	"log/slog"
	"net"
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
