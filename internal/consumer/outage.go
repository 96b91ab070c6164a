package consumer

import (
	"context"
	"log/slog"
	"sync"
	"time"
)

// outage turns many failing tries into one line when the trouble begins and one when it is over.
type outage struct {
	log *slog.Logger

	mu    sync.Mutex
	since time.Time
	last  error // of what failed last
	bad   map[string]struct{}
}

// state is what does not work at the moment, and since when; nil: everything works.
func (o *outage) state() (since time.Time, last error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.bad) == 0 {
		return time.Time{}, nil
	}
	return o.since, o.last
}

// fail notes that something does not work; the first of what fails is logged.
func (o *outage) fail(ctx context.Context, what string, err error) {
	if ctx.Err() != nil {
		return // given up by ourselves
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.bad == nil {
		o.bad = map[string]struct{}{}
	}
	o.last = err
	if _, known := o.bad[what]; known {
		return
	}
	first := len(o.bad) == 0
	o.bad[what] = struct{}{}
	level := slog.LevelDebug
	if first {
		o.since = time.Now()
		level = slog.LevelWarn
	}
	o.log.Log(ctx, level, "consuming is interrupted, trying again until it works", "what", what, "error", err)
}

// ok notes that something works.
func (o *outage) ok(ctx context.Context, what string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if _, known := o.bad[what]; !known {
		return
	}
	delete(o.bad, what)
	if len(o.bad) == 0 {
		o.log.InfoContext(ctx, "consuming works again", "after", time.Since(o.since).Round(time.Millisecond))
	}
}

// debug notes what only matters when it lasts, and then shows elsewhere.
func (o *outage) debug(ctx context.Context, what string, err error) {
	if ctx.Err() == nil {
		o.log.DebugContext(ctx, what, "error", err)
	}
}

// end forgets, when a session ends, all that only a session has to do with: the next one finds out anew.
func (o *outage) end() {
	o.mu.Lock()
	defer o.mu.Unlock()
	for what := range o.bad {
		if what != coordinatorDown {
			delete(o.bad, what)
		}
	}
}

// drop notes that something no longer matters, which is not to say that it works.
func (o *outage) drop(what string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	delete(o.bad, what)
}
