package tracing_test

import (
	"bytes"
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"

	"github.com/expensevault/sharedlibrary/tracing"
)

// hostileIDs are IDs that must not get into a header or a log.
func hostileIDs() map[string]string {
	return map[string]string{
		"129 characters": strings.Repeat("a", 129),
		"a megabyte":     strings.Repeat("a", 1<<20),
		"CR LF":          "a\r\nSet-Cookie: x=1",
		"LF":             "a\n",
		"NUL":            "a\x00b",
		"escape":         "\x1b[2J",
		"space":          "a b",
		"tab":            "a\t",
		"comma":          "a,b",
		"quote":          `a"b`,
		"markup":         "<script>",
		"slash":          "../../etc/passwd",
		"percent":        "%0d%0a",
		"unicode":        "abcä",
		"full width":     "ａｂｃ",
		"line separator": "a\u2028b",
		"not UTF-8":      "a\xffb",
	}
}

func TestValidCorrelationID(t *testing.T) {
	t.Parallel()
	for _, id := range []string{
		"a", "abc123-def456", uuid.NewString(), strings.ToUpper(uuid.NewString()), "0HMVD9QKPJ4J3:00000001",
		"01ARZ3NDEKTSV4RRFFQ69G5FAV", "A.b_c:d-9", strings.Repeat("a", 128),
	} {
		assert.True(t, tracing.ValidCorrelationID(id), id)
	}
	assert.False(t, tracing.ValidCorrelationID(""))
	for name, id := range hostileIDs() {
		assert.False(t, tracing.ValidCorrelationID(id), name)
	}
	for c := range 256 {
		want := bytes.IndexByte([]byte("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._:-"), byte(c)) >= 0
		assert.Equal(t, want, tracing.ValidCorrelationID(string([]byte{'a', byte(c)})), "byte %#x", c)
	}
}

func TestIDsInTheContext(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	assert.Empty(t, tracing.CorrelationID(ctx))
	assert.Empty(t, tracing.CausationID(ctx))

	ctx = tracing.WithCausationID(tracing.WithCorrelationID(ctx, "correlation"), "causation")
	assert.Equal(t, "correlation", tracing.CorrelationID(ctx))
	assert.Equal(t, "causation", tracing.CausationID(ctx))

	inner := tracing.WithCorrelationID(ctx, "inner")
	assert.Equal(t, "inner", tracing.CorrelationID(inner))
	assert.Equal(t, "correlation", tracing.CorrelationID(ctx))
	assert.Equal(t, "causation", tracing.CausationID(inner))

	for name, id := range hostileIDs() {
		assert.Equal(t, "correlation", tracing.CorrelationID(tracing.WithCorrelationID(ctx, id)), name)
		assert.Equal(t, "causation", tracing.CausationID(tracing.WithCausationID(ctx, id)), name)
	}
	assert.Equal(t, ctx, tracing.WithCorrelationID(ctx, "correlation"), "nothing to change")
	assert.Empty(t, tracing.CorrelationID(tracing.WithCorrelationID(ctx, "")))
	assert.Empty(t, tracing.CausationID(tracing.WithCausationID(ctx, "")))
	assert.Equal(t, "causation", tracing.CausationID(tracing.WithCorrelationID(ctx, "")))
}
