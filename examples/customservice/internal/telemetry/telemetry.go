// Package telemetry sets up what customservice shows of itself: spans and
// metrics by OpenTelemetry's SDK, and its log, to an OTLP receiver where the standard
// variables name one, to /metrics for Prometheus, and for the page.
//
// The library and the service make them by OpenTelemetry's API, and know
// nothing of all this.
package telemetry

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"go.opentelemetry.io/contrib/bridges/otelslog"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlplog/otlploghttp"
	"go.opentelemetry.io/otel/exporters/otlp/otlpmetric/otlpmetrichttp"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	otelprom "go.opentelemetry.io/otel/exporters/prometheus"
	"go.opentelemetry.io/otel/propagation"
	sdklog "go.opentelemetry.io/otel/sdk/log"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"

	"github.com/expensevault/sharedlibrary/tracing"
)

// Telemetry is what is set up. Shut it down at the end.
type Telemetry struct {
	Spans   *Spans       // what the page draws
	Metrics http.Handler // what Prometheus scrapes
	Logs    slog.Handler // to a receiver; nil: nobody wants them

	shutdown []func(context.Context) error
}

// Start sets OpenTelemetry's globals. lookupEnv is for what decides whether
// there is a receiver; the exporters read the other OTEL_ variables themselves. log is
// for the exporters' own problems, and must not go through them.
func Start(ctx context.Context, lookupEnv func(string) (string, bool), log *slog.Logger) (*Telemetry, error) {
	env := func(name string) string { v, _ := lookupEnv(name); return v }
	for _, name := range []string{"OTEL_EXPORTER_OTLP_PROTOCOL", "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_METRICS_PROTOCOL", "OTEL_EXPORTER_OTLP_LOGS_PROTOCOL"} {
		if p := env(name); p != "" && p != "http/protobuf" {
			return nil, fmt.Errorf("%s=%s: only http/protobuf is supported; receivers take it on port 4318", name, p)
		}
	}
	wanted := func(signal string) bool {
		return env("OTEL_SDK_DISABLED") != "true" && env("OTEL_"+signal+"_EXPORTER") != "none" &&
			(env("OTEL_EXPORTER_OTLP_ENDPOINT") != "" || env("OTEL_EXPORTER_OTLP_"+signal+"_ENDPOINT") != "")
	}
	// OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES come last, and so win.
	res, err := resource.New(ctx, resource.WithAttributes(attribute.String("service.name", "customservice")),
		resource.WithTelemetrySDK(), resource.WithHost(), resource.WithProcessPID(), resource.WithFromEnv())
	if err != nil && !errors.Is(err, resource.ErrPartialResource) {
		return nil, fmt.Errorf("OpenTelemetry's resource: %w", err)
	}
	t := &Telemetry{Spans: NewSpans()}
	spans := []sdktrace.TracerProviderOption{sdktrace.WithResource(res), sdktrace.WithSpanProcessor(t.Spans)}
	if wanted("TRACES") {
		exporter, err := otlptracehttp.New(ctx)
		if err != nil {
			return nil, fmt.Errorf("the exporter of traces: %w", err)
		}
		spans = append(spans, sdktrace.WithBatcher(exporter))
	}
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	scraped, err := otelprom.New(otelprom.WithRegisterer(registry), otelprom.WithoutScopeInfo())
	if err != nil {
		return nil, fmt.Errorf("the exporter for Prometheus: %w", err)
	}
	measuring := []sdkmetric.Option{sdkmetric.WithResource(res), sdkmetric.WithReader(scraped)}
	if wanted("METRICS") {
		exporter, err := otlpmetrichttp.New(ctx)
		if err != nil {
			return nil, fmt.Errorf("the exporter of metrics: %w", err)
		}
		measuring = append(measuring, sdkmetric.WithReader(sdkmetric.NewPeriodicReader(exporter)))
	}
	if wanted("LOGS") {
		exporter, err := otlploghttp.New(ctx)
		if err != nil {
			return nil, fmt.Errorf("the exporter of logs: %w", err)
		}
		logs := sdklog.NewLoggerProvider(sdklog.WithResource(res), sdklog.WithProcessor(sdklog.NewBatchProcessor(exporter)))
		t.Logs = correlated{otelslog.NewHandler("customservice", otelslog.WithLoggerProvider(logs))}
		t.shutdown = append(t.shutdown, logs.Shutdown)
	}
	t.Metrics = promhttp.HandlerFor(registry, promhttp.HandlerOpts{ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelWarn)})
	tracers, meters := sdktrace.NewTracerProvider(spans...), sdkmetric.NewMeterProvider(measuring...)
	t.shutdown = append(t.shutdown, tracers.Shutdown, meters.Shutdown)
	otel.SetTextMapPropagator(propagation.NewCompositeTextMapPropagator(propagation.TraceContext{}, propagation.Baggage{}))
	otel.SetTracerProvider(tracers)
	otel.SetMeterProvider(meters)
	otel.SetErrorHandler(otel.ErrorHandlerFunc(func(err error) {
		log.Warn("OpenTelemetry has a problem", slog.Any("error", err))
	}))
	return t, nil
}

// Shutdown exports what is left, and ends.
func (t *Telemetry) Shutdown(ctx context.Context) error {
	var errs []error
	for _, shutdown := range t.shutdown {
		errs = append(errs, shutdown(ctx))
	}
	return errors.Join(errs...)
}

// correlated adds the correlation ID; the trace the bridge takes from the context itself.
type correlated struct{ slog.Handler }

func (h correlated) Handle(ctx context.Context, r slog.Record) error {
	if id := tracing.CorrelationID(ctx); id != "" {
		r = r.Clone()
		r.AddAttrs(slog.String("correlation_id", id))
	}
	return h.Handler.Handle(ctx, r)
}

func (h correlated) WithAttrs(attrs []slog.Attr) slog.Handler {
	return correlated{h.Handler.WithAttrs(attrs)}
}

func (h correlated) WithGroup(name string) slog.Handler { return correlated{h.Handler.WithGroup(name)} }
