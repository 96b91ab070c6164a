package consumer

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/expensevault/sharedlibrary/internal/kerr"
)

// ending is why a session ended. Its zero value: Run's context ended.
type ending struct {
	lost      bool  // the partitions are no longer ours: nothing is committed
	forgotten bool  // the coordinator does not know the member any more
	err       error // ends Run
}

// session is a membership from the first generation on that this member is part of: it outlasts rebalances, and ends with
// the membership or with Run.
//
// Its contexts end in this order: feed (nothing new is fetched or started), work (handlers have to return), life (heartbeats
// and commits). Each partition has a feed and a work of its own, which end with these at the latest.
type session struct {
	m       *member
	p       *Params
	log     *slog.Logger
	running map[topicPartition]<-chan struct{} // the latest worker of each partition; owned by run
	fetcher *fetcher
	pulse   *pulse

	feed, work, life             context.Context //nolint:containedctx // three lifetimes of one object, shared by its goroutines
	stopFeed, stopWork, stopLife context.CancelFunc
	lost                         chan struct{}  // closed when the partitions are gone
	again                        chan struct{}  // of one token: it is time to join again
	committing                   chan struct{}  // of one token: one commit at a time
	tasks                        sync.WaitGroup // all goroutines but the workers

	mu      sync.Mutex
	gen     *generation // the latest
	joining bool        // JoinGroup is under way: gen may be over, and another one not known yet
	owned   map[topicPartition]*partition
	end     ending
}

func newSession(ctx context.Context, m *member, g *generation, running map[topicPartition]<-chan struct{}) *session {
	s := &session{
		m: m, p: m.p, log: m.log, running: running, gen: g,
		pulse: newPulse(m.p.SessionTimeout, g.synced),
		lost:  make(chan struct{}), again: make(chan struct{}, 1), committing: make(chan struct{}, 1),
		owned: map[topicPartition]*partition{},
	}
	s.life, s.stopLife = context.WithCancel(context.WithoutCancel(ctx))
	s.work, s.stopWork = context.WithCancel(context.WithoutCancel(ctx))
	s.feed, s.stopFeed = context.WithCancel(ctx)
	s.fetcher = newFetcher(s)
	return s
}

// run lives through the session and returns when nothing of it is left, handlers that ignore their context aside.
//
//nolint:contextcheck // the session's own contexts, which end in their order after ctx
func (s *session) run(ctx context.Context) ending {
	s.tasks.Go(s.beat)
	s.tasks.Go(s.fetcher.run)
	s.tasks.Go(s.commitLoop)
	var joining <-chan joined
	for s.feed.Err() == nil {
		s.stay(ctx)
		joining = s.rejoin()
	}
	s.finish(ctx, joining)
	s.tasks.Wait()
	s.m.out.end()
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.end
}

// finish gives everything up at the session's end, whatever that is.
//
//nolint:contextcheck // the session's own contexts
func (s *session) finish(ctx context.Context, joining <-chan joined) {
	s.stopFeed()
	limit := s.p.DrainTimeout
	if ctx.Err() == nil {
		limit = s.revokeLimit()
	}
	s.drain(s.all(), limit)
	s.commitAtEnd(joining)
	s.stopWork()
	s.stopLife()
	s.forgetAll(ctx)
}

// judge does what the coordinator's answer to a heartbeat or a commit of a generation asks for.
func (s *session) judge(code kerr.Code, g *generation) {
	switch reactionTo(code.Err()) {
	case goOn, tryAgain:
	case joinAgain:
		if s.current(g) {
			s.askToJoin()
		}
	case loseAll:
		// A new generation makes the one before illegal. What became of ours, the answer to JoinGroup tells.
		if code != kerr.IllegalGeneration || s.current(g) {
			s.lose(code)
		}
	case endRun:
		if code == kerr.FencedInstanceId {
			s.lose(code)
			s.fail(wrap("another member took the instance ID "+s.p.InstanceID, code))
			return
		}
		s.fail(wrap("group "+s.p.Group, code))
	}
}

// current reports whether a generation is the latest, and no JoinGroup is under way.
func (s *session) current(g *generation) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.gen == g && !s.joining
}

// askToJoin has the member join again: the group rebalances, or is to.
func (s *session) askToJoin() {
	select {
	case s.again <- struct{}{}:
	default:
	}
}

// fail ends the session, and Run, with an error. The first one counts.
func (s *session) fail(err error) {
	s.mu.Lock()
	if s.end.err == nil {
		s.end.err = err
	}
	s.mu.Unlock()
	s.stopFeed()
}

// lose ends the session without mercy: the partitions are, or will soon be, another member's.
func (s *session) lose(err error) {
	s.mu.Lock()
	if !s.end.lost {
		s.end.lost = true
		s.end.forgotten = !isIllegal(err)
		close(s.lost)
		level := slog.LevelWarn
		if len(s.owned) == 0 {
			level = slog.LevelDebug // nothing is lost but the place in the queue
		}
		s.log.Log(s.life, level, "lost the partitions; what is being handled is given up", "generation", s.gen.id, "member", s.gen.member,
			"partitions", len(s.owned), "error", err)
	}
	s.mu.Unlock()
	s.stopWork()
	s.stopFeed()
}

func (s *session) isLost() bool {
	select {
	case <-s.lost:
		return true
	default:
		return false
	}
}

// beat keeps the membership until life ends: while handlers work, while they drain, and while the group rebalances.
func (s *session) beat() {
	retry := retryPolicy()
	failed := 0
	wait := s.p.HeartbeatInterval
	for sleep(s.life, wait) && !s.isLost() {
		s.mu.Lock()
		g := s.gen
		s.mu.Unlock()
		sent := time.Now()
		code, err := s.m.heartbeat(s.life, g)
		if s.life.Err() != nil {
			return
		}
		if err == nil && reactionTo(code.Err()) == tryAgain {
			err = code
		}
		if err != nil {
			if fatal(err) {
				s.fail(wrap("heartbeat", err))
			}
			s.m.out.fail(s.life, coordinatorDown, err)
			wait = min(retry.Pause(failed), s.p.HeartbeatInterval)
			failed++
			continue
		}
		failed, wait = 0, s.p.HeartbeatInterval
		s.m.out.ok(s.life, coordinatorDown)
		if code == kerr.None || code == kerr.RebalanceInProgress {
			s.pulse.felt(sent)
		}
		s.judge(code, g)
	}
}

func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

func wrap(what string, err error) error { return fmt.Errorf("consumer: %s: %w", what, err) }
