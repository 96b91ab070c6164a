package producer_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestFirstEventGoesAtOnce: leaders and producer ID are asked for one after the other, without a pause between them.
func TestFirstEventGoesAtOnce(t *testing.T) {
	t.Parallel()
	inBubble(t, settings{}, func(w *world) {
		w.first()
		require.Less(w, w.answer(0).after, 20*time.Millisecond)
	})
}
