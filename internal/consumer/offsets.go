package consumer

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/expensevault/sharedlibrary/internal/cluster"
	"github.com/expensevault/sharedlibrary/internal/kerr"
)

// begin finds out where the group stands in partitions that are not begun yet, and begins them; until ctx ends.
func (s *session) begin(ctx context.Context) {
	ps := slices.DeleteFunc(s.all(), func(p *partition) bool { return p.started })
	if len(ps) == 0 {
		return
	}
	retry := retryPolicy()
	for n := 0; ; n++ {
		starts, err := s.starts(ctx, ps)
		if ctx.Err() != nil {
			return
		}
		if err == nil {
			s.m.out.ok(ctx, "committed offsets")
			for i, p := range ps {
				p.start(starts[i], s.running[p.topicPartition])
				s.running[p.topicPartition] = p.worked
			}
			s.fetcher.add(ps, starts)
			return
		}
		if fatal(err) {
			s.fail(wrap("read the group's offsets", err))
			return
		}
		s.m.out.fail(ctx, "committed offsets", err)
		if !retry.Wait(ctx, n) {
			return
		}
	}
}

// starts is what the group committed for each of the partitions, or a position of the offset [earliestOffset] or [latestOffset].
func (s *session) starts(ctx context.Context, ps []*partition) ([]position, error) {
	ask := make([]position, len(ps))
	for i, p := range ps {
		ask[i] = position{topic: p.topic, partition: p.partition}
	}
	found, err := s.committed(ctx, committedRequest(s.p, ask))
	if err != nil {
		return nil, err
	}
	starts, known := make([]position, len(ps)), map[string]bool(nil)
	for i, p := range ps {
		if pos, ok := found[p.topicPartition]; ok && pos.offset >= 0 { // some brokers leave out what was never committed
			starts[i] = pos
			continue
		}
		starts[i].offset = earliestOffset
		if !s.p.StartLatest || int(p.partition) >= s.m.before[p.topic] {
			continue
		}
		if known == nil {
			if known, err = s.topicsWithOffsets(ctx); err != nil {
				return nil, err
			}
		}
		if !known[p.topic] {
			starts[i].offset = latestOffset
		}
	}
	return starts, nil
}

// topicsWithOffsets are the topics in which the group stands somewhere: it has begun with them.
func (s *session) topicsWithOffsets(ctx context.Context) (map[string]bool, error) {
	found, err := s.committed(ctx, allCommittedRequest(s.p))
	if err != nil {
		return nil, err
	}
	topics := map[string]bool{}
	for tp, pos := range found {
		if pos.offset >= 0 {
			topics[tp.topic] = true
		}
	}
	return topics, nil
}

func (s *session) committed(ctx context.Context, req request) (map[topicPartition]position, error) {
	r, v, err := s.m.call(ctx, cluster.Offsets, req, requestTimeout)
	if err != nil {
		return nil, err
	}
	ps, code, err := decodeCommitted(r, v)
	if err != nil {
		return nil, err
	}
	if err := s.m.check(code); err != nil {
		return nil, err
	}
	found := make(map[topicPartition]position, len(ps))
	for _, pos := range ps {
		if err := s.m.check(pos.code); err != nil {
			return nil, fmt.Errorf("%s/%d: %w", pos.topic, pos.partition, err)
		}
		found[topicPartition{pos.topic, pos.partition}] = pos
	}
	return found, nil
}

// commitLoop commits what was finished, until the session has ended.
func (s *session) commitLoop() {
	for sleep(s.life, s.p.CommitInterval) && !s.isLost() {
		s.attend()
		if err := s.commitUntil(s.life, s.all(), func(error) bool { return false }); err != nil {
			if reactionTo(err) != joinAgain { // or SyncGroup is just under way
				s.m.out.fail(s.life, "commits", err)
			}
		} else {
			s.m.out.ok(s.life, "commits")
		}
	}
}

// commitLast commits what partitions that are given up have finished, trying for a bounded time.
func (s *session) commitLast(ps []*partition) {
	ctx, cancel := context.WithTimeout(s.life, requestTimeout)
	defer cancel()
	if err := s.commitUntil(ctx, ps, func(err error) bool { return reactionTo(err) == tryAgain }); err != nil {
		s.logUncommitted(err)
	}
}

// commitAtEnd is commitLast for all that is held, when Run ends or the session does, perhaps while the group rebalances: then it
// takes the generation that comes of it to commit.
func (s *session) commitAtEnd(joining <-chan joined) {
	if s.isLost() {
		return
	}
	ctx, cancel := context.WithTimeout(s.life, requestTimeout)
	defer cancel()
	err := s.commitUntil(ctx, s.all(), func(err error) bool { return reactionTo(err) == tryAgain })
	if joining != nil && (reactionTo(err) == joinAgain || reactionTo(err) == loseAll) {
		select {
		case j := <-joining:
			if s.settle(j); j.err == nil {
				assigned, _ := s.sorted(j.gen.assigned)
				ps := slices.DeleteFunc(s.all(), func(p *partition) bool { return !slices.Contains(assigned, p.topicPartition) })
				err = s.commitUntil(ctx, ps, func(err error) bool { return reactionTo(err) == tryAgain || reactionTo(err) == joinAgain })
			}
		case <-ctx.Done():
		}
	}
	if err != nil && !s.isLost() {
		s.logUncommitted(err)
	}
}

func (s *session) logUncommitted(err error) {
	s.log.WarnContext(s.life, "what was handled last could not be committed; it will be handled again", "error", err)
}

// commitUntil commits until nothing is refused that another try may get through.
func (s *session) commitUntil(ctx context.Context, ps []*partition, retriable func(error) bool) error {
	retry := retryPolicy()
	for n := 0; ; n++ {
		err := s.commit(ctx, ps)
		if errors.Is(err, errShorter) && !s.isLost() {
			continue
		}
		if err == nil || errors.Is(err, errRefused) || !retriable(err) || s.isLost() || !retry.Wait(ctx, n) {
			return err
		}
	}
}

// errRefused is the error of commits of which each will be refused again.
var errRefused = errors.New("refused for good")

// errShorter is the error of a commit that is to be made again at once, with less metadata.
var errShorter = errors.New("too much metadata")

// commit tells the coordinator what is finished and was not told yet. Whoever
// is not a member of this generation any more is refused by it.
func (s *session) commit(ctx context.Context, parts []*partition) (err error) {
	select {
	case s.committing <- struct{}{}:
		defer func() { <-s.committing }()
	case <-ctx.Done():
		return ctx.Err()
	}
	if s.isLost() {
		return nil // there is nothing of ours to commit
	}
	s.mu.Lock()
	g := s.gen
	s.mu.Unlock()
	var ps []position
	byTP := map[topicPartition]*partition{}
	limit := int(s.m.metadataLimit.Load())
	for _, p := range parts { // in order, as eachTopic wants them
		if pos, ok := p.position(limit); ok {
			ps = append(ps, pos)
			byTP[p.topicPartition] = p
		}
	}
	if len(ps) == 0 {
		return nil
	}
	start := time.Now()
	defer func() { s.p.observeCommit(start, ps, err) }()
	r, v, err := s.m.call(ctx, cluster.Offsets, commitRequest(s.p, g, ps), requestTimeout)
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
			byTP[tp].committed = pos
			continue
		}
		err := fmt.Errorf("commit offset %d of %s: %w", pos.offset, tp, code)
		switch code { //nolint:exhaustive // only of these another try makes nothing else
		case kerr.OffsetMetadataTooLarge:
			if pos.metadata != "" { // the broker's offset.metadata.max.bytes is less than the default
				s.m.metadataLimit.CompareAndSwap(int32(limit), int32(len(pos.metadata)/2))
				err = fmt.Errorf("%w, %w", err, errShorter)
				break
			}
			err = fmt.Errorf("%w, %w", err, errRefused)
		case kerr.UnknownTopicOrPartition, kerr.InvalidCommitOffsetSize:
			err = fmt.Errorf("%w, %w", err, errRefused)
		}
		if first == nil || errors.Is(first, errRefused) {
			first = err
		}
		_ = s.m.check(code)
		s.judge(code, g)
	}
	return first
}
