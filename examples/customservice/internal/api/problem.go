package api

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"strconv"

	"go.opentelemetry.io/otel/trace"

	"github.com/expensevault/sharedlibrary/examples/customservice/internal/item"
	"github.com/expensevault/sharedlibrary/tracing"
)

// problem is an error as the client sees it: RFC 9457, application/problem+json.
type problem struct {
	Type     string       `json:"type"`
	Title    string       `json:"title"`
	Status   int          `json:"status"`
	Detail   string       `json:"detail,omitempty"`
	Instance string       `json:"instance"`
	Errors   item.Invalid `json:"errors,omitempty"` // by field
	// With these two the log can be asked what happened.
	CorrelationID string `json:"correlationId,omitempty"`
	TraceID       string `json:"traceId,omitempty"`
}

// httpError is an error that knows its status.
type httpError struct {
	status int
	detail string
	fields item.Invalid
}

func (e *httpError) Error() string { return e.detail }

func badRequest(detail string) error {
	return &httpError{status: http.StatusBadRequest, detail: detail}
}

func badField(field, reason string) error {
	return &httpError{status: http.StatusBadRequest, detail: invalidDetail, fields: item.Invalid{field: reason}}
}

const invalidDetail = "Nothing was changed. See errors, by the name of the field."

// fail answers with what the error stands for.
func (a *API) fail(w http.ResponseWriter, r *http.Request, err error) {
	var (
		known   *httpError
		invalid item.Invalid
	)
	switch {
	case errors.As(err, &known):
	case errors.As(err, &invalid):
		known = &httpError{http.StatusBadRequest, invalidDetail, invalid}
	case errors.Is(err, item.ErrNotFound):
		known = &httpError{http.StatusNotFound, "There is no such item, or it has been deleted.", nil}
	case errors.Is(err, item.ErrVersion):
		known = &httpError{
			http.StatusPreconditionFailed,
			"The item has been changed since: get it again, and send its ETag as If-Match.", nil,
		}
	case r.Context().Err() != nil && errors.Is(err, context.Canceled):
		known = &httpError{statusClientGone, "The client went away.", nil}
	case errors.Is(err, context.DeadlineExceeded):
		known = &httpError{http.StatusServiceUnavailable, "The service did not get it done in time. Try again later.", nil}
		a.log.ErrorContext(r.Context(), "Request took too long", slog.String("path", r.URL.Path), slog.Any("error", err))
	default:
		known = &httpError{http.StatusInternalServerError, "Something went wrong here. The log knows more, under the correlation ID.", nil}
		a.log.ErrorContext(r.Context(), "Request failed", slog.String("path", r.URL.Path), slog.Any("error", err))
	}
	if known.status == http.StatusServiceUnavailable {
		w.Header().Set("Retry-After", strconv.Itoa(5))
	}
	writeProblem(w, r, known)
}

// statusClientGone is nginx's, for the log: nobody reads the answer.
const statusClientGone = 499

func writeProblem(w http.ResponseWriter, r *http.Request, e *httpError) {
	p := problem{
		Type: "about:blank", Title: http.StatusText(e.status), Status: e.status, Detail: e.detail,
		Instance: r.URL.Path, Errors: e.fields, CorrelationID: tracing.CorrelationID(r.Context()),
	}
	if sc := trace.SpanContextFromContext(r.Context()); sc.IsValid() {
		p.TraceID = sc.TraceID().String()
	}
	w.Header().Set("Content-Type", "application/problem+json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(e.status)
	_ = json.NewEncoder(w).Encode(p) // the client may be gone
}

func writeJSON(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body) // the client may be gone
}
