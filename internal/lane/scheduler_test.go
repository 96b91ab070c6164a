package lane

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var roomy = Limits{Records: 1000, Bytes: 1 << 20, Ahead: 1000, Ready: 1000, TotalBytes: 1 << 20} //nolint:gochecknoglobals // of this test

// tasks are records of 1 byte at successive offsets; "-" is one without a key.
func tasks(from int64, keys ...string) []Task[string] {
	ts := make([]Task[string], len(keys))
	for i, k := range keys {
		ts[i] = Task[string]{Value: k, Offset: from + int64(i), Epoch: 1, Size: 1, Key: uint64(k[0]), Keyed: k != "-"}
	}
	return ts
}

// script drives a scheduler with lines of words and returns what it answered:
//
//	open P [batch N]      begins partition P at 0
//	add P k k -           adds records
//	claim [n]             hands out n runs, or all
//	done P/o              finishes the run at offset o
//	park P/o d [skip n]   parks it until second d
//	leave P/o
//	due d                 it is second d
//	close, pause, resume P
//	mark P                asks for the watermark
type script struct {
	t     *testing.T
	s     *Scheduler[string]
	parts map[string]*Partition[string]
	names map[*Partition[string]]string
	next  map[string]int64
	out   map[string]Run[string]
	clock time.Time
}

func newScript(t *testing.T, l Limits) *script {
	t.Helper()
	return &script{
		t: t, s: NewScheduler[string](l, func(*string) {}), parts: map[string]*Partition[string]{},
		names: map[*Partition[string]]string{}, next: map[string]int64{}, out: map[string]Run[string]{}, clock: time.Unix(0, 0),
	}
}

func (s *script) at(word string) time.Time {
	n, err := strconv.Atoi(word)
	require.NoError(s.t, err)
	return s.clock.Add(time.Duration(n) * time.Second)
}

func (s *script) run(line string) string {
	s.t.Helper()
	w := strings.Fields(line)
	switch w[0] {
	case "open":
		batch := 1
		if len(w) == 4 {
			batch, _ = strconv.Atoi(w[3])
		}
		p := s.s.Open(0, nil, batch)
		s.parts[w[1]], s.names[p] = p, w[1]
	case "add":
		ts := tasks(s.next[w[1]], w[2:]...)
		s.next[w[1]] += int64(len(ts))
		s.s.Add(s.parts[w[1]], ts, s.next[w[1]])
	case "claim":
		most := 1 << 30
		if len(w) > 1 {
			most, _ = strconv.Atoi(w[1])
		}
		var got []string
		for range most {
			r, ok := s.s.Claim()
			if !ok {
				break
			}
			name := fmt.Sprintf("%s/%d", s.names[r.Head.part], r.Head.Offset)
			require.NotContains(s.t, s.out, name, "handed out twice")
			s.out[name] = r
			if r.N > 1 {
				name += "+" + strconv.Itoa(r.N-1)
			}
			if r.Head.Attempt > 1 {
				name += "#" + strconv.Itoa(r.Head.Attempt)
			}
			got = append(got, name)
		}
		return strings.Join(got, " ")
	case "done", "leave", "park":
		r, ok := s.out[w[1]]
		require.True(s.t, ok, "%s is not out", w[1])
		delete(s.out, w[1])
		switch w[0] {
		case "done":
			s.s.Finish(r)
		case "leave":
			s.s.Leave(r)
		default:
			skip := 0
			if len(w) == 5 {
				skip, _ = strconv.Atoi(w[4])
			}
			s.s.Park(r, skip, s.at(w[2]))
		}
	case "due":
		if next := s.s.Due(s.at(w[1])); !next.IsZero() {
			return fmt.Sprintf("then %d", int(next.Sub(s.clock).Seconds()))
		}
	case "close":
		s.s.Close(s.parts[w[1]])
	case "pause", "resume":
		s.s.Pause(s.parts[w[1]], w[0] == "pause")
	case "mark":
		m := &s.parts[w[1]].mark
		return strings.TrimSpace(fmt.Sprint(m.position(), " ", strings.Trim(fmt.Sprint(m.above(100)), "[]")))
	case "room":
		return strconv.FormatBool(s.s.Room(s.parts[w[1]]))
	default:
		require.Fail(s.t, "unknown: "+line)
	}
	return ""
}

func TestScheduler(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		limits Limits
		script string
	}{
		"a key in order, keys in parallel, no order without one": {script: `
			open a; add a x y x - - y; claim -> a/0 a/1 a/3 a/4
			done a/1; claim -> a/5; mark a -> 0 {1 2}
			done a/0; claim -> a/2; mark a -> 2
			done a/5; done a/4; done a/3; mark a -> 2 {3 6}
			done a/2; mark a -> 6`},
		"partitions in turn": {script: `
			open a; open b; open c; add a - - - -; add b - -; add c -
			claim -> a/0 b/0 c/0 a/1 b/1 a/2 a/3`},
		"the same key in two partitions is two": {script: `
			open a; open b; add a x; add b x; claim -> a/0 b/0`},
		"a key that fails waits, the others flow": {script: `
			open a; add a x y x; claim -> a/0 a/1
			park a/0 5; claim -> ; done a/1; due 4 -> then 5; claim -> ; mark a -> 0 {1 2}
			add a y x; claim -> a/3; done a/3
			due 5; claim -> a/0#2; park a/0 9; due 9; claim -> a/0#3; done a/0; claim -> a/2; done a/2; claim -> a/4
			mark a -> 4`},
		"what is due first": {script: `
			open a; add a x y z; claim -> a/0 a/1 a/2; park a/0 3; park a/1 1; park a/2 2
			due 0 -> then 1; due 2 -> then 3; claim -> a/1#2 a/2#2; due 3; claim -> a/0#2`},
		"one lane per partition, several at once": {script: `
			open a batch 3; open b batch 3; add a x y - x y; add b x; claim -> a/0+2 b/0
			add a z; done a/0; claim -> a/3+2; mark a -> 3`},
		"a batch that is parked stays as it is, less what is finished": {script: `
			open a batch 3; add a x x x x; claim -> a/0+2; park a/0 1 skip 1; mark a -> 1; add a x
			due 1; claim -> a/1+1#2; done a/1; claim -> a/3+1; done a/3; mark a -> 5`},
		"all of a batch finished is the end of it": {script: `
			open a batch 2; add a x x; claim -> a/0+1; park a/0 1 skip 2; mark a -> 2; due 9; claim ->`},
		"closed: nothing more is handed out, what runs counts": {script: `
			open a; open b; add a x x y z; add b x; claim 3 -> a/0 b/0 a/2; park a/2 1; close a
			claim -> ; due 1; claim -> ; done a/0; claim -> ; mark a -> 1; done b/0; mark b -> 1
			add a x; claim -> ; mark a -> 1`},
		"closed while parked": {script: `
			open a; add a x; claim -> a/0; close a; park a/0 1; due 9; claim -> ; mark a -> 0`},
		"left": {script: `open a; add a x x y; claim -> a/0 a/2; leave a/0; claim -> ; done a/2; mark a -> 0 {2 3}`},
		"paused": {script: `
			open a; open b; add a - -; add b -; pause a; claim -> b/0; add a -; claim ->
			resume a; claim 1 -> a/0; park a/0 1; pause a; due 1; claim -> ; resume a; claim -> a/1 a/2 a/0#2`},
		"room by records": {limits: Limits{Records: 2, Bytes: 99, Ahead: 99, Ready: 99, TotalBytes: 99}, script: `
			open a; room a -> true; add a x; room a -> true; add a x; room a -> false; claim -> a/0; done a/0; room a -> true`},
		"room by bytes": {limits: Limits{Records: 99, Bytes: 2, Ahead: 99, Ready: 99, TotalBytes: 99}, script: `
			open a; add a x x; room a -> false; claim -> a/0; done a/0; room a -> true`},
		"room by what lies above the watermark": {limits: Limits{Records: 99, Bytes: 99, Ahead: 3, Ready: 3, TotalBytes: 99}, script: `
			open a; add a x y z; claim -> a/0 a/1 a/2; done a/1; done a/2; room a -> false; done a/0; room a -> true`},
		"room by what waits for a worker": {limits: Limits{Records: 99, Bytes: 99, Ahead: 99, Ready: 2, TotalBytes: 99}, script: `
			open a; add a x x x x; room a -> true; add a y; room a -> false; claim 1 -> a/0; room a -> true; done a/0; room a -> false`},
		"room by bytes of all, never for none": {limits: Limits{Records: 99, Bytes: 99, Ahead: 99, Ready: 99, TotalBytes: 3}, script: `
			open a; open b; add a x x x; room a -> false; room b -> true; add b x; room b -> false
			close a; room b -> true`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if tc.limits == (Limits{}) {
				tc.limits = roomy
			}
			s := newScript(t, tc.limits)
			for line := range strings.SplitSeq(strings.ReplaceAll(tc.script, "\n", ";"), ";") {
				line = strings.TrimSpace(line)
				if line == "" {
					continue
				}
				command, want, _ := strings.Cut(line, "->")
				assert.Equal(t, strings.TrimSpace(want), s.run(command), line)
			}
		})
	}
}

// What was finished in an earlier life is not handed out again.
func TestWhatWasFinishedEarlier(t *testing.T) {
	t.Parallel()
	s := newScript(t, roomy)
	p := s.s.Open(10, []Range{{11, 13}, {14, 15}, {90, 95}}, 1)
	s.parts["a"], s.names[p] = p, "a"
	s.next["a"] = 10
	assert.Equal(t, "10", s.run("mark a"))
	s.run("add a x x x x x x") // 11, 12 and 14 are finished
	assert.Equal(t, "10 {11 13} {14 15}", s.run("mark a"))
	assert.Equal(t, "a/10", s.run("claim"))
	s.run("done a/10")
	assert.Equal(t, "13 {14 15}", s.run("mark a"))
	assert.Equal(t, "a/13", s.run("claim"))
	s.run("done a/13")
	assert.Equal(t, "a/15", s.run("claim"))
	s.run("done a/15")
	assert.Equal(t, "16", s.run("mark a"))

	s.s.Rewind(p, 90, nil) // another log under the same name
	s.next["a"] = 90
	s.run("add a x")
	assert.Equal(t, "a/90", s.run("claim"))
}

// One lane's long wait must not keep the memory of its neighbours.
func TestParkedTasksAreDetached(t *testing.T) {
	t.Parallel()
	detached := map[string]int{}
	s := NewScheduler[string](roomy, func(v *string) { detached[*v]++ })
	p := s.Open(0, nil, 1)
	s.Add(p, tasks(0, "x1", "x2", "y1"), 3)
	r, ok := s.Claim()
	require.True(t, ok)
	s.Park(r, 0, time.Unix(1, 0))
	s.Add(p, tasks(3, "x3", "z1"), 5)
	assert.Equal(t, map[string]int{"x1": 1, "x2": 1, "x3": 1}, detached)
	s.Due(time.Unix(1, 0))
	var order []string
	for {
		r, ok := s.Claim()
		if !ok {
			break
		}
		order = append(order, r.Head.Value)
		if r.Head.Attempt == 2 && r.Head.Value == "x1" {
			s.Park(r, 0, time.Unix(0, 0))
			s.Due(time.Unix(1, 0))
			continue
		}
		s.Finish(r)
	}
	assert.Equal(t, []string{"y1", "z1", "x1", "x1", "x2", "x3"}, order)
	assert.Equal(t, map[string]int{"x1": 1, "x2": 1, "x3": 1}, detached, "once")
	assert.Empty(t, p.busy)
	assert.Zero(t, p.records+p.bytes+s.bytes+s.running+p.parked)
}
