// Package backoff spaces out retries.
package backoff

import (
	"context"
	"math/rand/v2"
	"time"
)

// Policy doubles the pause from Min to Max; each pause is drawn from its upper half.
type Policy struct{ Min, Max time.Duration }

// Pause is how long to wait before retry n, counted from 0.
func (p Policy) Pause(n int) time.Duration {
	d := p.Min
	for range n {
		if d >= p.Max/2 {
			d = p.Max
			break
		}
		d *= 2
	}
	d = min(d, p.Max)
	if d <= 1 {
		return d
	}
	return d/2 + rand.N(d/2) //nolint:gosec // jitter, not a secret
}

// Wait pauses before retry n; false when ctx ended first.
func (p Policy) Wait(ctx context.Context, n int) bool {
	t := time.NewTimer(p.Pause(n))
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
