package telemetry_test

import (
	"context"
	"log/slog"
	"strconv"
	"testing"

	"github.com/google/uuid"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"

	"github.com/expensevault/sharedlibrary/messaging"
	"github.com/expensevault/sharedlibrary/messaging/embedded"
)

// providers are none, and the SDK with every span kept until it has ended, and every metric counted.
func providers() map[string][]messaging.Option {
	quiet := messaging.WithLogger(slog.New(slog.DiscardHandler))
	return map[string][]messaging.Option{
		"none": {quiet},
		"metrics": {
			quiet,
			messaging.WithMeterProvider(sdkmetric.NewMeterProvider(sdkmetric.WithReader(sdkmetric.NewManualReader()))),
		},
		"metrics and spans": {
			quiet,
			messaging.WithMeterProvider(sdkmetric.NewMeterProvider(sdkmetric.WithReader(sdkmetric.NewManualReader()))),
			messaging.WithTracerProvider(sdktrace.NewTracerProvider()),
		},
	}
}

func benchConfig(b *testing.B) messaging.Config {
	b.Helper()
	cfg := messaging.DefaultConfig()
	cfg.BootstrapServers = embedded.Run(b).Addr()
	topic := "itest.telemetry." + uuid.NewString()
	cfg.Topics = map[string]string{"itest.thing.happened": topic}
	if _, err := messaging.EnsureTopics(b.Context(), cfg, messaging.TopicSpec{Name: topic, Partitions: 4, ReplicationFactor: 1}); err != nil {
		b.Fatal(err)
	}
	return cfg
}

func publishAll(b *testing.B, p *messaging.KafkaPublisher, n int) {
	b.Helper()
	failed := make(chan error, 1)
	for i := range n {
		p.PublishAsync(b.Context(), &happened{Key: strconv.Itoa(i % 100)}, func(_ messaging.Receipt, err error) {
			if err != nil {
				select {
				case failed <- err:
				default:
				}
			}
		})
	}
	if err := p.Flush(b.Context()); err != nil {
		b.Fatal(err)
	}
	select {
	case err := <-failed:
		b.Fatal(err)
	default:
	}
}

func BenchmarkPublish(b *testing.B) {
	for _, name := range []string{"none", "metrics", "metrics and spans"} {
		b.Run(name, func(b *testing.B) {
			var opts []messaging.PublisherOption
			for _, o := range providers()[name] {
				opts = append(opts, o)
			}
			p, err := messaging.NewKafkaPublisher(benchConfig(b), opts...)
			if err != nil {
				b.Fatal(err)
			}
			defer func() { _ = p.Close() }()
			publishAll(b, p, 100)
			b.ReportAllocs()
			b.ResetTimer()
			publishAll(b, p, b.N)
		})
	}
}

func BenchmarkHandle(b *testing.B) {
	for _, name := range []string{"none", "metrics", "metrics and spans"} {
		b.Run(name, func(b *testing.B) {
			cfg := benchConfig(b)
			p, err := messaging.NewKafkaPublisher(cfg, messaging.WithLogger(slog.New(slog.DiscardHandler)))
			if err != nil {
				b.Fatal(err)
			}
			publishAll(b, p, b.N)
			_ = p.Close()
			var mux messaging.Mux
			handled := make(chan struct{}, 1<<16)
			messaging.Handle(&mux, func(context.Context, *happened) error {
				handled <- struct{}{}
				return nil
			})
			var opts []messaging.SubscriberOption
			for _, o := range providers()[name] {
				opts = append(opts, o)
			}
			s, err := messaging.NewSubscriber(cfg, "bench", &mux, opts...)
			if err != nil {
				b.Fatal(err)
			}
			ctx, cancel := context.WithCancel(b.Context())
			done := make(chan error, 1)
			go func() { done <- s.Run(ctx) }()
			<-handled
			b.ReportAllocs()
			b.ResetTimer()
			for range b.N - 1 {
				<-handled
			}
			b.StopTimer()
			cancel()
			if err := <-done; err != nil {
				b.Fatal(err)
			}
		})
	}
}
