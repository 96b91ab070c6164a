package main

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"syscall"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
)

// exitLimit is how long a member may take to end when it is asked to: its handlers take a millisecond.
const exitLimit = 20 * time.Second

// churn has the members come and go.
type churn struct {
	t       *troupe
	slots   []*slot
	chance  *rand.Rand
	done    map[string]int
	slowest map[string]time.Duration // exit after SIGTERM, by kind
	thaws   chan error               // of freezes that are over
	frozen  int                      // freezes under way
}

func newChurn(t *troupe) *churn {
	c := &churn{t: t, chance: rand.New(rand.NewPCG(t.seed, 1)), done: map[string]int{}, slowest: map[string]time.Duration{}, thaws: make(chan error, 100)} //nolint:gosec // churn
	add := func(kind string, n int) {
		for i := range n {
			s := &slot{kind: kind, number: i + 1}
			if kind == "ours" && i%3 == 2 {
				s.instance = fmt.Sprintf("static-%d", i+1)
			}
			c.slots = append(c.slots, s)
		}
	}
	add("ours", t.ourMembers)
	add("java", t.javaMembers)
	add("franz", t.franzMembers)
	return c
}

// raise starts the first members; the others come with time.
func (c *churn) raise() error {
	for i, s := range c.slots {
		if i%2 == 0 {
			if err := c.t.start(s); err != nil {
				return err
			}
		}
	}
	return nil
}

// play plays until the time is over, and until what is frozen is thawed.
func (c *churn) play(ctx context.Context, until time.Time) error {
	for time.Now().Before(until) {
		if err := pause(ctx, 1500*time.Millisecond+rand.N(3*time.Second)); err != nil { //nolint:gosec // churn
			return err
		}
		if err := c.thawed(false); err != nil {
			return err
		}
		if err := c.act(ctx); err != nil {
			return err
		}
		for _, s := range c.slots {
			if s.now != nil {
				if err := c.alive(s); err != nil {
					return err
				}
				c.t.sample(s.kind, s.now)
			}
		}
	}
	return c.thawed(true)
}

// thawed takes the results of freezes; all of them, waiting for those that last.
func (c *churn) thawed(all bool) error {
	for c.frozen > 0 {
		if !all && len(c.thaws) == 0 {
			return nil
		}
		c.frozen--
		if err := <-c.thaws; err != nil {
			return err
		}
	}
	return nil
}

func (c *churn) alive(s *slot) error {
	select {
	case <-s.now.exit:
		return fmt.Errorf("%s ended by itself: %w; see %s", s.now.name, s.now.err, c.t.dir)
	default:
		return nil
	}
}

// act does one thing to one member.
func (c *churn) act(ctx context.Context) error {
	s := c.slots[c.chance.IntN(len(c.slots))]
	if s.now == nil {
		c.count("join", s)
		return c.t.start(s)
	}
	if s.now.frozen.Load() || c.able() < 3 {
		return nil // somebody has to work
	}
	what := c.chance.IntN(10)
	if s.kind != "ours" { // what happens to others' members when they are frozen is not ours to judge
		what = c.chance.IntN(6)
	}
	switch {
	case what < 3:
		c.count("leave", s)
		return c.leave(s, c.chance.IntN(2) == 0)
	case what < 6:
		c.count("kill", s)
		if err := c.t.end(s, syscall.SIGKILL, exitLimit); err != nil {
			return err
		}
		if c.chance.IntN(2) == 0 {
			return c.t.start(s)
		}
		return nil
	case what < 8:
		c.count("freeze past the session", s)
		c.freeze(ctx, s.now, c.t.session+3*time.Second+rand.N(5*time.Second)) //nolint:gosec // churn
	default:
		c.count("freeze within the session", s)
		c.freeze(ctx, s.now, c.t.session/10+rand.N(c.t.session/4)) //nolint:gosec // churn
	}
	return nil
}

func (c *churn) count(what string, s *slot) {
	if s.instance != "" {
		what += ", static"
	}
	c.done[what]++
	slog.Info(what, slog.String("kind", s.kind), slog.Int("slot", s.number))
}

// able are the members that work.
func (c *churn) able() int {
	n := 0
	for _, s := range c.slots {
		if s.now != nil && !s.now.frozen.Load() {
			n++
		}
	}
	return n
}

func (c *churn) leave(s *slot, back bool) error {
	begin := time.Now()
	if err := c.t.end(s, syscall.SIGTERM, exitLimit); err != nil {
		return err
	}
	c.slowest[s.kind] = max(c.slowest[s.kind], time.Since(begin))
	if back {
		return c.t.start(s)
	}
	return nil
}

func (c *churn) freeze(ctx context.Context, m *member, d time.Duration) {
	c.frozen++
	m.frozen.Store(true)
	go func() { c.thaws <- c.t.freeze(ctx, m, d) }()
}

// settled is how the group came to rest.
type settled struct {
	lag  int64
	took time.Duration
}

// settle waits until everything is handled and committed, as long as that gets on.
func (c *churn) settle(ctx context.Context, admin *kadm.Client) settled {
	begin := time.Now()
	st := settled{lag: -1}
	for time.Since(begin) < 2*time.Minute && ctx.Err() == nil {
		st.lag = lag(ctx, admin, c.t.group, c.t.topic)
		if missing, _ := c.t.book.missing(); missing == 0 && st.lag == 0 {
			break
		}
		if pause(ctx, 200*time.Millisecond) != nil {
			break
		}
	}
	st.took = time.Since(begin)
	return st
}

// endAll has everybody leave.
func (c *churn) endAll() error {
	for _, s := range c.slots {
		if s.now != nil {
			if err := c.leave(s, false); err != nil {
				return err
			}
		}
	}
	return nil
}

// killAll is for when the soak ends early.
func (c *churn) killAll() {
	for _, s := range c.slots {
		if s.now != nil {
			_ = s.now.cmd.Process.Kill()
		}
	}
}
