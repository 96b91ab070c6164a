package api_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"

	"github.com/expensevault/sharedlibrary/examples/customservice/internal/api"
	"github.com/expensevault/sharedlibrary/examples/customservice/internal/cache"
	"github.com/expensevault/sharedlibrary/examples/customservice/internal/event"
	"github.com/expensevault/sharedlibrary/examples/customservice/internal/service"
	"github.com/expensevault/sharedlibrary/examples/customservice/internal/store"
	"github.com/expensevault/sharedlibrary/messaging/messagingtest"
)

const user = "550e8400-e29b-41d4-a716-446655440000"

type bundle struct {
	t        *testing.T
	handler  http.Handler
	store    *store.Store
	recorder *messagingtest.Recorder
	log      *bytes.Buffer
	health   api.Health
}

func setup(t *testing.T) *bundle {
	t.Helper()
	b := &bundle{t: t, recorder: &messagingtest.Recorder{}, log: &bytes.Buffer{}, health: api.Health{Status: "ok"}}
	st, err := store.Open(t.Context(), store.Memory)
	require.NoError(t, err)
	t.Cleanup(func() { _ = st.Close() })
	b.store = st
	log := slog.New(slog.NewTextHandler(b.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	svc := service.NewDirect(st, cache.NewMemory(time.Minute, 100), b.recorder, log)
	tracer := sdktrace.NewTracerProvider().Tracer("test")
	b.handler = api.New(svc, st, func(context.Context) api.Health { return b.health }, tracer, log)
	return b
}

type answer struct {
	*httptest.ResponseRecorder

	t *testing.T
}

func (b *bundle) do(method, path, body string, headers ...string) answer {
	b.t.Helper()
	var reader io.Reader
	if body != "" {
		reader = strings.NewReader(body)
	}
	r := httptest.NewRequestWithContext(b.t.Context(), method, path, reader)
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	for pair := range slices.Chunk(headers, 2) {
		r.Header.Set(pair[0], pair[1])
	}
	w := httptest.NewRecorder()
	b.handler.ServeHTTP(w, r)
	return answer{w, b.t}
}

func (a answer) json(status int) map[string]any {
	a.t.Helper()
	require.Equal(a.t, status, a.Code, a.Body.String())
	var v map[string]any
	require.NoError(a.t, json.Unmarshal(a.Body.Bytes(), &v), a.Body.String())
	return v
}

func (a answer) problem(status int) {
	a.t.Helper()
	v := a.json(status)
	assert.Equal(a.t, "application/problem+json", a.Header().Get("Content-Type"))
	assert.InDelta(a.t, status, v["status"], 0)
	assert.NotEmpty(a.t, v["title"])
	assert.NotEmpty(a.t, v["detail"])
	assert.Equal(a.t, a.Header().Get("X-Correlation-ID"), v["correlationId"])
	assert.Len(a.t, v["traceId"], 32)
}

func (b *bundle) create() string {
	b.t.Helper()
	id, ok := b.do("POST", "/items", `{"name":"Lamp","userId":"`+user+`"}`).json(http.StatusCreated)["id"].(string)
	require.True(b.t, ok)
	return id
}

func TestLifeOfAnItem(t *testing.T) {
	t.Parallel()
	b := setup(t)
	made := b.do("POST", "/items", `{"name":"Lamp","description":"of brass","userId":"`+user+
		`","categoryId":"660e8400-e29b-41d4-a716-446655440000"}`, "X-Correlation-ID", "abc-1")
	it := made.json(http.StatusCreated)
	assert.Equal(t, "abc-1", made.Header().Get("X-Correlation-ID"))
	assert.Equal(t, `"1"`, made.Header().Get("ETag"))
	path := made.Header().Get("Location")
	assert.Equal(t, "/items/"+it["id"].(string), path)
	assert.Equal(t, "Active", it["status"])
	assert.Equal(t, "abc-1", messagingtest.One[*event.ItemCreated](t, b.recorder).CorrelationID)

	got := b.do("GET", path, "")
	assert.Equal(t, it, got.json(http.StatusOK))

	// What GET answers may be sent back.
	body := strings.Replace(got.Body.String(), "Lamp", "Bright lamp", 1)
	changed := b.do("PUT", path, body, "If-Match", got.Header().Get("ETag"))
	assert.Equal(t, "Bright lamp", changed.json(http.StatusOK)["name"])
	assert.Equal(t, `"2"`, changed.Header().Get("ETag"))
	b.do("PUT", path, body, "If-Match", `"1"`).problem(http.StatusPreconditionFailed)

	assert.Equal(t, http.StatusNoContent, b.do("DELETE", path+"?deletedBy=user%40example.com", "").Code)
	assert.Equal(t, "user@example.com", messagingtest.One[*event.ItemDeleted](t, b.recorder).DeletedBy)
	b.do("GET", path, "").problem(http.StatusNotFound)
	b.do("PUT", path, body).problem(http.StatusNotFound)
	b.do("DELETE", path, "").problem(http.StatusNotFound)
}

func TestDeleteWithBody(t *testing.T) {
	t.Parallel()
	b := setup(t)
	path := "/items/" + b.create()
	b.do("DELETE", path, `{"deletedBy":3}`).problem(http.StatusBadRequest)
	assert.Equal(t, http.StatusNoContent, b.do("DELETE", path, `{"deletedBy":"user@example.com"}`).Code)
	assert.Equal(t, "user@example.com", messagingtest.One[*event.ItemDeleted](t, b.recorder).DeletedBy)
}

func TestBadInput(t *testing.T) {
	t.Parallel()
	const good = `{"name":"Lamp","userId":"` + user + `"}`
	tests := []struct {
		name, method, path, body string
		headers                  []string
		status                   int
		want                     string // somewhere in the answer
	}{
		{"broken JSON", "POST", "/items", "{\n  \"name\": Lamp}", nil, 400, "line 2, column 11"},
		{"cut off", "POST", "/items", `{"name":"La`, nil, 400, "ends too early, at line 1, column 11"},
		{"spaces", "POST", "/items", "  ", nil, 400, "body is empty"},
		{"a list", "POST", "/items", "[]", nil, 400, "not a JSON object"},
		{"null", "POST", "/items", "null", nil, 400, "not a JSON object"},
		{"two objects", "POST", "/items", good + "{}", nil, 400, "goes on after"},
		{"not UTF-8", "POST", "/items", "{\"name\":\"\xff\"}", nil, 400, "UTF-8"},
		{"a number for a name", "POST", "/items", `{"name":7}`, nil, 400, `"name":"must be a string, not a JSON number`},
		{"a misspelt field", "POST", "/items", `{"nam":"Lamp"}`, nil, 400, `"nam":"is not a field`},
		{"nothing that is needed", "POST", "/items", `{}`, nil, 400, `"errors":{"name":"must not be empty","userId":`},
		{"no UUID", "POST", "/items", `{"name":"Lamp","userId":"me"}`, nil, 400, `"userId":"must be a UUID`},
		{"UUID without hyphens", "POST", "/items", `{"name":"Lamp","userId":"550e8400e29b41d4a716446655440000"}`, nil, 400, `"userId"`},
		{"no category", "POST", "/items", `{"name":"Lamp","userId":"` + user + `","categoryId":"x"}`, nil, 400, `"categoryId"`},
		{"a form", "POST", "/items", good, []string{"Content-Type", "application/x-www-form-urlencoded"}, 415, "send application/json"},
		{"no type", "POST", "/items", good, []string{"Content-Type", ""}, 415, "send application/json"},
		{"other charset", "POST", "/items", good, []string{"Content-Type", "application/json; charset=latin1"}, 415, "json"},
		{"too much", "POST", "/items", `{"name":"` + strings.Repeat("x", 64<<10) + `"}`, nil, 413, "65536 bytes"},
		{"bad id", "GET", "/items/7", "", nil, 400, `"id":"must be a UUID`},
		{"unknown id", "GET", "/items/" + user, "", nil, 404, "no such item"},
		{"bad ETag", "PUT", "/items/" + user, good, []string{"If-Match", "3"}, 400, `"If-Match"`},
		{"bad limit", "GET", "/items?limit=0", "", nil, 400, `"limit":"must be a whole number from 1 to 200"`},
		{"bad cursor", "GET", "/items?cursor=abc", "", nil, 400, `"cursor"`},
		{"bad user", "GET", "/items?userId=abc", "", nil, 400, `"userId"`},
		{"bad user in analytics", "GET", "/analytics?userId=abc", "", nil, 400, `"userId"`},
		{"nowhere", "GET", "/nowhere", "", nil, 404, "Begin with /items"},
		{"wrong method", "PATCH", "/items/" + user, "", nil, 405, "PATCH is not possible here, but DELETE, GET, HEAD, PUT is"},
		{"bad user in the trail", "GET", "/audit/users/7", "", nil, 400, `"id":"must be a UUID`},
		{"no trail", "GET", "/audit/items/" + user, "", nil, 404, "no event of this item"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			got := b.do(tt.method, tt.path, tt.body, tt.headers...)
			got.problem(tt.status)
			assert.Contains(t, got.Body.String(), tt.want)
			if tt.status == http.StatusMethodNotAllowed {
				assert.Equal(t, "DELETE, GET, HEAD, PUT", got.Header().Get("Allow"))
			}
			assert.Empty(t, b.recorder.Events())
		})
	}
}

func TestPages(t *testing.T) {
	t.Parallel()
	b := setup(t)
	var ids []string
	for range 5 {
		ids = append(ids, b.create())
	}
	var seen []string
	path := "/items?limit=2&userId=" + user
	for next := path; next != ""; {
		page := b.do("GET", next, "").json(http.StatusOK)
		for _, it := range page["items"].([]any) {
			seen = append(seen, it.(map[string]any)["id"].(string))
		}
		next = ""
		if cursor, ok := page["nextCursor"].(string); ok {
			next = path + "&cursor=" + cursor
		}
	}
	assert.Equal(t, ids, seen)
	empty := b.do("GET", "/items?userId="+uuid.NewString(), "")
	empty.json(http.StatusOK)
	assert.JSONEq(t, `{"items":[]}`, empty.Body.String())
}

func TestAuditRebuildsTheItem(t *testing.T) {
	t.Parallel()
	b := setup(t)
	id := b.create()
	b.do("PUT", "/items/"+id, `{"name":"Bright lamp","status":"Inactive","modifiedBy":"a"}`).json(http.StatusOK)
	b.do("DELETE", "/items/"+id+"?deletedBy=b", "")
	for i, rec := range b.recorder.Records() {
		e, ok := b.recorder.Events()[i].(event.OfItem)
		require.True(t, ok)
		require.NoError(t, b.store.InTx(t.Context(), func(tx *store.Tx) error {
			return tx.Append(t.Context(), store.AuditEntry{
				EventID: e.Metadata().EventID, Topic: rec.Topic, ItemID: e.ItemID(), UserID: uuid.MustParse(user),
				Time: e.Metadata().Timestamp, CorrelationID: e.Metadata().CorrelationID, Payload: rec.Value,
			})
		}))
	}
	got := b.do("GET", "/audit/items/"+id, "").json(http.StatusOK)
	assert.Len(t, got["events"], 3)
	assert.Equal(t, got["events"], b.do("GET", "/audit/users/"+user, "").json(http.StatusOK)["events"])
	assert.Equal(t, map[string]any{
		"name": "Bright lamp", "description": "", "userId": user, "status": "Inactive", "modifiedBy": "a", "deleted": true, "deletedBy": "b",
	}, got["state"])
}

func TestAnalytics(t *testing.T) {
	t.Parallel()
	b := setup(t)
	assert.JSONEq(t, `{"byStatus":{},"byUser":[]}`, b.do("GET", "/analytics", "").Body.String())
	require.NoError(t, b.store.InTx(t.Context(), func(tx *store.Tx) error {
		return tx.Count(t.Context(), uuid.New(), uuid.MustParse(user), "Active", time.Now())
	}))
	assert.JSONEq(t, `{"byStatus":{"Active":1},"byUser":[{"userId":"`+user+`","items":{"Active":1}}]}`,
		b.do("GET", "/analytics?userId="+user, "").Body.String())
}

func TestHealth(t *testing.T) {
	t.Parallel()
	for status, code := range map[string]int{"ok": 200, "degraded": 200, "down": 503} {
		b := setup(t)
		b.health.Status = status
		assert.Equal(t, status, b.do("GET", "/health", "").json(code)["status"])
	}
}

func TestFailuresAreNotShown(t *testing.T) {
	t.Parallel()
	b := setup(t)
	require.NoError(t, b.store.Close())
	got := b.do("GET", "/items", "")
	got.problem(http.StatusInternalServerError)
	assert.NotContains(t, got.Body.String(), "sql")
	assert.Contains(t, b.log.String(), "closed")
}

func TestPanic(t *testing.T) {
	t.Parallel()
	log := &bytes.Buffer{}
	handler := api.New(nil, nil, func(context.Context) api.Health { panic("ouch") },
		sdktrace.NewTracerProvider().Tracer("test"), slog.New(slog.NewTextHandler(log, nil)))
	w := httptest.NewRecorder()
	handler.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/health", nil))
	assert.Equal(t, http.StatusInternalServerError, w.Code)
	assert.Equal(t, "application/problem+json", w.Header().Get("Content-Type"))
	assert.Contains(t, log.String(), "ouch")
	assert.Contains(t, log.String(), "api_test.go")
}
