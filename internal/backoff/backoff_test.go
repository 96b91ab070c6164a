package backoff

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

func TestPauseGrowsToItsMaximum(t *testing.T) {
	t.Parallel()
	p := Policy{Min: 50 * time.Millisecond, Max: time.Second}
	for n, ms := range []int64{50, 100, 200, 400, 800, 1000, 1000} {
		whole := time.Duration(ms) * time.Millisecond
		for range 100 {
			d := p.Pause(n)
			require.GreaterOrEqual(t, d, whole/2)
			require.Less(t, d, whole)
		}
	}
	require.LessOrEqual(t, p.Pause(1<<30), time.Second, "and does not overflow")
	require.Zero(t, Policy{}.Pause(3))
	require.LessOrEqual(t, Policy{Min: time.Minute, Max: time.Second}.Pause(0), time.Second)
}

func TestWait(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := Policy{Min: time.Second, Max: time.Second}
		require.True(t, p.Wait(t.Context(), 0))
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		require.False(t, p.Wait(ctx, 0))
	})
}
