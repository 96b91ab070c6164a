// Package board is what the page at / shows, and the page itself: the events in
// the topics as they come, what the consumers of this process make of them, dead
// letters, traces, and the state of everything, over server-sent events.
//
//	topics ─► Watch ─┐
//	consumers ─► Middleware ─┼─► Board ─► GET /stream ─► the page
//	state, each second ─┘
package board

import (
	"encoding/json"
	"log/slog"
	"sync"
	"time"

	"github.com/expensevault/sharedlibrary/examples/customservice/internal/telemetry"
	"github.com/expensevault/sharedlibrary/messaging"
)

// Board gathers, and tells whoever looks. Any number of goroutines may use it.
type Board struct {
	config  messaging.Config
	letters []string // the dead-letter topics
	spans   *telemetry.Spans
	log     *slog.Logger
	dirty   chan struct{} // of one token: the dead letters may be others

	mu      sync.Mutex
	events  ring
	handled ring
	latest  map[string]message // of what replaces itself: state, letters
	viewers map[chan message]struct{}
	failing map[string]bool // by consumer
	closed  bool
}

// message is one of the stream.
type message struct {
	kind string
	data []byte
}

// ring keeps the last messages, for who comes later.
type ring struct{ last []message }

const ringSize = 200

func (r *ring) add(m message) {
	if len(r.last) == ringSize {
		r.last = append(r.last[:0], r.last[1:]...)
	}
	r.last = append(r.last, m)
}

// New returns a board for these topics, by their default names; their dead letters have the usual names.
func New(config messaging.Config, topics []string, spans *telemetry.Spans, log *slog.Logger) *Board {
	b := &Board{
		config: config, spans: spans, log: log, dirty: make(chan struct{}, 1),
		latest: map[string]message{}, viewers: map[chan message]struct{}{}, failing: map[string]bool{},
	}
	for _, t := range topics {
		b.letters = append(b.letters, config.TopicName(t)+"-dlt")
	}
	return b
}

// tell sends a message to all that look. One that does not keep up is let go: its browser comes back and gets everything anew.
func (b *Board) tell(kind string, v any) {
	data, err := json.Marshal(v)
	if err != nil {
		b.log.Error("The page cannot be told", slog.Any("error", err))
		return
	}
	m := message{kind, data}
	b.mu.Lock()
	defer b.mu.Unlock()
	switch kind {
	case "event":
		b.events.add(m)
	case "handled":
		b.handled.add(m)
	default:
		b.latest[kind] = m
	}
	for ch := range b.viewers {
		select {
		case ch <- m:
		default:
			delete(b.viewers, ch)
			close(ch)
		}
	}
}

// view returns what there is, and a channel for what comes, which is closed
// when the board is, or when it is not read in time.
func (b *Board) view() ([]message, chan message) {
	b.mu.Lock()
	defer b.mu.Unlock()
	ch := make(chan message, 256)
	if b.closed {
		close(ch)
		return nil, ch
	}
	b.viewers[ch] = struct{}{}
	var all []message
	for _, kind := range []string{"state", "letters"} {
		if m, ok := b.latest[kind]; ok {
			all = append(all, m)
		}
	}
	return append(append(all, b.events.last...), b.handled.last...), ch
}

func (b *Board) leave(ch chan message) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if _, there := b.viewers[ch]; there {
		delete(b.viewers, ch)
		close(ch)
	}
}

// watched reports whether anybody looks.
func (b *Board) watched() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.viewers) > 0
}

// Close ends all streams.
func (b *Board) Close() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closed = true
	for ch := range b.viewers {
		delete(b.viewers, ch)
		close(ch)
	}
}

// Fail has the handlers of a consumer of this process fail from now on, or no more: so that dead letters can be seen.
func (b *Board) Fail(consumer string, fail bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.failing[consumer] = fail
}

// Failing reports what Fail has set.
func (b *Board) Failing(consumer string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.failing[consumer]
}

// soon has the dead letters read again.
func (b *Board) soon() {
	select {
	case b.dirty <- struct{}{}:
	default:
	}
}

// Times of the loops.
const (
	stateEvery   = time.Second
	lettersEvery = time.Second      // at most
	lettersAfter = 30 * time.Second // at least: others redrive as well
)
