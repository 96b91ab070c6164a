package consumer

import (
	"context"
	"sync"
	"time"
)

// pulse knows when the coordinator last confirmed the membership. Once that is
// longer ago than the session lasts, another member may own the partitions:
// nothing new is begun before the next confirmation. So a process that was
// frozen does not go on with what it had fetched before.
type pulse struct {
	session time.Duration

	mu   sync.Mutex
	last time.Time
	next chan struct{} // closed by the next confirmation
}

func newPulse(session time.Duration) *pulse {
	return &pulse{session: session, last: time.Now(), next: make(chan struct{})}
}

func (p *pulse) felt() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.last = time.Now()
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
