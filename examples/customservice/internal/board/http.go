package board

import (
	"bytes"
	"embed"
	"encoding/json"
	"fmt"
	"io/fs"
	"log/slog"
	"mime"
	"net/http"
	"slices"
	"time"
)

//go:embed page
var files embed.FS

// Register adds the page and what it needs. consumers are the names that may be switched to fail.
func (b *Board) Register(mux *http.ServeMux, consumers []string) {
	page, err := fs.Sub(files, "page")
	if err != nil {
		panic(err) // it is embedded
	}
	static := http.FileServerFS(page)
	mux.Handle("GET /{$}", secured(static))
	mux.Handle("GET /page/", http.StripPrefix("/page/", secured(static)))
	mux.HandleFunc("GET /stream", b.stream)
	mux.HandleFunc("GET /traces/{id}", b.trace)
	mux.HandleFunc("POST /dead-letters/redrive", b.postRedrive)
	mux.HandleFunc("POST /consumers/{name}/failing", func(w http.ResponseWriter, r *http.Request) {
		if name := r.PathValue("name"); !slices.Contains(consumers, name) {
			problem(w, http.StatusNotFound, fmt.Sprintf("There is no consumer %q in this process: there are %q.", name, consumers))
			return
		}
		b.postFailing(w, r)
	})
}

// secured lets the page load nothing from elsewhere, and nobody frame it.
func secured(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cache-Control", "no-cache")
		next.ServeHTTP(w, r)
	})
}

// streamWrite is how long a browser may take to take a message; a comment tells a dead one from a quiet one.
const (
	streamWrite = 10 * time.Second
	streamBeat  = 15 * time.Second
)

func (b *Board) stream(w http.ResponseWriter, r *http.Request) {
	control := http.NewResponseController(w)
	h := w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Accel-Buffering", "no")
	send := func(text []byte) bool {
		// A writer that knows no deadline has none to be in the way.
		_ = control.SetWriteDeadline(time.Now().Add(streamWrite))
		if _, err := w.Write(text); err != nil {
			return false
		}
		return control.Flush() == nil
	}
	before, ch := b.view()
	defer b.leave(ch)
	var all bytes.Buffer
	all.WriteString("retry: 1000\nevent: hello\ndata: {}\n\n")
	for _, m := range before {
		all.Write(m.bytes())
	}
	if !send(all.Bytes()) {
		return
	}
	beat := time.NewTicker(streamBeat)
	defer beat.Stop()
	for {
		select {
		case m, ok := <-ch:
			if !ok || !send(m.bytes()) {
				return
			}
		case <-beat.C:
			if !send([]byte(": still here\n\n")) {
				return
			}
		case <-r.Context().Done():
			return
		}
	}
}

// bytes is the message as server-sent events have it. JSON has no line breaks of its own.
func (m message) bytes() []byte {
	return slices.Concat([]byte("event: "+m.kind+"\ndata: "), m.data, []byte("\n\n"))
}

func (b *Board) trace(w http.ResponseWriter, r *http.Request) {
	id := r.PathValue("id")
	spans := b.spans.Trace(id)
	if len(spans) == 0 {
		problem(w, http.StatusNotFound, "This process knows no trace "+id+", or no more: it keeps the last 500.")
		return
	}
	answer(w, http.StatusOK, map[string]any{"traceId": id, "spans": spans})
}

func (b *Board) postRedrive(w http.ResponseWriter, r *http.Request) {
	var body struct {
		Group string `json:"group"`
	}
	if !read(w, r, &body) {
		return
	}
	result, err := b.Redrive(r.Context(), body.Group)
	if err != nil {
		b.log.WarnContext(r.Context(), "The dead letters could not be redriven", slog.Any("error", err))
		problem(w, http.StatusServiceUnavailable, fmt.Sprintf("%d were sent, and then: %v", result.Sent, err))
		return
	}
	answer(w, http.StatusOK, map[string]int{"sent": result.Sent})
}

func (b *Board) postFailing(w http.ResponseWriter, r *http.Request) {
	var body struct {
		Failing *bool `json:"failing"`
	}
	if !read(w, r, &body) {
		return
	}
	if body.Failing == nil {
		problem(w, http.StatusBadRequest, `Say {"failing":true} or {"failing":false}.`)
		return
	}
	b.Fail(r.PathValue("name"), *body.Failing)
	answer(w, http.StatusOK, map[string]bool{"failing": *body.Failing})
}

// read takes JSON alone: what another site's form could send is refused.
func read(w http.ResponseWriter, r *http.Request, v any) bool {
	if kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || kind != "application/json" {
		problem(w, http.StatusUnsupportedMediaType, "Send application/json.")
		return false
	}
	d := json.NewDecoder(http.MaxBytesReader(w, r.Body, 4<<10))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		problem(w, http.StatusBadRequest, "The body is not the JSON object that is expected: "+err.Error())
		return false
	}
	return true
}

func answer(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body) // the client may be gone
}

func problem(w http.ResponseWriter, status int, detail string) {
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]any{"title": http.StatusText(status), "status": status, "detail": detail}) // likewise
}
