package cluster

import (
	"context"
	"errors"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/expensevault/sharedlibrary/internal/wire"
)

// gate is a broker that lets nobody in, or fails in another way, as a test wants.
type gate struct {
	*Cluster

	mu    sync.Mutex
	dials []time.Duration // since the beginning
	shown uint64          // the credential at hand
	err   error           // of the next dials
}

func newGate() *gate {
	g := &gate{shown: 1}
	begin := time.Now()
	g.Cluster = New(Params{
		Seeds: []string{"a:1"},
		Credential: func() uint64 {
			g.mu.Lock()
			defer g.mu.Unlock()
			return g.shown
		},
		Wire: wire.Params{DialTimeout: time.Second, Dial: func(context.Context, string, string) (net.Conn, error) {
			g.mu.Lock()
			defer g.mu.Unlock()
			g.dials = append(g.dials, time.Since(begin))
			return nil, g.err
		}},
	})
	return g
}

// refuse has the dials fail as if the broker had refused the credential.
func (g *gate) refuse() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.err = &wire.AuthError{Addr: "a:1", Err: errors.New("wrong password")}
}

// accepted says that a broker has let us in.
func (g *gate) accepted() { g.proven, g.good = true, g.shown }

// within publishes, so to say, all the time, and returns when there were dials.
func (g *gate) within(t *testing.T, d time.Duration) []time.Duration {
	t.Helper()
	g.dials = nil
	for end := time.Now().Add(d); time.Now().Before(end); <-time.After(10 * time.Millisecond) {
		_, err := g.Conn(t.Context(), Any, Control)
		require.Error(t, err)
	}
	return g.dials
}

func TestAWrongPasswordIsTriedThreeTimesAMinute(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newGate()
		defer g.Close()
		g.refuse()
		begin := time.Now()
		_, err := g.Conn(t.Context(), Any, Control)
		require.True(t, isRefusal(err))
		require.Zero(t, time.Since(begin), "who was never accepted is told at once")
		require.Len(t, g.within(t, time.Minute-time.Second), 2, "and the one above")
	})
}

func TestAChangedPasswordIsTriedAtOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newGate()
		defer g.Close()
		g.refuse()
		require.Len(t, g.within(t, time.Second), 1)
		g.shown = 2
		require.Len(t, g.within(t, time.Second), 1)
		require.Empty(t, g.within(t, 10*time.Second), "it is believed of that one too: nothing has ever been accepted")
	})
}

// TestAPasswordIsReplacedAtTheBrokerFirst, and callers wait for the new one.
func TestAPasswordIsReplacedAtTheBrokerFirst(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newGate()
		defer g.Close()
		g.accepted()
		g.refuse()
		begin := time.Now()
		time.AfterFunc(2*time.Second, func() {
			g.mu.Lock()
			defer g.mu.Unlock()
			g.shown, g.err = 2, errors.New("let in, as far as this test is concerned")
		})
		_, err := g.Conn(t.Context(), Any, Control)
		require.ErrorContains(t, err, "let in")
		require.InDelta(t, 2*time.Second, time.Since(begin), float64(hopePause))
		require.Len(t, g.dials, 2, "the old password is not tried again and again")
	})
}

func TestAPasswordThatIsGoodNoMore(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newGate()
		defer g.Close()
		g.accepted()
		g.refuse()
		begin := time.Now()
		_, err := g.Conn(t.Context(), Any, Control)
		require.True(t, isRefusal(err))
		require.InDelta(t, hopeFor, time.Since(begin), float64(hopePause))
		begin = time.Now()
		_, err = g.Conn(t.Context(), Any, Control)
		require.True(t, isRefusal(err))
		require.Zero(t, time.Since(begin), "there is no hope any more")
		require.Len(t, g.within(t, time.Minute-hopeFor-time.Second), 2)
		ctx, cancel := context.WithTimeout(t.Context(), 950*time.Millisecond)
		defer cancel()
		g.failed = map[string]failure{}
		_, err = g.Conn(ctx, Any, Control)
		require.True(t, isRefusal(err), "the cause is told to who does not wait")
	})
}

// TestAPasswordIsReplacedHereFirst, and is tried again soon, since the broker may learn of it any moment.
func TestAPasswordIsReplacedHereFirst(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newGate()
		defer g.Close()
		g.accepted()
		g.shown = 2
		g.refuse()
		require.InDelta(t, 60, len(g.within(t, freshFor)), 10)
		require.Len(t, g.within(t, time.Minute), 3, "then it is taken for a wrong one")
	})
}

// TestARefusalIsTheAddress's own, and no other failure is believed.
func TestARefusalIsTheAddresssOwn(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newGate()
		defer g.Close()
		g.refuse()
		_, err := g.connect(t.Context(), "a:1")
		require.True(t, isRefusal(err))
		g.err = errors.New("no route")
		_, err = g.connect(t.Context(), "b:1")
		require.ErrorContains(t, err, "no route")
		_, err = g.connect(t.Context(), "b:1")
		require.ErrorContains(t, err, "no route")
		require.Len(t, g.dials, 3)
	})
}
