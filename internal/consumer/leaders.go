package consumer

import (
	"context"
	"slices"
	"time"

	"github.com/expensevault/sharedlibrary/internal/cluster"
	"github.com/expensevault/sharedlibrary/internal/kerr"
)

// refresh looks the leaders up where that is due.
func (f *fetcher) refresh(now time.Time) {
	if !f.stale || f.refreshing || f.refreshAt.After(now) {
		return
	}
	f.stale, f.refreshing = false, true
	topics := []string{}
	for tp := range f.cursors {
		if !slices.Contains(topics, tp.topic) {
			topics = append(topics, tp.topic)
		}
	}
	if len(topics) == 0 {
		f.refreshing = false
		return
	}
	f.do(func(ctx context.Context) func() {
		md, err := f.s.p.Cluster.Metadata(ctx, topics...)
		return func() {
			f.refreshing = false
			f.refreshAt = time.Now().Add(f.retry.Pause(f.refreshes))
			f.refreshes++
			if err != nil {
				if fatal(err) {
					f.s.fail(wrap("fetch", err))
					return
				}
				f.s.m.out.fail(f.s.feed, "metadata", err)
				f.stale = true
				return
			}
			f.s.m.out.ok(f.s.feed, "metadata")
			f.leaders(md)
		}
	})
}

func (f *fetcher) leaders(md *cluster.Metadata) {
	for tp, c := range f.cursors {
		leader, epoch := int32(-1), int32(-1)
		if t := md.Topics[tp.topic]; t != nil {
			if fatal(t.Err) {
				f.s.fail(wrap("topic "+tp.topic, t.Err))
				return
			}
			if t.Err == kerr.None && int(tp.partition) < len(t.Partitions) {
				leader, epoch = t.Partitions[tp.partition].Leader, t.Partitions[tp.partition].LeaderEpoch
			}
		}
		if leader < 0 {
			f.stale = true // between two leaders, or deleted: then the group's leader will see to it
		}
		if leader != c.leader || epoch != c.epoch {
			c.leader, c.epoch, c.at = leader, epoch, time.Time{}
		}
	}
	if !f.stale {
		f.dropUnused()
	}
}

// dropUnused forgets brokers that lead nothing of ours any more.
func (f *fetcher) dropUnused() {
	used := map[int32]bool{}
	for _, c := range f.order {
		used[c.leader] = true
	}
	for id, b := range f.brokers {
		if !used[id] && !b.busy {
			f.s.m.out.drop(brokerName(id))
			delete(f.brokers, id)
		}
	}
}

// list finds the offsets where partitions without a position begin.
func (f *fetcher) list(id int32, cs []*cursor) {
	b := f.broker(id)
	ps := make([]position, len(cs))
	for i, c := range cs {
		c.busy = true
		ps[i] = position{topic: c.p.topic, partition: c.p.partition, offset: c.list, epoch: c.epoch}
	}
	req := listRequest(groupByTopic(ps), f.s.p.ReadUncommitted)
	f.do(func(ctx context.Context) func() {
		found, err := f.askOffsets(ctx, id, req)
		return func() {
			for _, c := range cs {
				c.busy = false
			}
			if err != nil {
				f.brokerFailed(id, b, err)
				return
			}
			f.brokerWorks(id, b)
			for _, c := range cs {
				if c.gone {
					continue
				}
				pos, ok := found[c.p.topicPartition]
				switch {
				case !ok || pos.code == kerr.None && pos.offset < 0:
					f.failed(c, kerr.UnknownServerError)
				case pos.code != kerr.None:
					f.failed(c, pos.code)
				default:
					f.found(c, pos.offset)
				}
			}
		}
	})
}

func (f *fetcher) askOffsets(ctx context.Context, id int32, req request) (map[topicPartition]position, error) {
	r, v, err := call(ctx, f.s.p.Cluster, id, cluster.Control, req, requestTimeout)
	if err != nil {
		return nil, err
	}
	ps, err := decodeList(r, v)
	if err != nil {
		return nil, err
	}
	found := make(map[topicPartition]position, len(ps))
	for _, pos := range ps {
		found[topicPartition{pos.topic, pos.partition}] = pos
	}
	return found, nil
}

// found begins at an offset, which the partition is told in its turn.
func (f *fetcher) found(c *cursor, offset int64) {
	if c.reset {
		if f.s.p.OutOfRange == StopRun {
			f.s.fail(&OutOfRangeError{Topic: c.p.topic, Partition: c.p.partition, Offset: c.next, Start: offset})
			return
		}
		f.s.log.WarnContext(f.s.feed, f.resetText(offset <= c.next), "messaging.destination.name", c.p.topic,
			"messaging.destination.partition.id", c.p.partition, "messaging.kafka.offset", c.next, "start", offset, "skipped", max(0, offset-c.next))
	}
	c.list, c.reset = 0, false
	f.works(c)
	f.push(c, portion{set: nil, offset: offset}, offset)
}

// resetText says what became of an offset that is out of range.
func (f *fetcher) resetText(beyond bool) string {
	switch {
	case f.s.p.OutOfRange == ToLatest:
		return "the group's offset is out of range, going on at the log's end"
	case beyond:
		return "the group's offset is out of range, beyond the log's end (was the topic created anew?), handling all of the log"
	}
	return "the group's offset is out of range, going on where the log begins"
}
