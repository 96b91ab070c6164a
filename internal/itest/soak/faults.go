package main

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strings"
	"sync/atomic"
	"syscall"
	"time"
)

// stage is what faults are played on.
type stage struct {
	settings

	kafka  *kafka
	net    *network
	driver *driver
	book   *ledger
	chance *rand.Rand
	topic  string

	end   time.Time // of the phase
	phase *phase
}

// kind is one kind of fault.
type kind struct {
	name   string
	weight int // its part of the time
	// fails: events may fail, since the fault takes longer than they may.
	fails bool
	mixed bool // faults overlap
	play  func(ctx context.Context, s *stage) error
}

// plan is the kinds of one run, in their order.
type plan []kind

func planOf(s settings) (plan, error) {
	all := plan{
		{"none", 8, false, false, func(ctx context.Context, s *stage) error { return pause(ctx, time.Until(s.end)) }},
		{"lost replies", 20, false, false, byHits(150*time.Millisecond, func(n *network) { arm(&n.lose) })},
		{"cut requests", 20, false, false, byHits(150*time.Millisecond, func(n *network) { arm(&n.halve) })},
		{"cut connections", 20, false, false, cutConnections},
		{"zombie requests", 20, false, false, byHits(300*time.Millisecond, func(n *network) { arm(&n.undead) })},
		{"black hole, short", 30, false, false, func(ctx context.Context, s *stage) error {
			return s.repeat(ctx, func() error { return s.hole(ctx, s.between(s.deadline/10, s.deadline/2)) })
		}},
		{"black hole, long", 30, true, false, func(ctx context.Context, s *stage) error {
			return s.repeat(ctx, func() error { return s.hole(ctx, s.deadline+s.between(2*time.Second, 5*time.Second)) })
		}},
		{"slow network", 15, false, false, slowNetwork},
		{"SIGKILL of a broker", 40, false, false, func(ctx context.Context, s *stage) error {
			return s.repeat(ctx, func() error { return s.bounce(ctx, "kill") })
		}},
		{"SIGTERM of a broker", 30, false, false, func(ctx context.Context, s *stage) error {
			return s.repeat(ctx, func() error { return s.bounce(ctx, "stop") })
		}},
		{"publisher stopped, short", 15, false, false, func(ctx context.Context, s *stage) error {
			return s.repeat(ctx, func() error { return s.freeze(ctx, s.between(s.deadline/10, s.deadline/3)) })
		}},
		{"publisher stopped, long", 22, true, false, func(ctx context.Context, s *stage) error {
			return s.repeat(ctx, func() error { return s.freeze(ctx, s.deadline+s.between(time.Second, 3*time.Second)) })
		}},
		{"producer forgotten", 15, false, false, forget},
		{"all at once", 40, true, true, allAtOnce},
	}
	if s.nodes > 1 {
		all = append(all, kind{"leaders move", 20, false, false, leadersMove})
	}
	if s.only == "" {
		return all, nil
	}
	var some plan
	for _, k := range all {
		for part := range strings.SplitSeq(s.only, ",") {
			if strings.Contains(k.name, part) {
				some = append(some, k)
				break
			}
		}
	}
	if len(some) == 0 {
		return nil, fmt.Errorf("-only %q fits no kind of fault", s.only)
	}
	return some, nil
}

// play plays one kind after the other.
func (p plan) play(ctx context.Context, s *stage) error {
	s.chance = rand.New(rand.NewPCG(s.seed, 2)) //nolint:gosec // faults
	hit := func() { s.book.over(time.Now()) }
	s.net.onHit.Store(&hit)
	weights := 0
	for _, k := range p {
		weights += k.weight
	}
	for _, k := range p {
		s.phase = &phase{name: k.name, failsNever: !k.fails, mixed: k.mixed}
		s.book.begin(s.phase)
		if err := s.quiet(ctx); err != nil {
			return err
		}
		s.end = time.Now().Add(s.duration * time.Duration(k.weight) / time.Duration(weights))
		before := s.net.hits.Load()
		if err := k.play(ctx, s); err != nil {
			return fmt.Errorf("%s: %w", k.name, err)
		}
		s.net.heal()
		s.phase.hits += s.net.hits.Load() - before
		if err := s.rest(ctx); err != nil {
			return err
		}
		slog.Info("Played", slog.String("fault", k.name), slog.Int64("hits", s.phase.hits))
		if s.driver.ended.Load() {
			return fmt.Errorf("the driver has ended; see %s", s.driver.log)
		}
	}
	return nil
}

// quiet waits until what belongs to earlier phases is answered, so that this one's faults do not meet it.
func (s *stage) quiet(ctx context.Context) error {
	for end := time.Now().Add(2 * s.deadline); !s.book.settledBefore(s.phase) && time.Now().Before(end); {
		if err := pause(ctx, 5*time.Millisecond); err != nil {
			return err
		}
	}
	return nil
}

// rest waits until events are acknowledged again, and a little longer.
func (s *stage) rest(ctx context.Context) error {
	for end := time.Now().Add(2 * s.deadline); !s.book.recovered() && time.Now().Before(end); {
		if err := pause(ctx, 20*time.Millisecond); err != nil {
			return err
		}
	}
	return pause(ctx, time.Second)
}

// repeat plays a fault at least once, and until the phase ends.
func (s *stage) repeat(ctx context.Context, fault func() error) error {
	for {
		if err := fault(); err != nil {
			return err
		}
		if err := s.rest(ctx); err != nil {
			return err
		}
		if time.Now().After(s.end) {
			return nil
		}
	}
}

func (s *stage) between(from, to time.Duration) time.Duration {
	return from + time.Duration(s.chance.Int64N(int64(to-from)))
}

// arm has the next request meet a fault. Faults do not heap up while no request comes.
func arm(fault *atomic.Int64) { fault.CompareAndSwap(0, 1) }

// byHits arms a fault again and again.
func byHits(about time.Duration, set func(*network)) func(context.Context, *stage) error {
	return func(ctx context.Context, s *stage) error {
		for time.Now().Before(s.end) {
			set(s.net)
			if err := pause(ctx, s.between(about/2, about*3/2)); err != nil {
				return err
			}
		}
		return nil
	}
}

func cutConnections(ctx context.Context, s *stage) error {
	for time.Now().Before(s.end) {
		s.cut()
		if err := pause(ctx, s.between(50*time.Millisecond, 500*time.Millisecond)); err != nil {
			return err
		}
	}
	return nil
}

func (s *stage) cut() {
	if n := s.net.cut(); n > 0 {
		s.phase.hits++
		s.book.over(time.Now())
	}
}

// hole counts when a request was in it.
func (s *stage) hole(ctx context.Context, d time.Duration) error {
	before := s.net.passed.Load()
	s.net.swallow()
	err := pause(ctx, d)
	s.net.heal()
	s.book.over(time.Now())
	if s.net.passed.Load() > before {
		s.phase.hits++
	}
	return err
}

func slowNetwork(ctx context.Context, s *stage) error {
	before := s.net.passed.Load()
	s.net.delay.Store(int64(60 * time.Millisecond))
	s.net.rate.Store(4 * int64(s.rate) * 1000)
	err := pause(ctx, time.Until(s.end))
	s.phase.hits += s.net.passed.Load() - before
	return err
}

func (s *stage) bounce(ctx context.Context, command string) error {
	b := s.kafka.brokers[s.chance.IntN(len(s.kafka.brokers))]
	begin := time.Now()
	back, err := s.kafka.bounce(ctx, b, s.topic, command)
	if err != nil {
		return err
	}
	s.phase.hits++
	s.book.over(back)
	if away := back.Sub(begin); len(s.kafka.brokers) == 1 && away > s.deadline-2*time.Second {
		slog.Warn("The broker was away for too long to ask that nothing fails", slog.Duration("away", away))
		s.phase.failsNever = false
	}
	return nil
}

func (s *stage) freeze(ctx context.Context, d time.Duration) error {
	from := time.Now()
	if err := s.driver.signal(syscall.SIGSTOP); err != nil {
		return err
	}
	err := pause(ctx, d)
	if cerr := s.driver.signal(syscall.SIGCONT); err == nil {
		err = cerr
	}
	s.book.froze(span{from, time.Now()})
	s.book.over(time.Now())
	s.phase.hits++
	return err
}

func leadersMove(ctx context.Context, s *stage) error {
	return s.repeat(ctx, func() error {
		if err := s.kafka.moveLeaders(ctx, s.topic); err != nil {
			return err
		}
		s.phase.hits++
		s.book.over(time.Now())
		return nil
	})
}

// allAtOnce has network faults of every kind at random, while brokers are killed.
func allAtOnce(ctx context.Context, s *stage) error {
	killer := make(chan error, 1)
	other := *s
	other.chance = rand.New(rand.NewPCG(s.seed, 3)) //nolint:gosec // faults
	other.phase = &phase{}
	go func() {
		killer <- other.repeat(ctx, func() error { return other.bounce(ctx, "kill") })
	}()
	var err error
	for {
		select {
		case kerr := <-killer:
			s.phase.hits += other.phase.hits
			if err == nil {
				err = kerr
			}
			return err
		case <-time.After(s.between(50*time.Millisecond, 400*time.Millisecond)):
		}
		switch s.chance.IntN(12) {
		case 0, 1, 2:
			arm(&s.net.lose)
		case 3, 4, 5:
			arm(&s.net.halve)
		case 6, 7:
			arm(&s.net.undead)
		case 8, 9:
			s.cut()
		case 10:
			err = s.hole(ctx, s.between(100*time.Millisecond, s.deadline/4))
		default:
			s.net.delay.Store(int64(s.between(time.Millisecond, 50*time.Millisecond)))
		}
	}
}
