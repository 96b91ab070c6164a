// Package telemetry sets up what customservice shows of itself: spans and
// metrics by OpenTelemetry's SDK, to an OTLP receiver where the standard
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
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlpmetric/otlpmetrichttp"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	otelprom "go.opentelemetry.io/otel/exporters/prometheus"
	"go.opentelemetry.io/otel/propagation"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
)

// Telemetry is what is set up. Shut it down at the end.
type Telemetry struct {
	Spans   *Spans       // what the page draws
	Metrics http.Handler // what Prometheus scrapes
	OTLP    bool         // spans and metrics go to a receiver as well

	tracers *sdktrace.TracerProvider
	meters  *sdkmetric.MeterProvider
}

// Start sets OpenTelemetry's globals. lookupEnv is for what decides whether
// there is a receiver; the exporters read the other OTEL_ variables themselves.
func Start(ctx context.Context, lookupEnv func(string) (string, bool), log *slog.Logger) (*Telemetry, error) {
	env := func(name string) string { v, _ := lookupEnv(name); return v }
	for _, name := range []string{"OTEL_EXPORTER_OTLP_PROTOCOL", "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_METRICS_PROTOCOL"} {
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
	tracing := []sdktrace.TracerProviderOption{sdktrace.WithResource(res), sdktrace.WithSpanProcessor(t.Spans)}
	if wanted("TRACES") {
		exporter, err := otlptracehttp.New(ctx)
		if err != nil {
			return nil, fmt.Errorf("the exporter of traces: %w", err)
		}
		t.OTLP = true
		tracing = append(tracing, sdktrace.WithBatcher(exporter))
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
		t.OTLP = true
		measuring = append(measuring, sdkmetric.WithReader(sdkmetric.NewPeriodicReader(exporter)))
	}
	t.Metrics = promhttp.HandlerFor(registry, promhttp.HandlerOpts{ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelWarn)})
	t.tracers, t.meters = sdktrace.NewTracerProvider(tracing...), sdkmetric.NewMeterProvider(measuring...)
	otel.SetTextMapPropagator(propagation.NewCompositeTextMapPropagator(propagation.TraceContext{}, propagation.Baggage{}))
	otel.SetTracerProvider(t.tracers)
	otel.SetMeterProvider(t.meters)
	otel.SetErrorHandler(otel.ErrorHandlerFunc(func(err error) {
		log.Warn("OpenTelemetry has a problem", slog.Any("error", err))
	}))
	return t, nil
}

// Shutdown exports what is left, and ends.
func (t *Telemetry) Shutdown(ctx context.Context) error {
	return errors.Join(t.tracers.Shutdown(ctx), t.meters.Shutdown(ctx))
}
