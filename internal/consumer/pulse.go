package consumer

import (
	"context"
	"sync"
	"time"
)

// pulse knows when the heartbeat was sent that the coordinator confirmed last: it
// counts the session from then on, or later. Once that is longer ago than the session lasts, another member may own the partitions:
// nothing new is begun before the next confirmation. So a process that was
// frozen does not go on with what it had fetched before.
type pulse struct {
	session time.Duration

	mu   sync.Mutex
	last time.Time
	next chan struct{} // closed by the next confirmation
}

// newPulse begins with what was sent at a time and confirmed since.
func newPulse(session time.Duration, sent time.Time) *pulse {
	return &pulse{session: session, last: sent, next: make(chan struct{})}
}

// felt notes that what was sent at a time is confirmed, however late the answer was read.
func (p *pulse) felt(sent time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.last = sent
	close(p.next)
	p.next = make(chan struct{})
}

// wait returns true while the membership may be relied on, waiting for it if need be until ctx ends.
func (p *pulse) wait(ctx context.Context) bool {
	for {
		p.mu.Lock()
		alive, next := time.Since(p.last) <= p.session, p.next
		p.mu.Unlock()
		if alive {
			return ctx.Err() == nil
		}
		select {
		case <-next:
		case <-ctx.Done():
			return false
		}
	}
}
