package messaging

import (
	"cmp"
	"context"
	"slices"

	"github.com/expensevault/sharedlibrary/internal/consumer"
)

// PartitionLag is how far behind a consumer group is in one partition.
type PartitionLag struct {
	TopicPartition

	Committed int64 // the offset from which on nothing is finished; -1: the group has no position yet
	Start     int64 // the first offset that the log holds
	End       int64 // behind the last record that a member can be given; records of open transactions are beyond
	// Lag is how many offsets lie between the position, or Start where there is
	// none or it has passed, and End. It is the number of records at most:
	// compaction and transactions leave offsets without one. What was finished
	// above the position, and not yet committed, counts as well.
	Lag int64
}

// GroupLag tells, for each partition of the topics, how far behind a group is;
// without topics, for all partitions in which the group has a position. Topics
// are default names: Config.Topics is applied. The result is sorted by topic
// and partition. Any process may ask, about any group, whether it has members
// or not; a group that nobody knows has no positions.
//
// It tries again what may pass, for Config.MessageTimeout per question at most,
// and ends with ctx. errors.Is finds [ErrTimeout], [ErrUnknownTopic],
// [ErrNotAuthorized] and [ErrAuthentication] in its error. Rights needed:
// DESCRIBE on the group and on the topics.
func GroupLag(ctx context.Context, cfg Config, group string, topics ...string) ([]PartitionLag, error) {
	if err := checkGroup(&cfg, group); err != nil {
		return nil, err
	}
	a, err := newGroupAdmin(&cfg, group, (&commonOptions{}).logger(), nil)
	if err != nil {
		return nil, err
	}
	defer a.close()
	return a.lag(ctx, namesOf(&cfg, topics))
}

// Lag tells how far behind the subscriber's group is, in every partition of its
// topics, retry topics included; see [GroupLag]. It may be called at any time,
// while Run runs too; it opens connections of its own and closes them.
func (s *Subscriber) Lag(ctx context.Context) ([]PartitionLag, error) {
	a, err := newGroupAdmin(s.cfg, s.group, s.deliver.log, s.opts.dial)
	if err != nil {
		return nil, err
	}
	defer a.close()
	lags, err := a.lag(ctx, s.topics)
	if s.opts.startLatest {
		for i := range lags {
			if lags[i].Committed < 0 {
				lags[i].Lag = 0
			}
		}
	}
	return lags, err
}

// lag asks for the ends after the positions, so that it is never negative for what moves meanwhile.
func (a *groupAdmin) lag(ctx context.Context, topics []string) ([]PartitionLag, error) {
	committed, err := a.Committed(ctx)
	if err != nil {
		return nil, a.fail("lag", err)
	}
	var tps []TopicPartition
	if len(topics) == 0 {
		for tp := range committed {
			tps = append(tps, tp)
		}
		slices.SortFunc(tps, func(a, b TopicPartition) int {
			return cmp.Or(cmp.Compare(a.Topic, b.Topic), cmp.Compare(a.Partition, b.Partition))
		})
	} else if tps, err = a.Partitions(ctx, topics...); err != nil {
		return nil, a.fail("lag", err)
	}
	starts, err := a.Offsets(ctx, consumer.Earliest, tps...)
	if err != nil {
		return nil, a.fail("lag", err)
	}
	ends, err := a.Offsets(ctx, consumer.Latest, tps...)
	if err != nil {
		return nil, a.fail("lag", err)
	}
	lags := make([]PartitionLag, len(tps))
	for i, tp := range tps {
		l := PartitionLag{TopicPartition: tp, Committed: -1, Start: starts[tp], End: ends[tp], Lag: 0}
		if c, ok := committed[tp]; ok {
			l.Committed = c.Offset
		}
		l.Lag = max(0, l.End-max(l.Committed, l.Start))
		lags[i] = l
	}
	return lags, nil
}

// namesOf applies Config.Topics.
func namesOf(cfg *Config, topics []string) []string {
	out := make([]string, len(topics))
	for i, t := range topics {
		out[i] = cfg.TopicName(t)
	}
	return out
}
