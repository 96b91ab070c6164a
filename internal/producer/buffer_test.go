package producer

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func granted(w *waiter) bool {
	select {
	case <-w.ready:
		return true
	default:
		return false
	}
}

func TestBufferIsFirstComeFirstServed(t *testing.T) {
	t.Parallel()
	b := buffer{limit: 10}
	require.True(t, b.tryTake(8))
	large := b.wait(9)
	small := b.wait(2)
	require.False(t, b.tryTake(1), "nobody passes who waits")
	b.release(4)
	require.False(t, granted(large))
	require.False(t, granted(small), "nor the one in front")
	b.release(4)
	require.True(t, granted(large))
	require.False(t, granted(small))
	b.release(9)
	require.True(t, granted(small))
	require.Equal(t, 2, b.used)
}

func TestBufferTakesWhatIsLargerWhenEmpty(t *testing.T) {
	t.Parallel()
	b := buffer{limit: 10}
	require.True(t, b.tryTake(50))
	require.False(t, b.tryTake(1))
	b.release(50)
	require.True(t, b.tryTake(1))
}

func TestLeavingTheQueueLetsOthersPass(t *testing.T) {
	t.Parallel()
	b := buffer{limit: 10}
	require.True(t, b.tryTake(5))
	large, small := b.wait(9), b.wait(2)
	require.True(t, b.leave(large))
	require.True(t, granted(small))
	require.False(t, b.leave(small), "its room is taken: the caller must give it back")
}
