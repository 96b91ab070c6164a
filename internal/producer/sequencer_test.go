package producer

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/expensevault/sharedlibrary/internal/kerr"
)

// TestSequencerStories runs the scripts in testdata. A line is a command, the lines behind
// it that begin with "  " are what it led to. Run with -rewrite to write these
// anew, and commit them only if you understand why they changed.
//
//	idempotent LIMIT | plain LIMIT   a new sequencer
//	adopt ID EPOCH                   a producer ID
//	next ID SEQUENCE EPOCH           as if batches up to there were acknowledged
//	add BATCH N                      number a new batch of N records
//	send BATCH...                    they are in flight, each in a request of its own
//	answer BATCH CODE [splits]       the broker's answer
//	silent BATCH...                  there will be no answer
//	unsent BATCH                     nothing has left
//	moved                            another leader
//	drained [alone BATCH...]         decide; the callers of these have their answer
func TestSequencerStories(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("testdata/*.txt")
	require.NoError(t, err)
	require.NotEmpty(t, files)
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			t.Parallel()
			want, err := os.ReadFile(file)
			require.NoError(t, err)
			got := tell(t, string(want))
			if flag.Lookup("rewrite").Value.String() == "true" {
				require.NoError(t, os.WriteFile(file, []byte(got), 0o600))
				return
			}
			require.Equal(t, string(want), got)
		})
	}
}

func TestMain(m *testing.M) {
	flag.Bool("rewrite", false, "write what the scripts lead to anew")
	flag.Parse()
	os.Exit(m.Run())
}

func tell(t *testing.T, script string) string {
	t.Helper()
	var (
		out strings.Builder
		s   *sequencer[string]
	)
	for line := range strings.Lines(script) {
		if strings.HasPrefix(line, "  ") {
			continue
		}
		out.WriteString(line)
		words := strings.Fields(line)
		if len(words) == 0 || words[0] == "#" {
			continue
		}
		if words[0] == "idempotent" || words[0] == "plain" {
			n := newSequencer[string](words[0] == "idempotent", number(t, words[1]))
			s = &n
			continue
		}
		for _, l := range step(t, s, words) {
			out.WriteString("  " + l + "\n")
		}
		out.WriteString("  " + picture(s) + "\n")
	}
	return out.String()
}

func step(t *testing.T, s *sequencer[string], words []string) (said []string) {
	t.Helper()
	say := func(format string, args ...any) { said = append(said, fmt.Sprintf(format, args...)) }
	switch words[0] {
	case "adopt":
		s.adopt(int64(number(t, words[1])), int16(number(t, words[2])))
	case "next":
		s.id, s.next, s.epoch, s.proven = int64(number(t, words[1])), int32(number(t, words[2])), int16(number(t, words[3])), true
	case "add":
		if !s.mayAdd() {
			say("not now")
			break
		}
		st := s.add(words[1], int32(number(t, words[2])))
		say("%s is %d/%d from %d", words[1], st.id, st.epoch, st.seq)
	case "send":
		for _, b := range words[1:] {
			i := s.index(b)
			require.GreaterOrEqual(t, i, 0, "no batch %s", b)
			if next, ok := s.again(); !ok || next != b {
				say("not %s now", b)
				break
			}
			s.sent(b)
		}
	case "silent":
		for _, b := range words[1:] {
			s.silent(b)
		}
	case "unsent":
		s.unsent(words[1])
	case "moved":
		s.moved()
	case "answer":
		code := slices.IndexFunc(codes(), func(c kerr.Code) bool { return c.Name() == words[2] })
		require.GreaterOrEqual(t, code, 0, words[2])
		out, maybe := s.answered(words[1], codes()[code], slices.Contains(words, "splits"))
		say("%s: %s", words[1], [...]string{"acknowledged", "stays", "to be split", "refused"}[out])
		if maybe {
			said[0] += ", possibly written"
		}
	case "drained":
		back, lost := s.drained(func(b string) bool { return slices.Contains(words, b) })
		if len(back) > 0 {
			say("back to the queue: %s", names(back))
		}
		if len(lost) > 0 {
			say("given up: %s", names(lost))
		}
	default:
		t.Fatalf("no command %q", words[0])
	}
	return said
}

// names of batches; ? possibly written under the number that they lose.
func names(slots []slot[string]) string {
	var out []string
	for _, sl := range slots {
		if sl.maybe {
			sl.batch += "?"
		}
		out = append(out, sl.batch)
	}
	return strings.Join(out, " ")
}

// picture is the window: * in flight, ? possibly written, ! behind a gap.
func picture(s *sequencer[string]) string {
	var b strings.Builder
	b.WriteString("[")
	for i, sl := range s.window {
		if i > 0 {
			b.WriteString(" ")
		}
		b.WriteString(sl.batch)
		for _, mark := range []struct {
			on   bool
			mark string
		}{{sl.flying, "*"}, {sl.maybe && !sl.flying, "?"}, {sl.beyond, "!"}} {
			if mark.on {
				b.WriteString(mark.mark)
			}
		}
	}
	b.WriteString("]")
	for _, w := range []struct {
		on   bool
		word string
	}{
		{s.needsID(), "needs a producer ID"},
		{s.drain && s.flying > 0, "draining"},
		{s.drain && s.flying == 0, "drained"},
		{s.raise && !s.needsID(), "next epoch"},
		{s.proven, "proven"},
	} {
		if w.on {
			b.WriteString(" " + w.word)
		}
	}
	return b.String()
}

func codes() []kerr.Code {
	var out []kerr.Code
	for c := kerr.Code(-1); c < 120; c++ {
		out = append(out, c)
	}
	return out
}

func number(t *testing.T, s string) int {
	t.Helper()
	n, err := strconv.Atoi(s)
	require.NoError(t, err)
	return n
}
