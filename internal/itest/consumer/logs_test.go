package consumer_test

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
)

// logs keeps what was logged.
type logs struct {
	state *logState
	attrs []slog.Attr
}

type logState struct {
	mu    sync.Mutex
	lines []string
	grown chan struct{} // closed by the next line
}

func newLogs() *logs { return &logs{state: &logState{grown: make(chan struct{})}} }

func (*logs) Enabled(context.Context, slog.Level) bool { return true }

func (l *logs) Handle(_ context.Context, r slog.Record) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s %s", r.Time.Format("15:04:05.000"), r.Level, r.Message)
	add := func(a slog.Attr) bool {
		fmt.Fprintf(&b, " %s=%v", a.Key, a.Value)
		return true
	}
	for _, a := range l.attrs {
		add(a)
	}
	r.Attrs(add)
	l.state.mu.Lock()
	defer l.state.mu.Unlock()
	l.state.lines = append(l.state.lines, b.String())
	close(l.state.grown)
	l.state.grown = make(chan struct{})
	return nil
}

func (l *logs) WithAttrs(as []slog.Attr) slog.Handler {
	return &logs{state: l.state, attrs: append(append([]slog.Attr(nil), l.attrs...), as...)}
}

func (l *logs) WithGroup(string) slog.Handler { return l }

func (l *logs) String() string {
	l.state.mu.Lock()
	defer l.state.mu.Unlock()
	return strings.Join(l.state.lines, "\n")
}

// count is how many lines hold all of the words.
func (l *logs) count(words ...string) int {
	n := 0
	for line := range strings.SplitSeq(l.String(), "\n") {
		all := true
		for _, w := range words {
			all = all && strings.Contains(line, w)
		}
		if all {
			n++
		}
	}
	return n
}
