// Package api is customservice over HTTP: JSON in and out, errors as RFC 9457
// has them.
package api

import (
	"fmt"
	"log/slog"
	"net/http"
	"runtime/debug"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	"github.com/expensevault/sharedlibrary/examples/customservice/internal/service"
	"github.com/expensevault/sharedlibrary/examples/customservice/internal/store"
	"github.com/expensevault/sharedlibrary/tracing"
)

// How long the API may take to look at its health.
const healthTimeout = 3 * time.Second

// API answers HTTP requests.
type API struct {
	service *service.Service
	store   *store.Store
	health  HealthFunc
	tracer  trace.Tracer
	log     *slog.Logger
}

// New returns the handler of all requests.
func New(svc *service.Service, st *store.Store, health HealthFunc, tracer trace.Tracer, log *slog.Logger) http.Handler {
	a := &API{service: svc, store: st, health: health, tracer: tracer, log: log}
	mux := http.NewServeMux()
	for pattern, h := range map[string]func(http.ResponseWriter, *http.Request) error{
		"POST /items":           a.createItem,
		"GET /items":            a.listItems,
		"GET /items/{id}":       a.getItem,
		"PUT /items/{id}":       a.updateItem,
		"DELETE /items/{id}":    a.deleteItem,
		"GET /audit/items/{id}": a.auditItem,
		"GET /audit/users/{id}": a.auditUser,
		"GET /analytics":        a.analytics,
		"GET /health":           a.getHealth,
	} {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			if err := h(w, r); err != nil {
				a.fail(w, r, err)
			}
		})
	}
	return tracing.Middleware(a.observe(mux))
}

// observe gives each request a span, so that its log lines, its events and what
// they cause have one trace; it logs the request, and survives a panic.
func (a *API) observe(mux *http.ServeMux) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		begin := time.Now()
		handler, pattern := mux.Handler(r)
		name := pattern
		if name == "" {
			name = r.Method
		}
		ctx, span := a.tracer.Start(r.Context(), name, trace.WithSpanKind(trace.SpanKindServer),
			trace.WithAttributes(attribute.String("http.request.method", r.Method), attribute.String("url.path", r.URL.Path)))
		defer span.End()
		r = r.WithContext(ctx)
		answer := &recorder{ResponseWriter: w}
		defer func() {
			if p := recover(); p != nil {
				if p == http.ErrAbortHandler { //nolint:errorlint // net/http compares it so
					panic(p)
				}
				a.log.ErrorContext(ctx, "Request panicked", slog.Any("panic", p), slog.String("stack", string(debug.Stack())))
				if answer.status == 0 {
					a.fail(answer, r, fmt.Errorf("panic: %v", p))
				}
			}
			span.SetAttributes(attribute.Int("http.response.status_code", answer.status))
			level := slog.LevelDebug
			if answer.status >= http.StatusInternalServerError {
				span.SetStatus(codes.Error, "")
				level = slog.LevelWarn
			}
			a.log.LogAttrs(ctx, level, "Answered", slog.String("method", r.Method), slog.String("path", r.URL.Path),
				slog.Int("status", answer.status), slog.Duration("took", time.Since(begin)))
		}()
		if pattern == "" {
			a.noRoute(answer, r, handler)
			return
		}
		mux.ServeHTTP(answer, r) // and not handler: it is mux that sets the path's values
	})
}

// noRoute answers what the mux would, 404 or 405 with the header Allow, in our form.
func (a *API) noRoute(w http.ResponseWriter, r *http.Request, muxes http.Handler) {
	probe := &headerOnly{header: http.Header{}}
	muxes.ServeHTTP(probe, r)
	if probe.status == http.StatusMethodNotAllowed {
		allowed := probe.header.Get("Allow")
		w.Header().Set("Allow", allowed)
		a.fail(w, r, &httpError{status: http.StatusMethodNotAllowed, detail: r.Method + " is not possible here, but " + allowed + " is."})
		return
	}
	a.fail(w, r, &httpError{status: http.StatusNotFound, detail: "There is nothing at this address. Begin with /items."})
}

// recorder remembers the status.
type recorder struct {
	http.ResponseWriter

	status int
}

func (w *recorder) WriteHeader(status int) {
	if w.status == 0 {
		w.status = status
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *recorder) Write(p []byte) (int, error) {
	if w.status == 0 {
		w.status = http.StatusOK
	}
	return w.ResponseWriter.Write(p)
}

// Unwrap is for http.ResponseController.
func (w *recorder) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// headerOnly takes an answer's header and status, and drops the rest.
type headerOnly struct {
	header http.Header
	status int
}

func (w *headerOnly) Header() http.Header { return w.header }

func (w *headerOnly) WriteHeader(status int) { w.status = status }

func (w *headerOnly) Write(p []byte) (int, error) { return len(p), nil }
