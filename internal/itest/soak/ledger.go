package main

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"time"
)

const (
	keys  = 64
	slack = time.Second // how long after its deadline an answer may come
)

// ledger is what the publisher was asked for, and what it said.
type ledger struct {
	deadline time.Duration

	mu       sync.Mutex // guards the rest
	chance   *rand.Rand
	turn     int
	events   [keys][]event // by key, in their order
	phases   []*phase
	fault    time.Time // since when nothing was acknowledged after a fault; zero: something was
	frozen   []span    // when the publisher was stopped
	oddities []string
}

// event is one of the events; its place says its key and number.
type event struct {
	phase    int
	begun    time.Time
	answered time.Time
	outcome  byte // A, N or E of the driver's lines; 0: no answer yet
	why      string
}

// phase is the time in which faults of one kind happen, with its figures.
type phase struct {
	name       string
	hits       int64
	failsNever bool // no event may fail
	mixed      bool // faults overlap, so that no recovery is that of one of them
	recovery   time.Duration

	asked, answered                                    int
	events, acked, surely, maybe                       int
	lost, doubled, reordered, undead, late, unanswered int
	longest                                            time.Duration
}

type span struct{ from, to time.Time }

func newLedger(deadline time.Duration, seed uint64) *ledger {
	return &ledger{
		deadline: deadline,
		chance:   rand.New(rand.NewPCG(seed, 1)), //nolint:gosec // sizes
		phases:   []*phase{{name: "start", failsNever: true}},
	}
}

// begin starts a phase; what is asked for from now on belongs to it.
func (b *ledger) begin(p *phase) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.phases = append(b.phases, p)
}

// settledBefore reports whether every event of earlier phases is answered.
func (b *ledger) settledBefore(p *phase) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, q := range b.phases {
		if q == p {
			break
		}
		if q.answered < q.asked {
			return false
		}
	}
	return true
}

// order is the next line for the driver.
func (b *ledger) order() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	k := b.turn % keys
	b.turn++
	size := 350 + b.chance.IntN(1200)
	if b.chance.IntN(200) == 0 {
		size += b.chance.IntN(50_000)
	}
	b.events[k] = append(b.events[k], event{phase: len(b.phases) - 1})
	b.phases[len(b.phases)-1].asked++
	return fmt.Sprintf("%s %s %d\n", id(k, len(b.events[k])-1), key(k), size)
}

func key(k int) string   { return fmt.Sprintf("k%02d", k) }
func id(k, n int) string { return fmt.Sprintf("k%02d-%07d", k, n) }

// place finds an event by its id; nil when there is none.
func (b *ledger) place(id string) (e *event, k, n int) {
	if _, err := fmt.Sscanf(id, "k%02d-%07d", &k, &n); err != nil || k < 0 || k >= keys || n < 0 || n >= len(b.events[k]) {
		return nil, 0, 0
	}
	return &b.events[k][n], k, n
}

func (b *ledger) odd(format string, args ...any) {
	b.oddities = append(b.oddities, fmt.Sprintf(format, args...))
}

// line takes a line of the driver's stdout.
func (b *ledger) line(text string, now time.Time) {
	kind, rest, _ := strings.Cut(text, " ")
	id, why, _ := strings.Cut(rest, " ")
	b.mu.Lock()
	defer b.mu.Unlock()
	e, _, _ := b.place(id)
	switch {
	case e == nil || kind != "S" && kind != "A" && kind != "N" && kind != "E":
		b.odd("a line that nobody understands: %q", text)
	case kind == "S" && !e.begun.IsZero():
		b.odd("%s began twice", id)
	case kind == "S":
		e.begun = now
	case e.begun.IsZero() || e.outcome != 0:
		b.odd("%s: an answer too many: %q", id, text)
	default:
		e.answered, e.outcome, e.why = now, kind[0], why
		b.phases[e.phase].answered++
		if kind == "A" && !b.fault.IsZero() {
			p := b.phases[len(b.phases)-1]
			if !p.mixed {
				p.recovery = max(p.recovery, now.Sub(b.fault))
			}
			b.fault = time.Time{}
		}
	}
}

// over says that a fault has happened, or is over, and that events can be acknowledged again.
func (b *ledger) over(at time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.fault.IsZero() {
		b.fault = at
	}
}

// recovered reports whether something was acknowledged since the last fault.
func (b *ledger) recovered() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.fault.IsZero()
}

// froze says that the publisher was stopped meanwhile.
func (b *ledger) froze(s span) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.frozen = append(b.frozen, s)
}

// allowed is how long an answer may take. Who is stopped can't answer.
func (b *ledger) allowed(e *event) time.Duration {
	d := b.deadline + slack
	for _, s := range b.frozen {
		from, to := s.from, s.to
		if from.Before(e.begun) {
			from = e.begun
		}
		if to.After(e.answered) {
			to = e.answered
		}
		// Time that the deadline covers is not added to it.
		if end := e.begun.Add(b.deadline); from.Before(end) {
			from = end
		}
		d += max(0, to.Sub(from))
	}
	return d
}
