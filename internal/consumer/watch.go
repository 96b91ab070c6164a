package consumer

import (
	"context"
	"time"

	"github.com/expensevault/sharedlibrary/internal/cluster"
)

// watch is the leader's duty: to have the group share out what partitions and topics there are anew.
func (s *session) watch(ctx context.Context, g *generation) {
	shrunk := false
	for {
		wait := s.p.MetadataInterval
		for t, n := range g.watched {
			if n == 0 && s.m.subscribes(t) {
				wait = min(wait, time.Second)
			}
		}
		if !sleep(ctx, wait) {
			return
		}
		now := make(map[string]int, len(g.watched))
		for t := range g.watched {
			now[t] = 0
		}
		if err := s.m.count(ctx, now); err != nil {
			if fatal(err) {
				s.fail(wrap("metadata", err))
				return
			}
			continue // whoever fetches logs that the brokers are away
		}
		less := false
		for t, n := range now {
			if n > g.watched[t] {
				s.log.InfoContext(ctx, "the topic has new partitions", "messaging.destination.name", t, "partitions", n)
				s.askToJoin()
				return
			}
			less = less || n < g.watched[t]
		}
		// A broker that lags behind knows less for a moment: believed at the second time.
		if less && shrunk {
			s.askToJoin()
			return
		}
		shrunk = less
	}
}

// watchOver is what every static member does that is not the leader, since there may be none: to a static leader that was
// started anew the coordinator answers with the ID that it had before, and it cannot know that it leads. Nor does a
// coordinator look at a new subscription of a member that was started anew. So each of them looks whether every partition of the
// members' topics is somebody's, and has the group share out anew if twice in a row one is not. Where that does not help,
// as with a topic that the leader may not describe, it is tried less and less often.
func (s *session) watchOver(ctx context.Context) {
	uncovered := ""
	for sleep(ctx, s.p.MetadataInterval<<min(s.m.invain, 6)) {
		topic, err := s.uncovered(ctx)
		switch {
		case err != nil:
			s.m.out.debug(ctx, "the group cannot be described", err)
			uncovered = ""
		case topic != "" && topic == uncovered:
			s.log.InfoContext(ctx, "partitions of the topic are nobody's: the group shares out anew", "messaging.destination.name", topic)
			s.m.invain++ // this and renewed are the session's, which waits for us before it joins again
			s.m.renewed++
			s.askToJoin()
			return
		default:
			if uncovered = topic; topic == "" {
				s.m.invain = 0
			}
		}
	}
}

// uncovered is a topic to which a member subscribes, and of which a partition belongs to none that does; "" where all is well, or the group
// rebalances anyway.
func (s *session) uncovered(ctx context.Context) (string, error) {
	r, v, err := s.m.call(ctx, cluster.Control, describeRequest(s.p), requestTimeout)
	if err != nil {
		return "", err
	}
	d, err := decodeDescribe(r, v)
	if err != nil {
		return "", err
	}
	if err := s.m.check(d.code); err != nil {
		return "", err
	}
	if d.state != "Stable" {
		return "", nil
	}
	wanted, covered := map[string]int{}, map[topicPartition]bool{}
	for _, m := range d.members {
		sub, err := decodeSubscription(m.metadata)
		if err != nil {
			continue // the leader gave it nothing
		}
		tps, err := decodeAssignment(m.assignment)
		if err != nil {
			return "", err
		}
		for _, t := range sub.topics {
			wanted[t] = 0
		}
		for _, tp := range tps {
			for _, p := range tp.partitions {
				covered[topicPartition{tp.topic, p}] = true
			}
		}
	}
	if err := s.m.count(ctx, wanted); err != nil {
		return "", err
	}
	return firstUncovered(wanted, covered), nil
}

// firstUncovered is always the same one of several.
func firstUncovered(wanted map[string]int, covered map[topicPartition]bool) string {
	first := ""
	for t, n := range wanted {
		for p := range int32(n) {
			if !covered[topicPartition{t, p}] && (first == "" || t < first) {
				first = t
			}
		}
	}
	return first
}
