package telemetry

import (
	"cmp"
	"context"
	"slices"
	"sync"
	"time"

	"go.opentelemetry.io/otel/codes"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

// Span is one that has ended, as the page draws it.
type Span struct {
	TraceID    string            `json:"traceId"`
	SpanID     string            `json:"spanId"`
	ParentID   string            `json:"parentId,omitempty"`
	Name       string            `json:"name"`
	Kind       string            `json:"kind"`
	Start      time.Time         `json:"start"`
	Micros     int64             `json:"micros"`
	Failed     bool              `json:"failed"`
	Problem    string            `json:"problem,omitempty"`
	Attributes map[string]string `json:"attributes"`
	Links      []Link            `json:"links,omitempty"`
}

// Link is a span that another one links to.
type Link struct {
	TraceID string `json:"traceId"`
	SpanID  string `json:"spanId"`
}

// Spans keeps the spans of the last traces. It is a span processor.
type Spans struct {
	mu     sync.Mutex
	traces map[string][]Span
	order  []string            // of the traces, the oldest first
	linked map[string][]string // traces with spans that link to this one
}

// What is kept.
const (
	mostTraces = 500
	mostSpans  = 200 // of a trace
)

var _ sdktrace.SpanProcessor = (*Spans)(nil)

// NewSpans returns an empty store.
func NewSpans() *Spans {
	return &Spans{traces: map[string][]Span{}, linked: map[string][]string{}}
}

// OnStart implements [sdktrace.SpanProcessor].
func (*Spans) OnStart(context.Context, sdktrace.ReadWriteSpan) {}

// Shutdown implements [sdktrace.SpanProcessor].
func (*Spans) Shutdown(context.Context) error { return nil }

// ForceFlush implements [sdktrace.SpanProcessor].
func (*Spans) ForceFlush(context.Context) error { return nil }

// OnEnd implements [sdktrace.SpanProcessor].
func (s *Spans) OnEnd(ended sdktrace.ReadOnlySpan) {
	span := spanOf(ended)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.traces[span.TraceID] == nil {
		s.order = append(s.order, span.TraceID)
		if len(s.order) > mostTraces {
			delete(s.traces, s.order[0])
			delete(s.linked, s.order[0])
			s.order = slices.Delete(s.order, 0, 1)
		}
	}
	if len(s.traces[span.TraceID]) < mostSpans {
		s.traces[span.TraceID] = append(s.traces[span.TraceID], span)
	}
	for _, l := range span.Links {
		if l.TraceID != span.TraceID && s.traces[l.TraceID] != nil && !slices.Contains(s.linked[l.TraceID], span.TraceID) {
			s.linked[l.TraceID] = append(s.linked[l.TraceID], span.TraceID)
		}
	}
}

// Trace returns the spans of a trace, and those of other traces that link to
// one of it, such as a relay's; the earliest first. It is empty for a trace that is not, or no more, known.
func (s *Spans) Trace(id string) []Span {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := slices.Clone(s.traces[id])
	for _, other := range s.linked[id] {
		for _, span := range s.traces[other] {
			if slices.ContainsFunc(span.Links, func(l Link) bool { return l.TraceID == id }) {
				out = append(out, span)
			}
		}
	}
	slices.SortStableFunc(out, func(a, b Span) int { return cmp.Or(a.Start.Compare(b.Start), -cmp.Compare(a.Micros, b.Micros)) })
	return out
}

func spanOf(e sdktrace.ReadOnlySpan) Span {
	sc := e.SpanContext()
	s := Span{
		TraceID: sc.TraceID().String(), SpanID: sc.SpanID().String(), Name: e.Name(), Kind: kindOf(e.SpanKind()),
		Start: e.StartTime(), Micros: e.EndTime().Sub(e.StartTime()).Microseconds(),
		Failed: e.Status().Code == codes.Error, Problem: e.Status().Description, Attributes: map[string]string{},
	}
	if e.Parent().HasSpanID() {
		s.ParentID = e.Parent().SpanID().String()
	}
	for _, kv := range e.Attributes() {
		s.Attributes[string(kv.Key)] = kv.Value.String()
	}
	for _, l := range e.Links() {
		s.Links = append(s.Links, Link{TraceID: l.SpanContext.TraceID().String(), SpanID: l.SpanContext.SpanID().String()})
	}
	return s
}

func kindOf(k trace.SpanKind) string {
	switch k {
	case trace.SpanKindServer:
		return "SERVER"
	case trace.SpanKindClient:
		return "CLIENT"
	case trace.SpanKindProducer:
		return "PRODUCER"
	case trace.SpanKindConsumer:
		return "CONSUMER"
	case trace.SpanKindUnspecified, trace.SpanKindInternal:
	}
	return "INTERNAL"
}
