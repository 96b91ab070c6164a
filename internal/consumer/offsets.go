package consumer

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/expensevault/sharedlibrary/internal/cluster"
	"github.com/expensevault/sharedlibrary/internal/kerr"
)

// begin finds out where the group stands; false when the session ended before.
func (s *session) begin() bool {
	if len(s.parts) == 0 {
		return s.feed.Err() == nil
	}
	slices.SortFunc(s.parts, func(a, b *partition) int {
		if c := strings.Compare(a.topic, b.topic); c != 0 {
			return c
		}
		return int(a.partition) - int(b.partition)
	})
	retry := retryPolicy()
	for n := 0; ; n++ {
		err := s.readCommitted()
		if err == nil {
			return s.feed.Err() == nil
		}
		if s.feed.Err() != nil {
			return false
		}
		if fatal(err) {
			s.fail(wrap("read the group's offsets", err))
			return false
		}
		s.m.out.fail(s.feed, "committed offsets", err)
		if !retry.Wait(s.feed, n) {
			return false
		}
	}
}

func (s *session) readCommitted() error {
	ask := make([]position, len(s.parts))
	for i, p := range s.parts {
		ask[i] = position{topic: p.topic, partition: p.partition}
	}
	r, v, err := s.m.call(s.feed, cluster.Group, committedRequest(s.p, ask), requestTimeout)
	if err != nil {
		return err
	}
	ps, code, err := decodeCommitted(r, v)
	if err != nil {
		return err
	}
	if err := s.m.check(code); err != nil {
		return err
	}
	found := make(map[topicPartition]int64, len(ps))
	for _, pos := range ps {
		if err := s.m.check(pos.code); err != nil {
			return fmt.Errorf("%s/%d: %w", pos.topic, pos.partition, err)
		}
		found[topicPartition{pos.topic, pos.partition}] = pos.offset
	}
	for _, p := range s.parts {
		p.committed = -1 // some brokers leave out what was never committed
		if offset, ok := found[p.topicPartition]; ok && offset >= 0 {
			p.committed = offset
		}
		p.done.Store(p.committed)
	}
	s.m.out.ok(s.feed, "committed offsets")
	return nil
}

// commitLoop commits what was finished, until ctx ends.
func (s *session) commitLoop(ctx context.Context) {
	for sleep(ctx, s.p.CommitInterval) {
		select {
		case <-s.lost:
			return
		default:
		}
		if err := s.commit(ctx); err != nil {
			s.m.out.fail(ctx, "commits", err)
		} else {
			s.m.out.ok(ctx, "commits")
		}
	}
}

// commitLast commits at the session's end, trying for a bounded time.
func (s *session) commitLast() {
	ctx, cancel := context.WithTimeout(s.life, requestTimeout)
	defer cancel()
	retry := retryPolicy()
	for n := 0; ; n++ {
		select {
		case <-s.lost:
			return
		default:
		}
		err := s.commit(ctx)
		if err == nil {
			return
		}
		if errors.Is(err, kerr.RebalanceInProgress) || fatal(err) || !retry.Wait(ctx, n) {
			s.log.WarnContext(s.life, "what was handled last could not be committed; it will be handled again", "error", err)
			return
		}
	}
}

// commit tells the coordinator what is finished and was not told yet. Whoever
// is not a member of this generation any more is refused by it.
func (s *session) commit(ctx context.Context) error {
	var ps []position
	byTP := map[topicPartition]*partition{}
	for _, p := range s.parts {
		if done := p.done.Load(); done >= 0 && done != p.committed {
			ps = append(ps, position{topic: p.topic, partition: p.partition, offset: done, epoch: -1})
			byTP[p.topicPartition] = p
		}
	}
	if len(ps) == 0 {
		return nil
	}
	r, v, err := s.m.call(ctx, cluster.Group, commitRequest(s.p, s.gen, ps), requestTimeout)
	if err != nil {
		return err
	}
	answers, err := decodeCommit(r, v)
	if err != nil {
		return err
	}
	told := make(map[topicPartition]kerr.Code, len(answers))
	for _, a := range answers {
		told[topicPartition{a.topic, a.partition}] = a.code
	}
	var first error
	for _, pos := range ps {
		tp := topicPartition{pos.topic, pos.partition}
		code, ok := told[tp]
		if !ok {
			code = kerr.UnknownServerError
		}
		if code == kerr.None {
			byTP[tp].committed = pos.offset
			continue
		}
		if first == nil {
			first = fmt.Errorf("commit offset %d of %s: %w", pos.offset, tp, code)
		}
		_ = s.m.check(code)
		s.judge(code)
	}
	return first
}
