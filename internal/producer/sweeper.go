package producer

import (
	"cmp"
	"fmt"
	"math"
	"time"
)

// sweepPause bounds how often all queues are looked through, and so how late a deadline is noticed.
const sweepPause = 100 * time.Millisecond

// sweep settles what is past its deadline.
func (p *Producer) sweep() {
	defer p.wg.Done()
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		p.mu.Lock()
		at := p.sweepAt
		p.mu.Unlock()
		if at == math.MaxInt64 {
			timer.Stop()
		} else {
			timer.Reset(time.Duration(at) - time.Since(p.born))
		}
		select {
		case <-timer.C:
			p.expireAll(p.now())
		case <-p.sweepC:
		case <-p.ctx.Done():
			return
		}
	}
}

func (p *Producer) expireAll(now int64) {
	p.mu.Lock()
	defer p.unlock()
	next := int64(math.MaxInt64)
	for _, t := range p.topics {
		var first int64
		t.pending, first = p.expire(t.pending, now, func() error { return p.timeoutError(p.trouble.err) })
		next = min(next, first)
		for _, pt := range t.partitions {
			timeout := func() error { return p.lastError(pt) }
			for _, sl := range pt.seq.window {
				if sl.batch.earliest <= now {
					p.expireBatch(sl.batch, now, timeout, sl.maybe)
				}
				next = min(next, sl.batch.earliest)
			}
			pt.queue, first = p.expire(pt.queue, now, timeout)
			next = min(next, first)
		}
	}
	if next != math.MaxInt64 {
		next = max(next, now+int64(sweepPause))
	}
	p.sweepAt = next
}

// sweepBy has the sweeper look at the queues at this time, or before.
func (p *Producer) sweepBy(at int64) {
	if at < p.sweepAt {
		p.sweepAt = at
		kick(p.sweepC)
	}
}

// lastError says that the time is up, and why nothing came of a partition's batches.
func (p *Producer) lastError(pt *partition) error {
	return p.timeoutError(cmp.Or(pt.err, p.trouble.err))
}

// timeoutError names what the last try failed with, if there was one.
func (p *Producer) timeoutError(last error) error {
	if last == nil {
		return fmt.Errorf("%w: %v", ErrTimeout, p.params.MessageTimeout)
	}
	return fmt.Errorf("%w: %v; the last try: %w", ErrTimeout, p.params.MessageTimeout, last)
}
