package messaging

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/expensevault/sharedlibrary/internal/consumer"
)

// SeekTarget is where a group is to go on; [SeekEarliest], [SeekLatest],
// [SeekTime] and [SeekOffsets] make one. The zero value is none.
type SeekTarget struct {
	at      int64
	set     bool
	offsets map[TopicPartition]int64
}

// SeekEarliest is the first record that the log holds: all of it is handled again.
func SeekEarliest() SeekTarget { return SeekTarget{at: consumer.Earliest, set: true, offsets: nil} }

// SeekLatest is the end: what is there, and not yet handled, never will be.
func SeekLatest() SeekTarget { return SeekTarget{at: consumer.Latest, set: true, offsets: nil} }

// SeekTime is, in each partition, the first record whose timestamp is not
// before t, or the end where there is none. A record's timestamp is the event's
// own; a record may lie behind younger ones.
func SeekTime(t time.Time) SeekTarget {
	return SeekTarget{at: max(0, t.UnixMilli()), set: true, offsets: nil}
}

// SeekOffsets is one offset per partition, of the record to go on with; the
// partitions that are not named stay where they are. An offset that the log
// does not hold is an error; its end is none.
func SeekOffsets(offsets map[TopicPartition]int64) SeekTarget {
	return SeekTarget{at: 0, set: true, offsets: maps.Clone(offsets)}
}

// SeekGroup sets the offsets of a stopped group in all partitions of the
// topics. Topics are default names: Config.Topics is applied. It returns a
// [*GroupActiveError] where the group has members; the broker itself refuses it
// too, so that a member which comes meanwhile is not overruled. All partitions
// are set by one request; when it fails, ask [GroupLag] where they stand.
//
// What was finished out of order above the old position is forgotten, and
// handled again where the target lies below.
//
// It tries again what may pass, for Config.MessageTimeout per question at most,
// and ends with ctx. errors.Is finds [ErrTimeout], [ErrUnknownTopic],
// [ErrNotAuthorized] and [ErrAuthentication] in its error. Rights needed: READ
// and DESCRIBE on the group and the topics.
func SeekGroup(ctx context.Context, cfg Config, group string, to SeekTarget, topics ...string) error {
	if err := checkGroup(&cfg, group); err != nil {
		return err
	}
	if len(topics) == 0 {
		return errors.New("messaging: SeekGroup: no topics: name those whose offsets are to be set")
	}
	a, err := newGroupAdmin(&cfg, group, (&commonOptions{}).logger(), nil)
	if err != nil {
		return err
	}
	defer a.close()
	return a.seek(ctx, to, namesOf(&cfg, topics))
}

// Seek sets the offsets of the subscriber's group in all partitions of its
// topics, retry topics included; see [SeekGroup]. The group has to be stopped:
// this subscriber, and every other member.
func (s *Subscriber) Seek(ctx context.Context, to SeekTarget) error {
	a, err := newGroupAdmin(s.cfg, s.group, s.deliver.log, s.opts.dial)
	if err != nil {
		return err
	}
	defer a.close()
	return a.seek(ctx, to, s.topics)
}

func (a *groupAdmin) seek(ctx context.Context, to SeekTarget, topics []string) error {
	if !to.set {
		return errors.New("messaging: no target to seek: give SeekEarliest, SeekLatest, SeekTime or SeekOffsets")
	}
	members, err := a.Members(ctx)
	if err != nil {
		return a.fail("offsets", err)
	}
	if len(members) > 0 {
		return &GroupActiveError{Group: a.group, Members: members}
	}
	tps, err := a.Partitions(ctx, topics...)
	if err != nil {
		return a.fail("offsets", err)
	}
	var offsets map[TopicPartition]int64
	if to.offsets != nil {
		offsets, err = to.offsets, a.checkOffsets(ctx, to.offsets, tps)
	} else {
		offsets, err = a.Offsets(ctx, to.at, tps...)
	}
	if err != nil {
		return a.fail("offsets", err)
	}
	commits := make(map[TopicPartition]consumer.Commit, len(offsets))
	for tp, offset := range offsets {
		commits[tp] = consumer.Commit{Offset: offset, Metadata: ""}
	}
	if len(commits) == 0 {
		return nil
	}
	return a.fail("offsets", a.Commit(ctx, commits))
}

// checkOffsets refuses what the log does not hold.
func (a *groupAdmin) checkOffsets(ctx context.Context, offsets map[TopicPartition]int64, tps []TopicPartition) error {
	var named []TopicPartition
	for tp := range offsets {
		if !slices.Contains(tps, tp) {
			return fmt.Errorf("SeekOffsets names %s, which is not a partition of the topics", tp)
		}
		named = append(named, tp)
	}
	starts, err := a.Offsets(ctx, consumer.Earliest, named...)
	if err != nil {
		return err
	}
	ends, err := a.Offsets(ctx, consumer.Latest, named...)
	if err != nil {
		return err
	}
	for tp, offset := range offsets {
		if offset < starts[tp] || offset > ends[tp] {
			return fmt.Errorf("SeekOffsets: offset %d of %s is not in the log: give %d to %d", offset, tp, starts[tp], ends[tp])
		}
	}
	return nil
}
