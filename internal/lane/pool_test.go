package lane

import (
	"context"
	"fmt"
	"math/rand/v2"
	"runtime"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// newTestPool is a pool with one handler for all workers.
func newTestPool(l Limits, concurrency int, handle func(Run[string]) Verdict) *Pool[string] {
	return NewPool(Params[string]{
		Limits: l, Concurrency: concurrency, Detach: func(*string) {},
		NewHandler: func() func(Run[string]) Verdict { return handle },
	})
}

func finish(t *testing.T, p *Pool[string], parts ...*Partition[string]) {
	t.Helper()
	for _, part := range parts {
		p.Stop(part)
		<-part.Drained()
	}
	p.Close()
}

// keys are n records with as many keys.
func keys(n int) []string {
	out := make([]string, n)
	for i := range out {
		out[i] = "-"
	}
	return out
}

func TestPoolUsesAllWorkersAndNoMore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		now, most := 0, 0
		p := newTestPool(roomy, 50, func(Run[string]) Verdict {
			mu.Lock()
			now++
			most = max(most, now)
			mu.Unlock()
			<-time.After(5 * time.Millisecond)
			mu.Lock()
			now--
			mu.Unlock()
			return Verdict{}
		})
		a, b := p.Open(0, nil, 1, nil), p.Open(0, nil, 1, nil)
		begin := time.Now()
		require.True(t, p.Feed(t.Context(), a, tasks(0, keys(250)...), 250))
		require.True(t, p.Feed(t.Context(), b, tasks(0, keys(250)...), 250))
		synctest.Wait()
		for p.State(a, 0).Position+p.State(b, 0).Position < 500 {
			<-time.After(time.Millisecond)
		}
		assert.Equal(t, 50, most)
		assert.LessOrEqual(t, time.Since(begin), 52*time.Millisecond, "500 of 5 ms each, by 50 workers")
		finish(t, p, a, b)
	})
}

// Handlers that return at once get few workers; once they get stuck, the others help.
func TestPoolHelpsWhenFewWorkersGetStuck(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		procs := runtime.GOMAXPROCS(0)
		stuck, entered := make(chan struct{}), make(chan struct{}, 100)
		p := newTestPool(roomy, procs+8, func(r Run[string]) Verdict {
			if r.Head.Offset >= 500 {
				entered <- struct{}{}
				<-stuck
			}
			return Verdict{}
		})
		a := p.Open(0, nil, 1, nil)
		p.Feed(t.Context(), a, tasks(0, keys(500)...), 500)
		synctest.Wait()
		require.EqualValues(t, 500, p.State(a, 0).Position)
		p.Feed(t.Context(), a, tasks(500, keys(procs+8)...), 500+int64(procs+8))
		synctest.Wait()
		assert.Len(t, entered, procs, "by now")
		<-time.After(2 * time.Millisecond)
		synctest.Wait()
		assert.Len(t, entered, procs+8)
		close(stuck)
		synctest.Wait()
		finish(t, p, a)
	})
}

func TestPoolParksWithoutAWorker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begin := time.Now()
		var mu sync.Mutex
		var got []string
		p := newTestPool(roomy, 1, func(r Run[string]) Verdict {
			mu.Lock()
			defer mu.Unlock()
			got = append(got, fmt.Sprintf("%s%d#%d %s", r.Head.Value, r.Head.Offset, r.Head.Attempt, time.Since(begin)))
			if r.Head.Value == "x" && r.Head.Attempt < 3 {
				return Verdict{Again: true, After: time.Duration(r.Head.Attempt) * time.Second}
			}
			return Verdict{}
		})
		a := p.Open(0, nil, 1, nil)
		p.Feed(t.Context(), a, tasks(0, "x", "y", "x", "-"), 4)
		synctest.Wait()
		assert.Equal(t, State{Position: 0, Epoch: -1, Above: []Range{{1, 2}, {3, 4}}, InFlight: 2, Running: 0}, p.State(a, 9))
		<-time.After(10 * time.Second)
		synctest.Wait()
		assert.Equal(t, []string{"x0#1 0s", "y1#1 0s", "-3#1 0s", "x0#2 1s", "x0#3 3s", "x2#1 3s", "x2#2 4s", "x2#3 6s"}, got)
		assert.EqualValues(t, 4, p.State(a, 0).Position)
		finish(t, p, a)
	})
}

func TestPoolFeedWaitsForRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		p := newTestPool(Limits{Records: 8, Bytes: 100, Ahead: 100, Ready: 100, TotalBytes: 100}, 1, func(Run[string]) Verdict { <-release; return Verdict{} })
		a := p.Open(0, nil, 1, nil)
		require.True(t, p.Feed(t.Context(), a, tasks(0, keys(8)...), 8))
		fed := make(chan bool, 1)
		go func() { fed <- p.Feed(t.Context(), a, tasks(8, "-"), 9) }()
		synctest.Wait()
		assert.Empty(t, fed)
		for range 3 { // room again at three quarters
			release <- struct{}{}
		}
		synctest.Wait()
		assert.True(t, <-fed)

		ctx, cancel := context.WithCancel(t.Context())
		p.Feed(t.Context(), a, tasks(9, "-", "-", "-"), 12)
		go func() { fed <- p.Feed(ctx, a, tasks(12, "-"), 13) }()
		synctest.Wait()
		cancel()
		assert.False(t, <-fed, "the context has ended")
		go func() { fed <- p.Feed(t.Context(), a, tasks(12, "-"), 13) }()
		synctest.Wait()
		p.Stop(a)
		assert.False(t, <-fed, "stopped")
		close(release)
		<-a.Drained()
		assert.EqualValues(t, 4, p.State(a, 0).Position, "what ran counts")
		p.Close()
	})
}

// What all partitions hold together is bounded; whoever waits for another's bytes is told.
func TestPoolSharesItsBytes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		p := newTestPool(Limits{Records: 100, Bytes: 100, Ahead: 100, Ready: 100, TotalBytes: 8}, 1, func(Run[string]) Verdict { <-release; return Verdict{} })
		a, b := p.Open(0, nil, 1, nil), p.Open(0, nil, 1, nil)
		require.True(t, p.Feed(t.Context(), a, tasks(0, keys(7)...), 7))
		require.True(t, p.Feed(t.Context(), b, tasks(0, "-"), 1), "one that has nothing")
		fed := make(chan bool, 1)
		go func() { fed <- p.Feed(t.Context(), b, tasks(1, "-"), 2) }()
		synctest.Wait()
		assert.Empty(t, fed)
		p.Stop(a)
		assert.True(t, <-fed)
		close(release)
		synctest.Wait()
		assert.EqualValues(t, 2, p.State(b, 0).Position)
		finish(t, p, b)
	})
}

func TestPoolDrainWaitsForHandlersOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release, entered := make(chan struct{}), make(chan int64, 9)
		p := newTestPool(roomy, 2, func(r Run[string]) Verdict {
			entered <- r.Head.Offset
			if r.Head.Offset == 0 {
				return Verdict{Again: true, After: time.Hour}
			}
			<-release
			return Verdict{}
		})
		a := p.Open(0, nil, 1, nil)
		p.Feed(t.Context(), a, tasks(0, keys(5)...), 5)
		synctest.Wait()
		p.Stop(a)
		assert.Len(t, entered, 3)
		select {
		case <-a.Drained():
			assert.Fail(t, "handlers run")
		default:
		}
		close(release)
		<-a.Drained()
		assert.Len(t, entered, 3, "what had not begun is not begun")
		assert.Equal(t, []Range{{1, 3}}, p.State(a, 9).Above)
		p.Stop(a) // again
		p.Close()
	})
}

func TestPoolRewindWaitsUntilNothingIsInFlight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		p := newTestPool(roomy, 1, func(Run[string]) Verdict { <-release; return Verdict{} })
		a := p.Open(7, []Range{{8, 9}}, 1, nil)
		p.Feed(t.Context(), a, tasks(7, "x", "y", "z"), 10)
		done := make(chan bool, 1)
		go func() { done <- p.Rewind(t.Context(), a, 0) }()
		synctest.Wait()
		assert.Empty(t, done)
		close(release)
		assert.True(t, <-done)
		assert.EqualValues(t, 0, p.State(a, 0).Position)
		finish(t, p, a)
	})
}

func TestPoolLosesAWorkerToGoexit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newTestPool(roomy, 1, func(r Run[string]) Verdict {
			if r.Head.Offset == 0 {
				runtime.Goexit()
			}
			return Verdict{}
		})
		a := p.Open(0, nil, 1, nil)
		p.Feed(t.Context(), a, tasks(0, "x", "y"), 2)
		synctest.Wait()
		assert.Equal(t, State{Position: 0, Epoch: -1, Above: []Range{{1, 2}}, InFlight: 1, Running: 0}, p.State(a, 9))
		finish(t, p, a)
	})
}

// Random keys, durations, failures and stops: in order per key, one at a time, the watermark never beyond what is
// not finished, and all that is not stopped gets handled.
func TestPoolKeepsItsPromises(t *testing.T) {
	t.Parallel()
	for seed := range uint64(20) {
		t.Run(strconv.FormatUint(seed, 10), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) { promises(t, seed) })
		})
	}
}

func promises(t *testing.T, seed uint64) {
	t.Helper()
	rnd := rand.New(rand.NewPCG(seed, 2))
	var mu sync.Mutex
	type key struct {
		part *Partition[string]
		key  uint64
	}
	inside, last := map[key]bool{}, map[key]int64{}
	finished := map[*Partition[string]]map[int64]bool{}
	attempts := map[*Partition[string]]map[int64]int{}
	intn := func(n int) int {
		mu.Lock()
		defer mu.Unlock()
		return rnd.IntN(n)
	}
	slow, failing := time.Duration(intn(3))*time.Millisecond, 2+intn(8)
	concurrency := 1 + intn(20)
	running := 0
	handle := func(r Run[string]) Verdict {
		part := r.Head.part
		k := key{part, r.Head.Key}
		mu.Lock()
		running++
		assert.LessOrEqual(t, running, concurrency)
		if r.Head.Keyed {
			assert.False(t, inside[k], "one at a time")
			inside[k] = true
		}
		attempts[part][r.Head.Offset]++
		assert.Equal(t, attempts[part][r.Head.Offset], r.Head.Attempt)
		mu.Unlock()
		if slow > 0 {
			<-time.After(slow * time.Duration(intn(5)))
		}
		v := Verdict{}
		if intn(failing) == 0 {
			v = Verdict{Again: true, After: time.Duration(intn(50)) * time.Millisecond, Done: intn(r.N)}
		}
		mu.Lock()
		defer mu.Unlock()
		running--
		inside[k] = false
		for i, task := range r.Tasks() {
			if v.Again && i >= v.Done {
				break
			}
			assert.False(t, finished[part][task.Offset], "once")
			finished[part][task.Offset] = true
			if task.Keyed {
				assert.Greater(t, task.Offset+1, last[k], "in order")
				last[k] = task.Offset + 1
			}
		}
		if v.Again {
			attempts[part][r.Head.Offset+int64(v.Done)] = r.Head.Attempt // the run goes on from there; offsets have no gaps within a batch
		}
		return v
	}
	p := newTestPool(Limits{Records: 40, Bytes: 60, Ahead: 200, Ready: 200, TotalBytes: 150}, concurrency, handle)
	var wg sync.WaitGroup
	var parts []*Partition[string]
	checked := map[*Partition[string]]int64{}
	for i := range 4 {
		batch := 1
		if i == 3 {
			batch = 5
		}
		part := p.Open(0, nil, batch, nil)
		finished[part], attempts[part] = map[int64]bool{}, map[int64]int{}
		parts = append(parts, part)
	}
	for i, part := range parts {
		wg.Go(func() {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			total := int64(200)
			if i == 2 { // is stopped on its way
				time.AfterFunc(time.Duration(intn(200))*time.Millisecond, func() { p.Stop(part) })
			}
			next := int64(0)
			for next < total {
				n := 1 + intn(20)
				ks := make([]string, n)
				for j := range ks {
					ks[j] = string("-abcdefgh"[intn(9)])
				}
				ts := tasks(next, ks...)
				next += int64(n)
				if !p.Feed(ctx, part, ts, next) {
					return
				}
			}
			for i != 2 && p.State(part, 0).Position < next {
				<-time.After(time.Millisecond)
			}
		})
	}
	over := make(chan struct{})
	go func() { wg.Wait(); close(over) }()
	for done := false; !done; {
		select {
		case <-over:
			done = true
		case <-time.After(3 * time.Millisecond):
		}
		for _, part := range parts {
			p.mu.Lock()
			mu.Lock()
			state := State{Position: part.mark.position(), Above: part.mark.above(100)}
			for o := checked[part]; o < state.Position; o++ {
				require.True(t, finished[part][o], "%d below the watermark %d", o, state.Position)
			}
			require.GreaterOrEqual(t, state.Position, checked[part], "never backwards")
			checked[part] = state.Position
			for _, r := range state.Above {
				for o := r.From; o < r.To; o++ {
					require.True(t, finished[part][o])
				}
			}
			mu.Unlock()
			p.mu.Unlock()
		}
	}
	finish(t, p, parts...)
	synctest.Wait()
	assert.Zero(t, p.s.bytes)
	assert.Zero(t, p.s.running)
	assert.Zero(t, p.active)
}

func BenchmarkPool(b *testing.B) {
	for _, concurrency := range []int{1, 16, 256} {
		b.Run(strconv.Itoa(concurrency), func(b *testing.B) {
			p := newTestPool(Limits{Records: 4096, Bytes: 1 << 20, Ahead: 1 << 17, Ready: 1 << 17, TotalBytes: 1 << 22}, concurrency, func(Run[string]) Verdict { return Verdict{} })
			a := p.Open(0, nil, 1, nil)
			b.ReportAllocs()
			for n := 0; n < b.N; n += 128 {
				ts := make([]Task[string], 128)
				for i := range ts {
					ts[i] = Task[string]{Offset: int64(n + i), Size: 1, Key: uint64((n + i) * 7919 % 10_000), Keyed: true}
				}
				p.Feed(b.Context(), a, ts, int64(n+128))
			}
			p.Stop(a)
			<-a.Drained()
			p.Close()
		})
	}
}
