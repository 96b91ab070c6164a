package consumer

import (
	"cmp"
	"context"
	"slices"
	"strconv"
	"time"

	"github.com/expensevault/sharedlibrary/internal/backoff"
	"github.com/expensevault/sharedlibrary/internal/cluster"
	"github.com/expensevault/sharedlibrary/internal/kerr"
	"github.com/expensevault/sharedlibrary/internal/recordbatch"
)

// fetcher keeps the partitions' queues filled: one request at a time per
// broker, for all of its partitions whose queue is empty. One goroutine owns
// its state; requests run in goroutines of their own and report to it.
type fetcher struct {
	s       *session
	cursors map[topicPartition]*cursor
	order   []*cursor // the order in which they are asked for: whoever got something goes to the end
	brokers map[int32]*broker
	results chan func() // what a request came to, to be run by the owner
	wake    chan struct{}
	retry   backoff.Policy

	stale      bool // the leaders have to be looked up
	refreshing bool
	refreshAt  time.Time
	refreshes  int // in a row
}

// cursor is where a partition is fetched.
type cursor struct {
	p      *partition
	next   int64 // the offset to fetch
	list   int64 // when not zero, next is still to be found: earliestOffset or latestOffset
	reset  bool  // because next was out of range
	leader int32 // -1: not known
	epoch  int32
	busy   bool // a request is under way
	gone   bool // the partition is given up
	tries  int  // failures of any kind in a row
	harmed int  // damaged answers in a row, other failures aside
	at     time.Time
}

type broker struct {
	busy   bool
	asked  []*cursor          // by the fetch that is under way
	cancel context.CancelFunc // of that
	tries  int
	at     time.Time
	// hold is how long a fetch may wait at the broker while other partitions of it
	// wait for their handlers: they would have to wait for its end.
	hold time.Duration
}

const (
	leastHold = 10 * time.Millisecond
	// mostOfFrame is how many times its own size a set may keep in memory: the answer that it came with.
	mostOfFrame = 8
	// fetchSlack is added to how long a broker may hold a fetch back.
	fetchSlack = 10 * time.Second
	// damagedTries is how often a batch that does not pass is fetched again before Run gives up.
	damagedTries = 5
)

func newFetcher(s *session) *fetcher {
	return &fetcher{
		s: s, cursors: map[topicPartition]*cursor{}, brokers: map[int32]*broker{},
		results: make(chan func()), wake: make(chan struct{}, 1),
		retry: backoff.Policy{Min: 20 * time.Millisecond, Max: 500 * time.Millisecond},
	}
}

// add fetches partitions from now on, each from an offset, or from [earliestOffset] or [latestOffset].
func (f *fetcher) add(ps []*partition, starts []position) {
	f.tell(func() {
		for i, p := range ps {
			c := &cursor{p: p, next: starts[i].offset, leader: -1, epoch: -1}
			if c.next < 0 {
				c.next, c.list = -1, c.next
			}
			f.cursors[p.topicPartition] = c
			f.order = append(f.order, c)
		}
		f.stale, f.refreshAt, f.refreshes = true, time.Time{}, 0
	})
}

// remove fetches nothing of partitions any more; what is under way for them is thrown away when it comes.
func (f *fetcher) remove(ps []*partition) {
	f.tell(func() {
		for _, p := range ps {
			if c := f.cursors[p.topicPartition]; c != nil && c.p == p {
				c.gone = true
				delete(f.cursors, p.topicPartition)
				f.s.m.out.drop(p.String())
			}
		}
		f.order = slices.DeleteFunc(f.order, func(c *cursor) bool { return c.gone })
		for _, b := range f.brokers {
			if b.busy && !slices.ContainsFunc(b.asked, func(c *cursor) bool { return !c.gone }) {
				b.cancel() // nobody waits for it, but what is added next would
			}
		}
	})
}

// tell has the owner change something; once the session feeds no more, nothing matters.
func (f *fetcher) tell(change func()) {
	select {
	case f.results <- change:
	case <-f.s.feed.Done():
	}
}

// room tells that a queue has room.
func (f *fetcher) room() {
	select {
	case f.wake <- struct{}{}:
	default:
	}
}

// run fetches until the session's feed ends.
func (f *fetcher) run() {
	ctx := f.s.feed
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		now := time.Now() // one for all three: what none of them does yet, the last one waits for
		f.refresh(now)
		f.dispatch(now)
		timer.Reset(f.nextTry(now))
		select {
		case <-ctx.Done():
			return
		case apply := <-f.results:
			apply()
		case <-f.wake:
			for _, b := range f.brokers {
				b.hold = leastHold
			}
		case <-timer.C:
		}
	}
}

// do runs a request, and then what it returns on the owner's goroutine.
func (f *fetcher) do(request func(ctx context.Context) func()) {
	f.s.tasks.Go(func() {
		f.tell(request(f.s.feed))
	})
}

// nextTry is when a pause ends that something waits for.
func (f *fetcher) nextTry(now time.Time) time.Duration {
	first := time.Time{}
	consider := func(t time.Time) {
		if t.After(now) && (first.IsZero() || t.Before(first)) {
			first = t
		}
	}
	if f.stale && !f.refreshing {
		consider(f.refreshAt)
	}
	for _, c := range f.order {
		consider(c.at)
	}
	for _, b := range f.brokers {
		consider(b.at)
	}
	if first.IsZero() {
		return time.Hour
	}
	return first.Sub(now)
}

// dispatch sends what can be sent.
func (f *fetcher) dispatch(now time.Time) {
	fetches, lists, held := map[int32][]*cursor{}, map[int32][]*cursor{}, map[int32]bool{}
	for _, c := range f.order {
		if c.leader < 0 || c.busy || c.at.After(now) {
			continue
		}
		b := f.broker(c.leader)
		switch {
		case len(c.p.queue) > 0 || f.s.p.Control.Paused(c.p.topic):
			held[c.leader] = true
		case b.at.After(now):
		case c.list != 0:
			lists[c.leader] = append(lists[c.leader], c)
		case !b.busy:
			fetches[c.leader] = append(fetches[c.leader], c)
		}
	}
	for id, cs := range lists {
		f.list(id, cs)
	}
	for id, cs := range fetches {
		wait := f.s.p.FetchMaxWait
		if held[id] {
			wait = min(wait, f.brokers[id].hold)
		}
		f.fetch(id, cs, wait)
	}
}

func (f *fetcher) broker(id int32) *broker {
	b := f.brokers[id]
	if b == nil {
		b = &broker{hold: leastHold}
		f.brokers[id] = b
	}
	return b
}

// opened is one partition's part of an answer, checked.
type opened struct {
	fetched
	cursor *cursor
	set    *recordbatch.Reader
	err    error
}

func (f *fetcher) fetch(id int32, cs []*cursor, wait time.Duration) {
	b := f.broker(id)
	b.busy = true
	ps := make([]position, len(cs))
	for i, c := range cs {
		c.busy = true
		ps[i] = position{topic: c.p.topic, partition: c.p.partition, offset: c.next, epoch: c.epoch}
	}
	req := fetchRequest(f.s.p, millis(wait), groupByTopic(ps))
	ctx, cancel := context.WithCancel(f.s.feed)
	b.asked, b.cancel = cs, cancel
	f.do(func(context.Context) func() {
		start := time.Now()
		parts, err := f.ask(ctx, id, req, wait+fetchSlack, cs)
		if ctx.Err() == nil {
			f.s.p.polled(start, parts, err)
		}
		cancelled := ctx.Err() != nil
		cancel()
		return func() {
			b.busy, b.asked = false, nil
			for _, c := range cs {
				c.busy = false
			}
			if cancelled {
				return
			}
			if err != nil {
				f.brokerFailed(id, b, err)
				return
			}
			f.brokerWorks(id, b)
			empty := true
			for i := range parts {
				empty = f.apply(&parts[i]) && empty
			}
			if empty {
				b.hold = min(2*b.hold, f.s.p.FetchMaxWait)
			} else {
				b.hold = leastHold
			}
		}
	})
}

// ask sends a fetch and checks what comes back, outside of the owner's goroutine.
func (f *fetcher) ask(ctx context.Context, id int32, req request, timeout time.Duration, cs []*cursor) ([]opened, error) {
	conn, err := f.s.p.Cluster.Conn(ctx, id, cluster.Fetch)
	if err != nil {
		return nil, err
	}
	r, v, err := exchange(ctx, conn, req, timeout)
	if err != nil {
		if ctx.Err() != nil {
			conn.Retire() // the next session need not wait for what this one asked
		}
		return nil, err
	}
	size := len(r.b)
	answer, code, err := decodeFetch(r, v)
	if err != nil {
		return nil, err
	}
	if err := code.Err(); err != nil {
		return nil, err
	}
	asked := make(map[topicPartition]*cursor, len(cs))
	for _, c := range cs {
		asked[c.p.topicPartition] = c
	}
	parts := make([]opened, 0, len(answer))
	for _, a := range answer {
		tp := topicPartition{a.topic, a.partition}
		c := asked[tp]
		if c == nil {
			continue
		}
		delete(asked, tp) // one named twice counts once: its queue has room for one
		o := opened{fetched: a, cursor: c}
		if a.code == kerr.None && len(a.set) > 0 {
			if size > mostOfFrame*len(a.set) { // a small set that waits must not hold all that came with it
				a.set = slices.Clone(a.set)
			}
			// c.next does not change while c is busy.
			o.set, o.err = recordbatch.Open(a.set, recordbatch.DecodeParams{
				Topic: a.topic, Partition: a.partition, Offset: c.next, Aborted: a.aborted, MaxBatchBytes: f.s.p.MaxBatchBytes,
			})
			o.fetched.set = nil
		}
		parts = append(parts, o)
	}
	return parts, nil
}

// apply takes one partition's part of an answer; true when there was nothing in it.
func (f *fetcher) apply(o *opened) bool {
	c := o.cursor
	if c.gone {
		return true
	}
	switch o.code {
	case kerr.None:
		c.p.end.Store(o.highWater)
	case kerr.OffsetOutOfRange:
		c.list, c.reset = earliestOffset, true
		if f.s.p.OutOfRange == ToLatest {
			c.list = latestOffset
		}
		f.pause(c)
		return false
	case kerr.CorruptMessage:
		f.damaged(c, o.code)
		return false
	default:
		f.failed(c, o.code)
		return false
	}
	if o.set == nil {
		f.works(c)
		return true
	}
	if o.set.End() == c.next {
		if o.err != nil {
			f.damaged(c, o.err)
			return false
		}
		// Part of a batch: there was no room for it behind the others. The order brings it to the front.
		return false
	}
	f.works(c)
	f.push(c, portion{set: o.set, offset: 0}, o.set.End())
	return false
}

// push gives a portion to the partition, and goes on at next. Its queue is empty: it was when it was asked for.
func (f *fetcher) push(c *cursor, what portion, next int64) {
	select {
	case c.p.queue <- what:
	case <-c.p.feed.Done():
		return
	}
	c.next = next
	i := slices.Index(f.order, c)
	f.order = append(slices.Delete(f.order, i, i+1), c)
}

func (f *fetcher) works(c *cursor) {
	c.harmed = 0
	if c.tries > 0 {
		c.tries, f.refreshes = 0, 0
		f.s.m.out.ok(f.s.feed, c.p.String())
	}
}

// failed pauses a partition after an error that may pass.
func (f *fetcher) failed(c *cursor, code kerr.Code) {
	if fatal(code) {
		f.s.fail(wrap("fetch "+c.p.String(), code))
		return
	}
	// The first errors of a partition whose leader moves are nobody's trouble.
	if c.tries == 5 {
		f.s.m.out.fail(f.s.feed, c.p.String(), code)
	}
	f.stale = true
	f.pause(c)
}

// damaged fetches again: the bytes may have been damaged on their way.
func (f *fetcher) damaged(c *cursor, err error) {
	c.harmed++
	if c.harmed > damagedTries {
		f.s.fail(wrap("fetch "+c.p.String(), err))
		return
	}
	f.s.log.WarnContext(f.s.feed, "what was fetched is damaged, fetching it again", "messaging.destination.name", c.p.topic,
		"messaging.destination.partition.id", c.p.partition, "messaging.kafka.offset", c.next, "error", err)
	f.pause(c)
}

func (f *fetcher) pause(c *cursor) {
	c.at = time.Now().Add(f.retry.Pause(c.tries))
	c.tries++
}

func brokerName(id int32) string { return "broker " + strconv.Itoa(int(id)) }

func (f *fetcher) brokerFailed(id int32, b *broker, err error) {
	if f.s.feed.Err() != nil {
		return
	}
	if fatal(err) {
		f.s.fail(wrap("fetch", err))
		return
	}
	f.s.m.out.fail(f.s.feed, brokerName(id), err)
	b.at = time.Now().Add(f.retry.Pause(b.tries))
	b.tries++
	f.stale = true
}

func (f *fetcher) brokerWorks(id int32, b *broker) {
	if b.tries > 0 {
		b.tries, f.refreshes = 0, 0
		f.s.m.out.ok(f.s.feed, brokerName(id))
	}
}

// groupByTopic keeps the order of the topics by their first partition, and of the partitions within a topic.
func groupByTopic(ps []position) []position {
	rank := map[string]int{}
	for _, p := range ps {
		if _, known := rank[p.topic]; !known {
			rank[p.topic] = len(rank)
		}
	}
	slices.SortStableFunc(ps, func(a, b position) int { return cmp.Compare(rank[a.topic], rank[b.topic]) })
	return ps
}
