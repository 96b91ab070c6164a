package main_test

import (
	"compress/gzip"
	"encoding/hex"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	collectorlogs "go.opentelemetry.io/proto/otlp/collector/logs/v1"
	collectormetrics "go.opentelemetry.io/proto/otlp/collector/metrics/v1"
	collectortrace "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"
)

// receiver is an OTLP receiver over HTTP.
type receiver struct {
	mu      sync.Mutex
	spans   []*tracepb.Span
	service string
	metrics map[string]bool
	logs    map[string]string // of lines with a correlation ID: their trace
}

func (c *receiver) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body := io.Reader(r.Body)
	if r.Header.Get("Content-Encoding") == "gzip" {
		unzipped, err := gzip.NewReader(r.Body)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		body = unzipped
	}
	raw, err := io.ReadAll(body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	switch r.URL.Path {
	case "/v1/traces":
		var req collectortrace.ExportTraceServiceRequest
		if err := proto.Unmarshal(raw, &req); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		for _, rs := range req.GetResourceSpans() {
			for _, kv := range rs.GetResource().GetAttributes() {
				if kv.GetKey() == "service.name" {
					c.service = kv.GetValue().GetStringValue()
				}
			}
			for _, ss := range rs.GetScopeSpans() {
				c.spans = append(c.spans, ss.GetSpans()...)
			}
		}
	case "/v1/metrics":
		var req collectormetrics.ExportMetricsServiceRequest
		if err := proto.Unmarshal(raw, &req); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		for _, rm := range req.GetResourceMetrics() {
			for _, sm := range rm.GetScopeMetrics() {
				for _, m := range sm.GetMetrics() {
					c.metrics[m.GetName()] = true
				}
			}
		}
	case "/v1/logs":
		var req collectorlogs.ExportLogsServiceRequest
		if err := proto.Unmarshal(raw, &req); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		for _, rl := range req.GetResourceLogs() {
			for _, sl := range rl.GetScopeLogs() {
				for _, l := range sl.GetLogRecords() {
					for _, kv := range l.GetAttributes() {
						if kv.GetKey() == "correlation_id" {
							c.logs[kv.GetValue().GetStringValue()+" "+l.GetBody().GetStringValue()] = hex.EncodeToString(l.GetTraceId())
						}
					}
				}
			}
		}
	default:
		http.NotFound(w, r)
	}
}

// of returns the spans of a name and kind, by the consumer group ("" for others) that they name.
func (c *receiver) of(traceID, name string, kind tracepb.Span_SpanKind) map[string]*tracepb.Span {
	c.mu.Lock()
	defer c.mu.Unlock()
	out := map[string]*tracepb.Span{}
	for _, s := range c.spans {
		if s.GetName() == name && s.GetKind() == kind && (traceID == "" || hex.EncodeToString(s.GetTraceId()) == traceID) {
			out[attributes(s)["messaging.consumer.group.name"]] = s
		}
	}
	return out
}

func attributes(s *tracepb.Span) map[string]string {
	out := map[string]string{}
	for _, kv := range s.GetAttributes() {
		v := kv.GetValue().GetStringValue()
		if v == "" {
			v = strconv.FormatInt(kv.GetValue().GetIntValue(), 10)
		}
		out[kv.GetKey()] = v
	}
	return out
}

// oneTrace is a request as an OTLP receiver sees it: over HTTP, into the outbox, by the relay to the broker, to three
// consumers, and the notification that one of them publishes, to its consumer.
func oneTrace(t *testing.T, binary string) {
	t.Helper()
	c := &receiver{metrics: map[string]bool{}, logs: map[string]string{}}
	server := httptest.NewServer(c)
	t.Cleanup(server.Close)
	p := serve(t, binary, []string{"OTEL_EXPORTER_OTLP_ENDPOINT=" + server.URL, "OTEL_SERVICE_NAME=items", "OTEL_BSP_SCHEDULE_DELAY=100", "OTEL_METRIC_EXPORT_INTERVAL=200", "OTEL_BLRP_SCHEDULE_DELAY=100"}, "-memory")
	const trace, caller = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
	p.create(uuid.NewString(), "Lamp", "X-Correlation-ID", "story-1", "traceparent", "00-"+trace+"-"+caller+"-01")

	const (
		created, notified = "customservice.item.created", "customservice.notification.notification"
		producer          = tracepb.Span_SPAN_KIND_PRODUCER
		consumer          = tracepb.Span_SPAN_KIND_CONSUMER
		client            = tracepb.Span_SPAN_KIND_CLIENT
	)
	require.Eventually(t, func() bool {
		return len(c.of(trace, "process "+created, consumer)) == 3 && len(c.of(trace, "process "+notified, consumer)) == 1 &&
			len(c.of("", "send "+created, client)) == 1 && len(c.of("", "send "+notified, client)) == 1 &&
			len(c.of(trace, "POST /items", tracepb.Span_SPAN_KIND_SERVER)) == 1
	}, patience, patience/1000, "all spans of the story")
	c.mu.Lock()
	assert.Equal(t, "items", c.service)
	c.mu.Unlock()

	request := c.of(trace, "POST /items", tracepb.Span_SPAN_KIND_SERVER)[""]
	assert.Equal(t, caller, hex.EncodeToString(request.GetParentSpanId()), "the caller's trace goes on")
	create := c.of(trace, "create "+created, producer)[""]
	require.NotNil(t, create)
	assert.Equal(t, request.GetSpanId(), create.GetParentSpanId())
	assert.Equal(t, "create", attributes(create)["messaging.operation.type"])
	assert.Equal(t, "story-1", attributes(create)["messaging.message.conversation_id"])

	send := c.of("", "send "+created, client)[""]
	assert.NotEqual(t, trace, hex.EncodeToString(send.GetTraceId()), "the relay's work is its own")
	require.Len(t, send.GetLinks(), 1)
	assert.Equal(t, create.GetSpanId(), send.GetLinks()[0].GetSpanId())
	assert.Equal(t, "1", attributes(send)["messaging.batch.message_count"])

	processed := c.of(trace, "process "+created, consumer)
	for _, group := range []string{"customservice-analytics", "customservice-notification", "customservice-audit"} {
		s := processed[group]
		require.NotNil(t, s, group)
		assert.Equal(t, create.GetSpanId(), s.GetParentSpanId(), group)
		require.Len(t, s.GetLinks(), 1)
		assert.Equal(t, create.GetSpanId(), s.GetLinks()[0].GetSpanId(), group)
		a := attributes(s)
		assert.Equal(t, attributes(create)["messaging.message.id"], a["messaging.message.id"])
		assert.Equal(t, "kafka", a["messaging.system"])
		assert.Equal(t, created, a["messaging.destination.name"])
		assert.Equal(t, "story-1", a["messaging.message.conversation_id"])
	}
	onward := c.of(trace, "create "+notified, producer)[""]
	require.NotNil(t, onward)
	assert.Equal(t, processed["customservice-notification"].GetSpanId(), onward.GetParentSpanId(), "published while handling")
	last := c.of(trace, "process "+notified, consumer)["customservice-audit"]
	require.NotNil(t, last)
	assert.Equal(t, onward.GetSpanId(), last.GetParentSpanId())
	for _, s := range []*tracepb.Span{request, create, send, last} {
		assert.Equal(t, tracepb.Status_STATUS_CODE_UNSET, s.GetStatus().GetCode())
		assert.Empty(t, s.GetEvents())
	}

	require.Eventually(t, func() bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		return c.metrics["messaging.process.duration"] && c.metrics["events.outbox.pending"] && c.metrics["events.consumer.lag"]
	}, patience, patience/1000, "metrics come by OTLP too")
	require.Eventually(t, func() bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		return c.logs["story-1 audit received ItemCreated from topic "+created] == trace
	}, patience, patience/1000, "and the log, with correlation and trace")
	// Whoever cannot speak what is asked for says so, and does not start.
	bad := launch(t, binary, []string{"OTEL_EXPORTER_OTLP_PROTOCOL=grpc"}, "-memory")
	assert.Equal(t, 2, bad.wait())
	assert.Contains(t, strings.ToLower(bad.rest.String()), "http/protobuf")
}
