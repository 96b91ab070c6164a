package producer

import (
	"cmp"
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
	look := func(e *entry, last error) {
		switch {
		case e.settled:
		case !e.deadline.After(now):
			ss = p.settle(ss, e, Result{}, p.timeoutError(last), e.batch != nil)
		case next.IsZero() || e.deadline.Before(next):
			next = e.deadline
		}
	}
	settled := func(e *entry) bool { return e.settled }
	for _, t := range p.topics {
		for _, e := range t.pending {
			look(e, p.trouble.err)
		}
		t.pending = slices.DeleteFunc(t.pending, settled)
		for _, pt := range t.partitions {
			pt.each(func(e *entry) { look(e, cmp.Or(pt.err, p.trouble.err)) })
			pt.queue = slices.DeleteFunc(pt.queue, settled)
		}
	}
	p.dead = 0
	if earliest := now.Add(sweepPause); !next.IsZero() && next.Before(earliest) {
		next = earliest
	}
	p.sweepAt = next
	p.later(ss)
}

// timeoutError names what the last try failed with, if there was one.
func (p *Producer) timeoutError(last error) error {
	if last == nil {
		return fmt.Errorf("%w: %v", ErrTimeout, p.params.MessageTimeout)
	}
	return fmt.Errorf("%w: %v; the last try: %w", ErrTimeout, p.params.MessageTimeout, last)
}
