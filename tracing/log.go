package tracing

import (
	"context"
	"log/slog"
	"slices"

	"go.opentelemetry.io/otel/trace"
)

// NewLogHandler returns a handler that adds to each record what the record's
// context carries, and hands it to next: trace_id, span_id and trace_flags in
// lower-case hexadecimal, as OpenTelemetry names them in logs that are not
// OTLP, and correlation_id. What the context lacks is left out. The attributes
// are at the top level, also for a logger on which WithGroup was called.
//
// Only the methods with a context (InfoContext, LogAttrs and so on) pass one on.
// Do not use it before a bridge to OpenTelemetry's logs, which takes the trace
// from the context itself. A nil next discards everything; a next that
// NewLogHandler returned is returned as it is. The handler may be used
// concurrently as far as next may.
func NewLogHandler(next slog.Handler) slog.Handler {
	if next == nil {
		return slog.DiscardHandler
	}
	if h, ok := next.(*logHandler); ok {
		return h
	}
	return &logHandler{next: next}
}

type logHandler struct {
	next slog.Handler // with all that With… asked for
	// Once a group is open, next would put attributes into it. So from then on
	// the handler before the first group is kept, and the calls since.
	top   slog.Handler // nil: no group is open
	calls []func(slog.Handler) slog.Handler
}

func (h *logHandler) Enabled(ctx context.Context, level slog.Level) bool {
	return h.next.Enabled(ctx, level)
}

func (h *logHandler) Handle(ctx context.Context, r slog.Record) error {
	var buf [4]slog.Attr
	attrs := appendContext(ctx, buf[:0])
	if len(attrs) == 0 {
		return h.next.Handle(ctx, r)
	}
	if h.top == nil {
		r = r.Clone()
		r.AddAttrs(attrs...)
		return h.next.Handle(ctx, r)
	}
	next := h.top.WithAttrs(slices.Clone(attrs))
	for _, call := range h.calls {
		next = call(next)
	}
	return next.Handle(ctx, r)
}

func (h *logHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	if len(attrs) == 0 {
		return h
	}
	if h.top == nil {
		return &logHandler{next: h.next.WithAttrs(attrs)}
	}
	return h.with(func(next slog.Handler) slog.Handler { return next.WithAttrs(attrs) })
}

func (h *logHandler) WithGroup(name string) slog.Handler {
	if name == "" {
		return h
	}
	return h.with(func(next slog.Handler) slog.Handler { return next.WithGroup(name) })
}

func (h *logHandler) with(call func(slog.Handler) slog.Handler) slog.Handler {
	top := h.top
	if top == nil {
		top = h.next
	}
	return &logHandler{next: call(h.next), top: top, calls: append(slices.Clip(h.calls), call)}
}

// appendContext appends the attributes for what ctx carries.
func appendContext(ctx context.Context, attrs []slog.Attr) []slog.Attr {
	if ctx == nil {
		return attrs
	}
	if sc := trace.SpanContextFromContext(ctx); sc.IsValid() {
		attrs = append(attrs,
			slog.String("trace_id", sc.TraceID().String()),
			slog.String("span_id", sc.SpanID().String()),
			slog.String("trace_flags", sc.TraceFlags().String()))
	}
	if id := CorrelationID(ctx); id != "" {
		attrs = append(attrs, slog.String("correlation_id", id))
	}
	return attrs
}
