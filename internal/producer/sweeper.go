package producer

import (
	"fmt"
	"slices"
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
		if at.IsZero() {
			timer.Stop()
		} else {
			timer.Reset(time.Until(at))
		}
		select {
		case <-timer.C:
			p.expire(time.Now())
		case <-p.sweepC:
		case <-p.ctx.Done():
			return
		}
	}
}

func (p *Producer) expire(now time.Time) {
	p.mu.Lock()
	defer p.unlock()
	var (
		ss   []settlement
		next time.Time
	)
	for _, t := range p.topics {
		p.each(t, func(e *entry) {
			switch {
			case e.settled:
			case !e.deadline.After(now):
				ss = p.settle(ss, e, Result{}, p.timeoutError(), e.batch != nil)
			case next.IsZero() || e.deadline.Before(next):
				next = e.deadline
			}
		})
		t.pending = slices.DeleteFunc(t.pending, func(e *entry) bool { return e.settled })
		for _, pt := range t.partitions {
			pt.queue = slices.DeleteFunc(pt.queue, func(e *entry) bool { return e.settled })
		}
	}
	if earliest := now.Add(sweepPause); !next.IsZero() && next.Before(earliest) {
		next = earliest
	}
	p.sweepAt = next
	p.later(ss)
}

func (p *Producer) timeoutError() error {
	if p.trouble.err == nil {
		return fmt.Errorf("%w: %v", ErrTimeout, p.params.MessageTimeout)
	}
	return fmt.Errorf("%w: %v; the last try: %w", ErrTimeout, p.params.MessageTimeout, p.trouble.err)
}
