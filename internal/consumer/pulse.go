package consumer

import (
	"context"
	"sync"
	"sync/atomic"
	"time"
)

// pulse knows when the heartbeat was sent that the coordinator confirmed last: it
// counts the session from then on, or later. Once that is longer ago than the session lasts, another member may own the partitions:
// nothing new is begun before the next confirmation. So a process that was
// frozen does not go on with what it had fetched before.
type pulse struct {
	session time.Duration
	born    time.Time
	alive   atomic.Int64 // until so long after born; each call of a handler asks

	mu   sync.Mutex
	next chan struct{} // closed by the next confirmation
}

// newPulse begins with what was sent at a time and confirmed since.
func newPulse(session time.Duration, sent time.Time) *pulse {
	p := &pulse{session: session, born: time.Now(), next: make(chan struct{})} //nolint:exhaustruct // felt sets the rest
	p.felt(sent)
	return p
}

// felt notes that what was sent at a time is confirmed, however late the answer was read.
func (p *pulse) felt(sent time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.alive.Store(int64(sent.Add(p.session).Sub(p.born)))
	close(p.next)
	p.next = make(chan struct{})
}

func (p *pulse) beats() bool { return int64(time.Since(p.born)) <= p.alive.Load() }

// wait returns true while the membership may be relied on, waiting for it if need be until ctx ends.
func (p *pulse) wait(ctx context.Context) bool {
	for {
		if p.beats() {
			return ctx.Err() == nil
		}
		p.mu.Lock()
		next := p.next
		p.mu.Unlock()
		if p.beats() { // it was confirmed just before
			continue
		}
		select {
		case <-next:
		case <-ctx.Done():
			return false
		}
	}
}
