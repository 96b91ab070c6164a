package messaging

import (
	"context"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Who publishes with ever new contexts, of which none ends, does not fill the memory; and those with events stay watched.
func TestContextsThatDoNotEnd(t *testing.T) {
	t.Parallel()
	c := &cancels{}
	open := map[<-chan struct{}]*cancelGroup{}
	for i := range 20_000 {
		ctx, cancel := context.WithCancel(context.Background())
		_ = cancel
		g := c.join(ctx)
		require.Same(t, g, c.join(ctx))
		g.left.Add(1)
		if i%1000 == 0 {
			open[ctx.Done()] = g
			continue
		}
		g.left.Add(1)
	}
	assert.LessOrEqual(t, len(c.groups), leastGroups)
	for key, g := range open {
		require.Same(t, g, c.groups[key])
	}
	for _, g := range open {
		g.left.Add(1)
	}
	c.close()
	assert.Empty(t, c.groups)
	assert.Nil(t, c.join(context.WithoutCancel(t.Context())))
}
