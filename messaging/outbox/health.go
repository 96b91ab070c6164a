package outbox

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/expensevault/sharedlibrary/messaging"
)

// Health tells how the relay and its outbox are: rows that are not published,
// the age of the oldest, the shards that this relay has. It counts the rows,
// see [Outbox.Backlog], and waits for the database for 3 seconds at most. Where
// several relays share an outbox each of them tells the same rows. Any number of goroutines may call it.
func (r *Relay) Health(ctx context.Context) messaging.Health {
	h := messaging.Health{Connected: true, Assigned: int(r.shards.Load()), Progressing: true, Oldest: 0, Backlog: 0, Stopped: !r.running.Load(), Problem: nil}
	if r.err != nil {
		h.Connected, h.Problem = false, r.err
		return h
	}
	ctx, cancel := context.WithTimeout(ctx, countTimeout)
	defer cancel()
	b, err := (&Outbox{store: r.store, tracers: nil, err: nil}).Backlog(ctx, r.db)
	h.Backlog, h.Oldest = b.Pending, b.Oldest
	h.Progressing = b.Oldest < messaging.StallAfter
	since, trouble := r.outage.now()
	switch {
	case err != nil:
		h.Connected, h.Problem = false, err
	case h.Stopped:
		h.Problem = errors.New("outbox: the relay does not run")
	case trouble != nil:
		h.Connected = false
		h.Problem = fmt.Errorf("outbox: nothing was published for %s: %w", time.Since(since).Round(time.Second), trouble)
	case !h.Progressing:
		h.Problem = fmt.Errorf("outbox: the oldest row waits for %s", b.Oldest.Round(time.Second))
	case b.Parked > 0:
		h.Problem = fmt.Errorf("outbox: %d rows cannot be published; see Outbox.Parked", b.Parked)
	}
	return h
}

// outage is what keeps a relay from publishing, from the first failure to the next success.
type outage struct {
	mu    sync.Mutex
	err   error
	since time.Time
}

func (o *outage) failed(err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.err == nil {
		o.since = time.Now()
	}
	o.err = err
}

func (o *outage) over() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.err = nil
}

func (o *outage) now() (since time.Time, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.since, o.err
}
