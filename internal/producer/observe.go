package producer

import (
	"errors"
	"math"
	"time"
)

// Observer is told what becomes of batches and requests. Its methods are called
// from the engine's goroutines, without its mutex, and must not block.
type Observer interface {
	// Sent is of a batch's first request: so long had its first record waited.
	Sent(topic string, waited time.Duration)
	// Resent is of each further one: why the one before failed.
	Resent(topic string, err error)
	// Answered is of a request: what came of it, and after how long.
	Answered(took time.Duration, err error)
}

// errResent stands for a reason that is not known any more.
var errResent = errors.New("producer: the batch was split")

func (p *Producer) observeSend(r *request) {
	o := p.params.Observer
	if o == nil {
		return
	}
	r.since = p.now()
	for i := range r.flights {
		if f := &r.flights[i]; f.before != nil {
			o.Resent(f.pt.topic.name, f.before)
		} else {
			o.Sent(f.pt.topic.name, time.Duration(f.waited))
		}
	}
}

// observeTry is of the n-th try, from 0, of a batch that was given at a time; last is why the one before failed.
func (p *Producer) observeTry(topic string, n int, given int64, last error) {
	switch o := p.params.Observer; {
	case o == nil:
	case n == 0:
		o.Sent(topic, time.Duration(p.now()-given))
	case last != nil:
		o.Resent(topic, last)
	}
}

func (p *Producer) observeAnswer(r *request, err error) {
	if o := p.params.Observer; o != nil && p.params.Acks != 0 {
		o.Answered(time.Duration(p.now()-r.since), err)
	}
}

// State is what a producer has in hand.
type State struct {
	Events  int
	Bytes   int
	Oldest  time.Duration // since the call for the oldest of them; 0 without any
	Trouble error         // why brokers do not take events at the moment; nil: they do, as far as is known
	Since   time.Time     // of the trouble
	Closed  bool
}

// State looks at everything that is not settled: ask each second, not each event.
func (p *Producer) State() State {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := State{Events: 0, Bytes: p.buf.used, Oldest: 0, Trouble: p.trouble.err, Since: p.trouble.since, Closed: p.shut}
	for _, snd := range p.senders {
		if t := snd.trouble; t.err != nil && (s.Trouble == nil || t.since.Before(s.Since)) {
			s.Trouble, s.Since = t.err, t.since
		}
	}
	first := int64(math.MaxInt64)
	for _, t := range p.topics {
		t.batches(func(b *batch) {
			s.Events += b.live
			for i := range b.entries {
				if e := &b.entries[i]; e.done != nil {
					first = min(first, e.deadline)
				}
			}
		})
	}
	if s.Events > 0 {
		s.Oldest = max(0, time.Duration(p.now()-first)+p.params.MessageTimeout)
	}
	return s
}
