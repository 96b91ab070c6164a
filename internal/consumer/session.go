package consumer

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/expensevault/sharedlibrary/internal/kerr"
)

// ending is why a session ended. Its zero value: the group rebalances, or Run's context ended.
type ending struct {
	lost      bool  // the partitions are no longer ours: nothing is committed
	forgotten bool  // the coordinator does not know the member any more
	err       error // ends Run
}

// session is what happens between a join and the next one.
//
// Its contexts end in this order: feed (nothing new is fetched or started),
// work (handlers have to return), life (heartbeats and commits).
type session struct {
	m       *member
	p       *Params
	log     *slog.Logger
	gen     *generation
	parts   []*partition
	running map[topicPartition]chan struct{}
	stray   []string // topics that were assigned and are not ours

	feed, work, life             context.Context //nolint:containedctx // three lifetimes of one object, shared by its goroutines
	stopFeed, stopWork, stopLife context.CancelFunc
	lost                         chan struct{}  // closed when the partitions are gone
	tasks                        sync.WaitGroup // all goroutines but the workers

	pulse *pulse
	wake  chan struct{} // tells the fetcher that a queue has room

	mu  sync.Mutex
	end ending
}

func newSession(ctx context.Context, m *member, g *generation, running map[topicPartition]chan struct{}) *session {
	s := &session{
		m: m, p: m.p, gen: g, running: running,
		log:   m.log.With("generation", g.id, "member", g.member),
		lost:  make(chan struct{}),
		pulse: newPulse(m.p.SessionTimeout, g.synced),
		wake:  make(chan struct{}, 1),
	}
	s.life, s.stopLife = context.WithCancel(context.WithoutCancel(ctx))
	s.work, s.stopWork = context.WithCancel(context.WithoutCancel(ctx))
	s.feed, s.stopFeed = context.WithCancel(ctx)
	seen := map[topicPartition]bool{}
	for _, tps := range g.assigned {
		if !m.subscribes(tps.topic) {
			s.stray = append(s.stray, tps.topic)
			continue
		}
		for _, id := range tps.partitions {
			tp := topicPartition{tps.topic, id}
			if id >= 0 && !seen[tp] {
				seen[tp] = true
				s.parts = append(s.parts, newPartition(tp))
			}
		}
	}
	return s
}

// run lives through the session and returns when nothing of it is left, handlers that ignore their context aside.
//
//nolint:contextcheck // the session's own contexts, which end in their order after ctx
func (s *session) run(ctx context.Context) ending {
	s.log.InfoContext(ctx, "joined the group", "partitions", len(s.parts), "leader", s.gen.watched != nil)
	s.m.logMissing(ctx, s.gen)
	if len(s.stray) > 0 {
		s.log.WarnContext(ctx, "partitions of topics without a subscription are left alone", "topics", s.stray)
		if s.gen.first && s.p.InstanceID != "" { // the subscription of this member's earlier life: share out anew, once
			s.m.renewed++
			s.rejoin()
		}
	}
	s.tasks.Go(s.beat)
	if s.gen.watched != nil {
		s.tasks.Go(s.watch)
	}
	commits, stopCommits := context.WithCancel(s.life)
	committing := make(chan struct{})
	if s.begin() {
		for _, p := range s.parts {
			s.start(p)
		}
		s.tasks.Go(newFetcher(s).run)
		go func() {
			defer close(committing)
			s.commitLoop(commits)
		}()
	} else {
		close(committing)
	}
	<-s.feed.Done()
	s.drain(ctx.Err() != nil)
	stopCommits()
	<-committing
	s.commitLast()
	s.stopWork()
	s.stopLife()
	s.tasks.Wait()
	s.m.out.end()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.log.InfoContext(ctx, "gave the partitions up", "partitions", len(s.parts), "lost", s.end.lost)
	return s.end
}

// rejoin ends the session because the group rebalances.
func (s *session) rejoin() { s.stopFeed() }

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
func (s *session) lose(code kerr.Code) {
	s.mu.Lock()
	if !s.end.lost {
		s.end.lost = true
		s.end.forgotten = code != kerr.IllegalGeneration
		close(s.lost)
		s.log.WarnContext(s.life, "lost the partitions; what is being handled is given up", "partitions", len(s.parts), "error", code)
	}
	s.mu.Unlock()
	s.stopWork()
	s.stopFeed()
}

// judge ends the session where the coordinator's answer asks for it.
func (s *session) judge(code kerr.Code) {
	switch code {
	case kerr.RebalanceInProgress:
		s.rejoin()
	case kerr.IllegalGeneration, kerr.UnknownMemberId:
		s.lose(code)
	case kerr.FencedInstanceId:
		s.lose(code)
		s.fail(wrap("another member took the instance ID "+s.p.InstanceID, code))
	default:
		if fatal(code) {
			s.fail(wrap("group "+s.p.Group, code))
		}
	}
}

// beat keeps the membership until life ends, while handlers work and while they drain.
func (s *session) beat() {
	retry := retryPolicy()
	failed := 0
	wait := s.p.HeartbeatInterval
	for {
		if !sleep(s.life, wait) {
			return
		}
		sent := time.Now()
		code, err := s.m.heartbeat(s.life, s.gen)
		if s.life.Err() != nil {
			return
		}
		if err == nil && moved(code) {
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
		s.judge(code)
		select {
		case <-s.lost:
			return
		default:
		}
	}
}

// watch is the leader's duty: to have the group share out what partitions and topics there are anew.
func (s *session) watch() {
	shrunk := false
	for {
		wait := s.p.MetadataInterval
		for t, n := range s.gen.watched {
			if n == 0 && s.m.subscribes(t) {
				wait = min(wait, time.Second)
			}
		}
		if !sleep(s.feed, wait) {
			return
		}
		now := make(map[string]int, len(s.gen.watched))
		for t := range s.gen.watched {
			now[t] = 0
		}
		if err := s.m.count(s.feed, now); err != nil {
			if fatal(err) {
				s.fail(wrap("metadata", err))
				return
			}
			continue // whoever fetches logs that the brokers are away
		}
		less := false
		for t, n := range now {
			if n > s.gen.watched[t] {
				s.log.InfoContext(s.feed, "the topic has new partitions", "messaging.destination.name", t, "partitions", n)
				s.rejoin()
				return
			}
			less = less || n < s.gen.watched[t]
		}
		// A broker that lags behind knows less for a moment: believed at the second time.
		if less && shrunk {
			s.rejoin()
			return
		}
		shrunk = less
	}
}

// drain waits for the handlers: until they are done, the partitions are lost, or the time is up.
func (s *session) drain(stopping bool) {
	limit := s.p.DrainTimeout
	if !stopping {
		limit = min(limit, s.p.RebalanceTimeout*2/3)
	}
	timer := time.NewTimer(limit)
	defer timer.Stop()
	if s.finished(timer.C, s.lost) {
		return
	}
	s.stopWork()
	grace := time.NewTimer(graceTimeout)
	defer grace.Stop()
	if s.finished(grace.C, nil) {
		return
	}
	for _, p := range s.parts {
		select {
		case <-p.finished:
		default:
			s.log.ErrorContext(s.life, "the handler goes on although its context has ended; its record will be handled again",
				"messaging.destination.name", p.topic, "messaging.destination.partition.id", p.partition, "messaging.kafka.offset", p.done.Load())
		}
	}
}

// graceTimeout is how long handlers may take to notice that their context has ended.
const graceTimeout = 5 * time.Second

// finished waits for all workers, or for one of two signals; false for these.
func (s *session) finished(timer <-chan time.Time, lost <-chan struct{}) bool {
	for _, p := range s.parts {
		if p.finished == nil {
			continue // never started
		}
		select {
		case <-p.finished:
		case <-timer:
			return false
		case <-lost:
			return false
		}
	}
	return true
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
