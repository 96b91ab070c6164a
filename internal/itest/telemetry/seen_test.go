package telemetry_test

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/propagation"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"github.com/expensevault/sharedlibrary/events"
	"github.com/expensevault/sharedlibrary/messaging"
	"github.com/expensevault/sharedlibrary/messaging/embedded"
)

func TestMain(m *testing.M) {
	otel.SetTextMapPropagator(propagation.TraceContext{})
	os.Exit(m.Run())
}

// happened is an event whose topic each test gives a name of its own.
type happened struct {
	events.Base
	Key string `json:"key"`
}

func (*happened) Topic() events.Topic    { return events.NewTopic("itest", "thing", "happened") }
func (e *happened) PartitionKey() string { return e.Key }

// seen is a broker, a topic, and all that the library shows of what it does there.
type seen struct {
	cfg     messaging.Config
	topic   string
	group   string
	spans   *tracetest.SpanRecorder
	tracers *sdktrace.TracerProvider
	reader  *sdkmetric.ManualReader
	meters  *sdkmetric.MeterProvider
	broker  *embedded.Broker // nil: a real one
}

// onEach runs a test on the embedded broker, and on a real one.
func onEach(t *testing.T, f func(t *testing.T, s *seen)) {
	t.Helper()
	t.Run("embedded", func(t *testing.T) {
		t.Parallel()
		b := embedded.Run(t)
		f(t, watch(t, b.Addr(), b))
	})
	t.Run("real", func(t *testing.T) {
		t.Parallel()
		addr := os.Getenv("KAFKA_BOOTSTRAP_SERVERS")
		if addr == "" {
			if slices.Contains(strings.Split(os.Getenv("ITEST_REQUIRE"), ","), "real") {
				t.Fatal("ITEST_REQUIRE names \"real\", but KAFKA_BOOTSTRAP_SERVERS is not set")
			}
			t.Skip("KAFKA_BOOTSTRAP_SERVERS is not set (.ci/kafka start prints it)")
		}
		f(t, watch(t, addr, nil))
	})
}

func watch(t *testing.T, addr string, b *embedded.Broker) *seen {
	t.Helper()
	s := &seen{
		topic: "itest.telemetry." + uuid.NewString(), group: "group-" + uuid.NewString(), broker: b,
		spans: tracetest.NewSpanRecorder(), reader: sdkmetric.NewManualReader(),
	}
	s.tracers = sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(s.spans))
	s.meters = sdkmetric.NewMeterProvider(sdkmetric.WithReader(s.reader))
	s.cfg = messaging.DefaultConfig()
	s.cfg.BootstrapServers, s.cfg.ClientID = addr, "itest-client"
	s.cfg.Topics = map[string]string{"itest.thing.happened": s.topic}
	_, err := messaging.EnsureTopics(t.Context(), s.cfg,
		messaging.TopicSpec{Name: s.topic, Partitions: 1, ReplicationFactor: 1},
		messaging.TopicSpec{Name: s.topic + "-dlt", Partitions: 1, ReplicationFactor: 1})
	require.NoError(t, err)
	return s
}

func (s *seen) options() []messaging.Option {
	return []messaging.Option{
		messaging.WithTracerProvider(s.tracers), messaging.WithMeterProvider(s.meters), messaging.WithLogger(slog.New(slog.DiscardHandler)),
	}
}

func (s *seen) publisher(t *testing.T) *messaging.KafkaPublisher {
	t.Helper()
	var opts []messaging.PublisherOption
	for _, o := range s.options() {
		opts = append(opts, o)
	}
	p, err := messaging.NewKafkaPublisher(s.cfg, opts...)
	require.NoError(t, err)
	t.Cleanup(func() { _ = p.Close() })
	return p
}

// subscribe runs a subscriber until the test ends.
func (s *seen) subscribe(t *testing.T, mux *messaging.Mux, more ...messaging.SubscriberOption) *messaging.Subscriber {
	t.Helper()
	opts := []messaging.SubscriberOption{messaging.WithRetry(2, time.Millisecond, time.Millisecond)}
	for _, o := range s.options() {
		opts = append(opts, o)
	}
	sub, err := messaging.NewSubscriber(s.cfg, s.group, mux, append(opts, more...)...)
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- sub.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil && !errors.Is(err, context.Canceled) {
			t.Errorf("Run: %v", err)
		}
	})
	return sub
}

// eventually waits for what must become true.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	require.Eventually(t, ok, time.Minute, 5*time.Millisecond, what)
}

// ended waits for n spans of this name and kind, in the order in which they ended.
func (s *seen) ended(t *testing.T, name string, kind trace.SpanKind, n int) []sdktrace.ReadOnlySpan {
	t.Helper()
	var found []sdktrace.ReadOnlySpan
	eventually(t, "spans "+name, func() bool {
		found = nil
		for _, span := range s.spans.Ended() {
			if span.Name() == name && span.SpanKind() == kind {
				found = append(found, span)
			}
		}
		return len(found) >= n
	})
	require.Len(t, found, n, name)
	return found
}

func attrsOf(span sdktrace.ReadOnlySpan) map[string]any {
	out := map[string]any{}
	for _, kv := range span.Attributes() {
		out[string(kv.Key)] = kv.Value.AsInterface()
	}
	return out
}

// points collects the metrics, and returns those of a name: attributes, without the ones that are always the same, to value.
// Of a histogram the value is the count.
func (s *seen) points(t *testing.T, name string) map[string]float64 {
	t.Helper()
	m, found := s.metric(t, name)
	out := map[string]float64{}
	if !found {
		return out
	}
	key := func(set attribute.Set) string {
		var parts []string
		for _, kv := range set.ToSlice() {
			v := kv.Value.String()
			v = strings.ReplaceAll(strings.ReplaceAll(v, s.topic, "TOPIC"), s.group, "GROUP")
			parts = append(parts, string(kv.Key)+"="+v)
		}
		return strings.Join(parts, " ")
	}
	switch d := m.Data.(type) {
	case metricdata.Histogram[float64]:
		for _, p := range d.DataPoints {
			out[key(p.Attributes)] = float64(p.Count)
		}
	case metricdata.Sum[int64]:
		for _, p := range d.DataPoints {
			out[key(p.Attributes)] = float64(p.Value)
		}
	case metricdata.Gauge[int64]:
		for _, p := range d.DataPoints {
			out[key(p.Attributes)] = float64(p.Value)
		}
	case metricdata.Gauge[float64]:
		for _, p := range d.DataPoints {
			out[key(p.Attributes)] = p.Value
		}
	default:
		require.Failf(t, "another kind of metric", "%s: %T", name, d)
	}
	return out
}

func (s *seen) metric(t *testing.T, name string) (metricdata.Metrics, bool) {
	t.Helper()
	var rm metricdata.ResourceMetrics
	require.NoError(t, s.reader.Collect(t.Context(), &rm))
	for _, scope := range rm.ScopeMetrics {
		require.Equal(t, "github.com/expensevault/sharedlibrary/messaging", scope.Scope.Name)
		require.Equal(t, "https://opentelemetry.io/schemas/1.43.0", scope.Scope.SchemaURL)
		for _, m := range scope.Metrics {
			if m.Name == name {
				return m, true
			}
		}
	}
	return metricdata.Metrics{}, false
}
