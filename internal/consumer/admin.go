package consumer

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"time"

	"github.com/expensevault/sharedlibrary/internal/cluster"
	"github.com/expensevault/sharedlibrary/internal/kerr"
)

// Special times for [Admin.Offsets].
const (
	Latest   = latestOffset // behind the last record that a member would be given
	Earliest = earliestOffset
)

// TopicPartition names a partition.
type TopicPartition struct {
	Topic     string
	Partition int32
}

func (tp TopicPartition) String() string { return fmt.Sprintf("%s/%d", tp.Topic, tp.Partition) }

func compareTP(a, b TopicPartition) int {
	return cmp.Or(cmp.Compare(a.Topic, b.Topic), cmp.Compare(a.Partition, b.Partition))
}

// Commit is where a group stands in a partition.
type Commit struct {
	Offset   int64
	Metadata string
}

// ErrUnanswered is the error of an [Admin] whose question got no answer in time.
var ErrUnanswered = errors.New("no answer in time")

// Admin asks about a group, and sets its offsets, without being a member. Each
// question is tried again, where that may help, for as long as it was told; the
// error then is [ErrUnanswered] and names the last trouble. It is not for concurrent use.
type Admin struct {
	m     *member
	bound time.Duration
}

// NewAdmin returns the admin of a group, whose name may be empty where only logs are asked about.
func NewAdmin(c *cluster.Cluster, log *slog.Logger, group string, bound time.Duration) *Admin {
	p := &Params{Cluster: c, Logger: log, Group: group} //nolint:exhaustruct_v5 // those that the requests need
	return &Admin{m: &member{p: p, log: log, out: &outage{log: log}}, bound: bound}
}

// missingFor is how long a topic may be unknown to a broker that is only learning of it.
const missingFor = 3 * time.Second

// again tries until there is no error, the error is final, the time is up, or ctx ends.
func (a *Admin) again(ctx context.Context, what string, try func(ctx context.Context) error) error {
	ctx, cancel := context.WithTimeoutCause(ctx, a.bound, ErrUnanswered)
	defer cancel()
	begin := time.Now()
	retry := retryPolicy()
	var last error
	for n := 0; ; n++ {
		err := try(ctx)
		if err == nil {
			return nil
		}
		if ctx.Err() == nil || last == nil {
			last = err
		}
		if refused, ok := errors.AsType[*refusedError](err); ok {
			return refused.err
		}
		missing := errors.Is(err, kerr.UnknownTopicOrPartition) && time.Since(begin) > missingFor
		if missing || fatal(err) || errors.Is(err, errMalformed) {
			return wrap(what, err)
		}
		if !retry.Wait(ctx, n) {
			return fmt.Errorf("consumer: %s: %w: %w", what, context.Cause(ctx), last)
		}
	}
}

// refusedError ends [Admin.again] with what is inside.
type refusedError struct{ err error }

func (e *refusedError) Error() string { return e.err.Error() }

// ErrGroupActive says that a group has members, whose offsets nobody else sets.
var ErrGroupActive = errors.New("the group has members")

// Members lists the members' client IDs, each with its host. A group that nobody knows has none.
func (a *Admin) Members(ctx context.Context) (members []string, err error) {
	err = a.again(ctx, "describe group "+a.m.p.Group, func(ctx context.Context) error {
		members = nil
		r, v, err := a.m.call(ctx, cluster.Control, describeRequest(a.m.p), requestTimeout)
		if err != nil {
			return err
		}
		d, err := decodeDescribe(r, v)
		if err != nil {
			return err
		}
		if d.code == kerr.GroupIdNotFound {
			return nil
		}
		for _, m := range d.members {
			members = append(members, m.client+" on "+m.host)
		}
		return a.m.check(d.code)
	})
	return members, err
}

// Committed is where the group stands in these partitions, or in all in which
// it ever stood when there are none; those without a commit are left out.
func (a *Admin) Committed(ctx context.Context, tps ...TopicPartition) (out map[TopicPartition]Commit, err error) {
	req := committedRequest(a.m.p, positionsOf(tps, 0))
	if len(tps) == 0 {
		req = allCommittedRequest(a.m.p)
	}
	err = a.again(ctx, "offsets of group "+a.m.p.Group, func(ctx context.Context) error {
		out = map[TopicPartition]Commit{}
		r, v, err := a.m.call(ctx, cluster.Control, req, requestTimeout)
		if err != nil {
			return err
		}
		ps, code, err := decodeCommitted(r, v)
		if err != nil {
			return err
		}
		if code == kerr.GroupIdNotFound {
			return nil
		}
		if err := a.m.check(code); err != nil {
			return err
		}
		for _, pos := range ps {
			if err := a.m.check(pos.code); err != nil {
				return fmt.Errorf("%s/%d: %w", pos.topic, pos.partition, err)
			}
			if pos.offset >= 0 {
				out[TopicPartition{pos.topic, pos.partition}] = Commit{pos.offset, pos.metadata}
			}
		}
		return nil
	})
	return out, err
}

// Commit sets offsets of a group without members; with members it is an [ErrGroupActive].
func (a *Admin) Commit(ctx context.Context, commits map[TopicPartition]Commit) error {
	ps := make([]position, 0, len(commits))
	for tp, c := range commits {
		ps = append(ps, position{topic: tp.Topic, partition: tp.Partition, offset: c.Offset, epoch: -1, metadata: c.Metadata})
	}
	slices.SortFunc(ps, func(a, b position) int {
		return cmp.Or(cmp.Compare(a.topic, b.topic), cmp.Compare(a.partition, b.partition))
	})
	nobody := &generation{id: -1} //nolint:exhaustruct // no member
	return a.again(ctx, "set offsets of group "+a.m.p.Group, func(ctx context.Context) error {
		r, v, err := a.m.call(ctx, cluster.Control, commitRequest(a.m.p, nobody, ps), requestTimeout)
		if err != nil {
			return err
		}
		answers, err := decodeCommit(r, v)
		if err != nil {
			return err
		}
		if len(answers) < len(ps) {
			return kerr.UnknownServerError
		}
		for _, pos := range answers {
			switch pos.code { //nolint:exhaustive // the others may pass, or are fatal
			case kerr.UnknownMemberId, kerr.IllegalGeneration, kerr.RebalanceInProgress, kerr.StaleMemberEpoch:
				return &refusedError{fmt.Errorf("%w: %w", ErrGroupActive, pos.code)}
			case kerr.OffsetMetadataTooLarge, kerr.InvalidCommitOffsetSize:
				return &refusedError{pos.code}
			}
			if err := a.m.check(pos.code); err != nil {
				return fmt.Errorf("%s/%d: %w", pos.topic, pos.partition, err)
			}
		}
		return nil
	})
}

// Partitions lists the partitions of topics, sorted. A topic that is missing is waited for.
func (a *Admin) Partitions(ctx context.Context, topics ...string) (out []TopicPartition, err error) {
	err = a.again(ctx, "metadata", func(ctx context.Context) error {
		out = nil
		md, err := a.m.p.Cluster.Metadata(ctx, topics...)
		if err != nil {
			return err
		}
		for _, name := range topics {
			t := md.Topics[name]
			if t == nil {
				return fmt.Errorf("topic %s: %w", name, kerr.UnknownTopicOrPartition)
			}
			if t.Err != kerr.None {
				return fmt.Errorf("topic %s: %w", name, t.Err)
			}
			for _, p := range t.Partitions {
				out = append(out, TopicPartition{name, p.ID})
			}
		}
		slices.SortFunc(out, compareTP)
		return nil
	})
	return out, err
}

// Offsets finds in each partition the first record that is not older than at,
// in milliseconds, or the end where there is none; or [Earliest], or [Latest].
func (a *Admin) Offsets(ctx context.Context, at int64, tps ...TopicPartition) (map[TopicPartition]int64, error) {
	out := make(map[TopicPartition]int64, len(tps))
	err := a.again(ctx, "list offsets", func(ctx context.Context) error {
		left := slices.DeleteFunc(slices.Clone(tps), func(tp TopicPartition) bool { _, done := out[tp]; return done })
		leaders, err := a.leaders(ctx, left)
		if err != nil {
			return err
		}
		var first error
		for leader, mine := range leaders {
			if err := a.list(ctx, leader, mine, at, out); err != nil {
				first = cmp.Or(first, err)
			}
		}
		return first
	})
	if err != nil || at == Latest {
		return out, err
	}
	var behind []TopicPartition // nothing is as young: their end
	for tp, offset := range out {
		if offset < 0 {
			behind = append(behind, tp)
		}
	}
	if len(behind) > 0 {
		ends, err := a.Offsets(ctx, Latest, behind...)
		if err != nil {
			return nil, err
		}
		maps.Copy(out, ends)
	}
	return out, nil
}

func (a *Admin) list(ctx context.Context, leader int32, tps []TopicPartition, at int64, out map[TopicPartition]int64) error {
	r, v, err := call(ctx, a.m.p.Cluster, leader, cluster.Control, listRequest(positionsOf(tps, at), false), requestTimeout)
	if err != nil {
		return err
	}
	ps, err := decodeList(r, v)
	if err != nil {
		return err
	}
	if len(ps) < len(tps) {
		return kerr.UnknownServerError
	}
	var first error
	for _, pos := range ps {
		if pos.code != kerr.None {
			first = cmp.Or[error](first, fmt.Errorf("%s/%d: %w", pos.topic, pos.partition, pos.code))
			continue
		}
		out[TopicPartition{pos.topic, pos.partition}] = pos.offset
	}
	return first
}

// leaders groups partitions by their leader.
func (a *Admin) leaders(ctx context.Context, tps []TopicPartition) (map[int32][]TopicPartition, error) {
	topics := []string{}
	for _, tp := range tps {
		if !slices.Contains(topics, tp.Topic) {
			topics = append(topics, tp.Topic)
		}
	}
	md, err := a.m.p.Cluster.Metadata(ctx, topics...)
	if err != nil {
		return nil, err
	}
	out := map[int32][]TopicPartition{}
	for _, tp := range tps {
		t := md.Topics[tp.Topic]
		if t == nil || t.Err != kerr.None {
			code := kerr.UnknownTopicOrPartition
			if t != nil {
				code = t.Err
			}
			return nil, fmt.Errorf("topic %s: %w", tp.Topic, code)
		}
		if int(tp.Partition) >= len(t.Partitions) || t.Partitions[tp.Partition].Leader < 0 {
			return nil, fmt.Errorf("%s: %w", tp, kerr.LeaderNotAvailable)
		}
		leader := t.Partitions[tp.Partition].Leader
		out[leader] = append(out[leader], tp)
	}
	return out, nil
}

// positionsOf is grouped by topic, as requests need it.
func positionsOf(tps []TopicPartition, offset int64) []position {
	tps = slices.Clone(tps)
	slices.SortFunc(tps, compareTP)
	ps := make([]position, len(tps))
	for i, tp := range tps {
		ps[i] = position{topic: tp.Topic, partition: tp.Partition, offset: offset, epoch: -1}
	}
	return ps
}

// pollWait is how long a broker holds a fetch of [Admin.Read] back.
const pollWait = 500 * time.Millisecond
