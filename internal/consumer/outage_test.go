package consumer

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestOutageIsLoggedOnce(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	o := outage{log: slog.New(slog.NewTextHandler(&b, nil))}
	ctx, down := t.Context(), errors.New("down")
	lines := func() int { return strings.Count(b.String(), "\n") }

	o.ok(ctx, "a")
	assert.Zero(t, lines(), "nothing was wrong")
	for range 3 {
		o.fail(ctx, "a", down)
		o.fail(ctx, "b", down)
	}
	assert.Equal(t, 1, lines())
	assert.Contains(t, b.String(), "level=WARN")
	o.ok(ctx, "a")
	assert.Equal(t, 1, lines(), "b is still away")
	o.ok(ctx, "b")
	assert.Equal(t, 2, lines())
	assert.Contains(t, b.String(), "works again")

	o.fail(ctx, "a", down)
	o.drop("a")
	o.ok(ctx, "a")
	assert.Equal(t, 3, lines(), "what is dropped does not work again")

	over, cancel := context.WithCancel(ctx)
	cancel()
	o.fail(over, "a", down)
	assert.Equal(t, 3, lines(), "whoever gives up has no trouble")
}
