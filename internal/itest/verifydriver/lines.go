package main

import (
	"io"
	"strings"
	"sync"
)

// lines writes lines of the contract, whole ones, in the order of the calls.
type lines struct {
	wake chan struct{} // of one token; closed by close
	done chan struct{} // closed when nothing comes any more

	mu    sync.Mutex
	queue []byte // not handed to w yet

	writing sync.Mutex // comes before mu
	w       io.Writer
	spare   []byte
	err     error // the first of w
}

func newLines(w io.Writer) *lines {
	l := &lines{w: w, wake: make(chan struct{}, 1), done: make(chan struct{})}
	go func() {
		defer close(l.done)
		for range l.wake {
			l.flush()
		}
	}()
	return l
}

// now has written the line when it returns, and all that was given before it.
func (l *lines) now(kind, id string) {
	l.append(kind, id, "")
	l.flush()
}

// later returns at once: who calls it must not be held up by a slow reader. It must not be called after close.
func (l *lines) later(kind, id, text string) {
	l.append(kind, id, text)
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

func (l *lines) append(kind, id, text string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.queue = append(append(append(l.queue, kind...), ' '), id...)
	if text != "" {
		l.queue = append(append(l.queue, ' '), strings.ReplaceAll(text, "\n", "; ")...)
	}
	l.queue = append(l.queue, '\n')
}

func (l *lines) flush() {
	l.writing.Lock()
	defer l.writing.Unlock()
	l.mu.Lock()
	out := l.queue
	l.queue, l.spare = l.spare[:0], nil
	l.mu.Unlock()
	if len(out) > 0 {
		if _, err := l.w.Write(out); err != nil && l.err == nil {
			l.err = err
		}
	}
	l.spare = out
}

// close writes what is left; the error is the first that there was.
func (l *lines) close() error {
	close(l.wake)
	<-l.done
	l.flush()
	return l.err
}
