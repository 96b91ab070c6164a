package consumer

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/expensevault/sharedlibrary/internal/kerr"
)

// joined is what joining again led to.
type joined struct {
	gen *generation
	err error
}

// stay lives through one generation: it takes what the assignment has and is not held yet, gives up what is held and not in it,
// and returns when it is time to join again or the session ends.
//
//nolint:contextcheck // the session's own contexts
func (s *session) stay(ctx context.Context) {
	g := s.gen
	assigned, stray := s.sorted(g.assigned)
	s.log.InfoContext(ctx, "joined the group", "generation", g.id, "member", g.member, "partitions", len(assigned), "leader", g.watched != nil)
	s.p.joined(len(assigned))
	s.m.logMissing(ctx, g)
	if len(stray) > 0 {
		s.log.WarnContext(ctx, "partitions of topics without a subscription are left alone", "topics", stray)
		if g.first && s.p.InstanceID != "" { // the subscription of this member's earlier life: share out anew, once
			s.m.renewed++
			s.askToJoin()
		}
	}
	var gone []*partition
	for _, p := range s.all() {
		switch {
		case slices.Contains(assigned, p.topicPartition):
		case p.started:
			gone = append(gone, p)
		default:
			s.drop(p)
		}
	}
	for _, tp := range assigned {
		s.take(tp)
	}
	until, stop := context.WithCancel(s.feed)
	var tasks sync.WaitGroup
	tasks.Go(func() { s.begin(until) })
	switch {
	case g.watched != nil:
		tasks.Go(func() { s.watch(until, g) })
	case s.p.InstanceID != "":
		tasks.Go(func() { s.watchOver(until) })
	}
	if len(gone) > 0 {
		s.giveUp(gone)
		s.askToJoin() // the other half of the move: now others can have them
	}
	select {
	case <-s.again:
	case <-s.feed.Done():
	}
	stop()
	tasks.Wait()
}

// rejoin joins again: with nothing in hand, or with all that is held where every member of the group does so. It returns nil,
// or when the session ended first what is yet to come of it.
func (s *session) rejoin() <-chan joined {
	if s.feed.Err() != nil {
		return nil
	}
	h := &held{generation: -1}
	if s.p.cooperative() {
		h.generation = s.gen.id
		for _, p := range s.all() {
			h.add(p.topicPartition)
		}
	} else {
		s.giveUp(s.all())
		if s.feed.Err() != nil {
			return nil
		}
	}
	s.mu.Lock()
	s.joining = true
	s.mu.Unlock()
	result := make(chan joined, 1)
	s.tasks.Go(func() {
		g, err := s.m.join(s.life, h)
		result <- joined{g, err}
	})
	select {
	case j := <-result:
		s.settle(j)
		return nil
	case <-s.feed.Done():
		return result
	}
}

// settle begins with what joining again led to.
func (s *session) settle(j joined) {
	switch {
	case j.err == nil:
		select {
		case <-s.again: // was about the generation before
		default:
		}
		s.pulse.felt(j.gen.synced)
		s.mu.Lock()
		s.gen, s.joining = j.gen, false
		s.mu.Unlock()
	case reactionTo(j.err) == loseAll:
		s.lose(j.err)
	case s.life.Err() == nil:
		if errors.Is(j.err, kerr.FencedInstanceId) {
			s.lose(j.err)
		}
		s.fail(j.err)
	}
}

// sorted are the partitions of an assignment in order, and the topics in it that are not ours.
func (s *session) sorted(tps []topicPartitions) (assigned []topicPartition, stray []string) {
	for _, t := range tps {
		if !s.m.subscribes(t.topic) {
			stray = append(stray, t.topic)
			continue
		}
		for _, id := range t.partitions {
			if id >= 0 {
				assigned = append(assigned, topicPartition{t.topic, id})
			}
		}
	}
	slices.SortFunc(assigned, topicPartition.compare)
	return slices.Compact(assigned), stray
}

// all are the partitions that are held, in order.
func (s *session) all() []*partition {
	s.mu.Lock()
	defer s.mu.Unlock()
	ps := make([]*partition, 0, len(s.owned))
	for _, p := range s.owned {
		ps = append(ps, p)
	}
	slices.SortFunc(ps, func(a, b *partition) int { return a.compare(b.topicPartition) })
	return ps
}

// take holds a partition from now on; it does not begin yet.
func (s *session) take(tp topicPartition) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.owned[tp] == nil {
		s.owned[tp] = newPartition(s, tp)
	}
}

// giveUp stops partitions, lets their handlers finish, commits what they did, and holds them no longer.
func (s *session) giveUp(ps []*partition) {
	if len(ps) == 0 {
		return
	}
	s.drain(ps, s.revokeLimit())
	s.commitLast(ps)
	if s.isLost() {
		return // said already
	}
	for _, p := range ps {
		s.drop(p)
	}
	s.log.InfoContext(s.life, "gave partitions up", "generation", s.gen.id, "partitions", len(ps), "kept", len(s.all()))
}

// drop holds a partition no longer.
func (s *session) drop(p *partition) {
	p.stop()
	p.abandon()
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.owned, p.topicPartition)
}

// forgetAll ends what is left at the session's end.
func (s *session) forgetAll(ctx context.Context) {
	ps := s.all()
	for _, p := range ps {
		s.drop(p)
	}
	s.log.InfoContext(ctx, "left the group's generation", "generation", s.gen.id, "partitions", len(ps), "lost", s.isLost())
}

// revokeLimit is how long handlers may go on after a revoke: the group waits for this member's JoinGroup meanwhile, but not for ever.
func (s *session) revokeLimit() time.Duration {
	return min(s.p.DrainTimeout, s.p.RebalanceTimeout*2/3)
}

// drain stops partitions and waits for their handlers: until they are done, the partitions are lost, or the time is up.
func (s *session) drain(ps []*partition, limit time.Duration) {
	for _, p := range ps {
		p.stop()
	}
	s.fetcher.remove(ps)
	timer := time.NewTimer(limit)
	defer timer.Stop()
	if drained(ps, timer.C, s.lost) {
		return
	}
	for _, p := range ps {
		p.abandon()
	}
	grace := time.NewTimer(graceTimeout)
	defer grace.Stop()
	if drained(ps, grace.C, nil) {
		return
	}
	for _, p := range ps {
		select {
		case <-p.drained():
		default:
			s.log.ErrorContext(s.life, "the handler goes on although its context has ended; its record will be handled again",
				"messaging.destination.name", p.topic, "messaging.destination.partition.id", p.partition, "messaging.kafka.offset", p.at())
		}
	}
}

// graceTimeout is how long handlers may take to notice that their context has ended.
const graceTimeout = 5 * time.Second

// drained waits for all workers, or for one of two signals; false for these.
func drained(ps []*partition, timer <-chan time.Time, lost <-chan struct{}) bool {
	for _, p := range ps {
		select {
		case <-p.drained():
		case <-timer:
			return false
		case <-lost:
			return false
		}
	}
	return true
}

func (h *held) add(tp topicPartition) {
	if n := len(h.owned); n > 0 && h.owned[n-1].topic == tp.topic {
		h.owned[n-1].partitions = append(h.owned[n-1].partitions, tp.partition)
		return
	}
	h.owned = append(h.owned, topicPartitions{tp.topic, []int32{tp.partition}})
}

func (tp topicPartition) compare(other topicPartition) int {
	return cmp.Or(cmp.Compare(tp.topic, other.topic), cmp.Compare(tp.partition, other.partition))
}

func isIllegal(err error) bool { return errors.Is(err, kerr.IllegalGeneration) }
