package app

import (
	"context"
	"net/http"
	"regexp"
	"time"

	"github.com/expensevault/sharedlibrary/examples/customservice/internal/consumers"
	"github.com/expensevault/sharedlibrary/examples/customservice/internal/event"
	"github.com/expensevault/sharedlibrary/examples/customservice/internal/telemetry"
	"github.com/expensevault/sharedlibrary/messaging"
)

// hangsAfter is when a handler that does not return is a reason to start the process anew.
const hangsAfter = 5 * time.Minute

// handler serves the API, and what looks at the service, which gets no spans and no log lines of its own.
func (r *running) handler(api http.Handler, shown *telemetry.Telemetry) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/", api)
	mux.Handle("GET /metrics", shown.Metrics)
	// Events wait in the outbox while Kafka is away: without its database alone the service can do nothing.
	mux.Handle("GET /ready", messaging.ReadyHandler(map[string]messaging.HealthCheck{"database": r.databaseHealth}))
	live := map[string]messaging.HealthCheck{"publisher": r.parts.publisher.Health}
	var names []string
	for _, c := range r.consumers {
		names = append(names, c.Name())
		live[consumers.Group(c.Name())] = c.Health
	}
	mux.Handle("GET /live", messaging.LiveHandler(hangsAfter, live))
	r.board.Register(mux, names)
	return mux
}

func (r *running) databaseHealth(ctx context.Context) messaging.Health {
	err := r.parts.store.Ping(ctx)
	return messaging.Health{Connected: err == nil, Progressing: true, Problem: err}
}

// watch feeds the page. Its group has the name of where the service listens, so that another start goes on with it.
func (r *running) watch(ctx context.Context, addr string) {
	ctx, r.stopWatch = context.WithCancel(context.WithoutCancel(ctx))
	group := event.Service + "-page-" + regexp.MustCompile(`[^A-Za-z0-9.]+`).ReplaceAllString(addr, "-")
	r.watching.Go(func() {
		if r.parts.link.Wait(ctx) == nil {
			r.board.Watch(ctx, group, event.Topics())
		}
	})
	r.watching.Go(func() {
		if r.parts.link.Wait(ctx) == nil {
			r.board.Letters(ctx)
		}
	})
	r.watching.Go(func() {
		r.board.State(ctx, func(ctx context.Context) any {
			ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
			defer cancel()
			return r.health(ctx)
		})
	})
}
