package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"go.opentelemetry.io/otel"

	"github.com/expensevault/sharedlibrary/examples/customservice/internal/api"
	"github.com/expensevault/sharedlibrary/examples/customservice/internal/board"
	"github.com/expensevault/sharedlibrary/examples/customservice/internal/cache"
	"github.com/expensevault/sharedlibrary/examples/customservice/internal/consumers"
	"github.com/expensevault/sharedlibrary/examples/customservice/internal/event"
	"github.com/expensevault/sharedlibrary/examples/customservice/internal/outgoing"
	"github.com/expensevault/sharedlibrary/examples/customservice/internal/service"
	"github.com/expensevault/sharedlibrary/examples/customservice/internal/settings"
	"github.com/expensevault/sharedlibrary/examples/customservice/internal/telemetry"
)

// Serve runs the service until ctx ends, and then stops it: no more requests,
// no more records, what waits is published, and all is closed. It returns nil
// after such a stop, and else why it could not run.
func Serve(ctx context.Context, s settings.Settings, shown *telemetry.Telemetry, log *slog.Logger) error {
	// First of all, so that a second instance ends here and touches nothing.
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", s.Addr)
	if err != nil {
		return fmt.Errorf("serve HTTP: %w (another -addr?)", err)
	}
	defer func() { _ = listener.Close() }() // the server has closed it, unless there was none
	p, err := open(ctx, s, true, log)
	if err != nil {
		return err
	}
	defer p.closeAll(log)
	c, err := openCache(s)
	if err != nil {
		return err
	}
	p.close = append(p.close, c.Close)

	running := &running{parts: p, cache: c}
	svc := service.New(p.store, c, p.box, p.signal.Notify, log)
	if s.Publish == settings.Direct {
		running.queue = outgoing.NewQueue(p.publisher, p.link, s.Queue, log)
		svc = service.NewDirect(p.store, c, running.queue, log)
	}
	running.board = board.New(p.config, event.Topics(), shown.Spans, log)
	for _, name := range s.InProcess() {
		r, err := newRunner(p, s, name, running.board, log)
		if err != nil {
			return err
		}
		running.consumers = append(running.consumers, r)
	}
	server := &http.Server{
		Handler:           running.handler(api.New(svc, p.store, running.health, otel.Tracer("customservice"), log), shown),
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       20 * time.Second,
		WriteTimeout:      30 * time.Second,
		IdleTimeout:       time.Minute,
		MaxHeaderBytes:    64 << 10,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelWarn),
	}
	server.RegisterOnShutdown(running.board.Close) // streams do not end by themselves
	running.start(ctx)
	p.settle(ctx)
	running.watch(ctx, listener.Addr().String())
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	log.InfoContext(ctx, "customservice listens on http://"+listener.Addr().String(),
		slog.String("database", p.store.Kind()), slog.String("cache", c.Kind()), slog.String("kafka", p.kafkaName()), slog.String("publish", s.Publish),
		slog.String("consumers", strings.Join(s.InProcess(), ",")))

	var failed error
	select {
	case <-ctx.Done():
		log.InfoContext(ctx, "customservice stops")
	case failed = <-served:
	}
	stopping, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.Stop)
	defer cancel()
	if err := server.Shutdown(stopping); err != nil {
		log.ErrorContext(ctx, "Requests were cut off", slog.Any("error", err))
		_ = server.Close()
	}
	running.stop(stopping)
	if failed != nil && !errors.Is(failed, http.ErrServerClosed) {
		return fmt.Errorf("serve HTTP: %w", failed)
	}
	log.InfoContext(ctx, "customservice has stopped")
	return nil
}

// newRunner gives a consumer a part of the time that stopping may take.
// inboxAge is for how long the consumers know an event again: longer than a topic keeps it, a week by default.
const inboxAge = 14 * 24 * time.Hour

// lateAfter is how old an event may get in the outbox before the service calls itself degraded.
const lateAfter = time.Minute

func newRunner(p *parts, s settings.Settings, name string, b *board.Board, log *slog.Logger) (*consumers.Runner, error) {
	needs := consumers.Needs{Store: p.store, Outbox: p.box, Committed: p.signal.Notify, Log: log}
	if b != nil {
		needs.Watch = b.Middleware(name)
	}
	if s.Publish == settings.Direct {
		needs.Outbox, needs.Publisher = nil, p.publisher
	}
	return consumers.NewRunner(p.config, name, s.Stop/3, needs)
}

// running is what goes on beside HTTP.
type running struct {
	parts     *parts
	cache     cache.Cache
	queue     *outgoing.Queue // nil: nothing is published directly
	consumers []*consumers.Runner
	board     *board.Board // nil: a consumer alone

	stopConsumers, stopRelay, stopLink, stopWatch context.CancelFunc
	consuming, relaying, linking, watching        sync.WaitGroup
}

func (r *running) start(ctx context.Context) {
	// Not ended by ctx, but in order.
	life := context.WithoutCancel(ctx)
	linked, stopLink := context.WithCancel(life)
	consuming, stopConsumers := context.WithCancel(life)
	relaying, stopRelay := context.WithCancel(life)
	r.stopLink, r.stopConsumers, r.stopRelay = stopLink, stopConsumers, stopRelay
	r.linking.Go(func() { r.parts.link.Run(linked) })
	for _, c := range r.consumers {
		r.consuming.Go(func() { c.Run(consuming) })
	}
	r.relaying.Go(func() { r.parts.relay.Run(relaying) })
	r.relaying.Go(func() { _ = r.parts.inbox.KeepClean(relaying, inboxAge) })
	if r.queue != nil {
		go r.queue.Run() //nolint:contextcheck // it ends by Stop
	}
}

func (r *running) stop(ctx context.Context) {
	if r.stopWatch != nil {
		r.stopWatch()
		r.watching.Wait()
	}
	r.stopConsumers()
	r.consuming.Wait() // for the drain timeout at most
	if r.queue != nil {
		r.queue.Stop(ctx)
	}
	r.stopRelay()
	r.relaying.Wait() // what is not on its way stays in the outbox
	r.stopLink()
	r.linking.Wait()
}

// health looks at everything.
func (r *running) health(ctx context.Context) api.Health {
	h := api.Health{
		Status:   "ok",
		Database: part(r.parts.store.Kind(), r.parts.store.Ping(ctx)),
		Cache:    part(r.cache.Kind(), r.cache.Ping(ctx)),
	}
	link := r.parts.link.State()
	h.Kafka = api.Part{Name: r.parts.kafkaName(), OK: link.Up, Detail: link.Detail}
	backlog, err := r.parts.relay.State(ctx)
	h.Outbox = api.Outbox{Waiting: backlog.Pending, OldestSeconds: backlog.Oldest.Seconds(), Parked: backlog.Parked}
	if err != nil {
		h.Outbox.Detail = err.Error()
	}
	if r.queue != nil {
		stats := r.queue.Stats()
		h.Direct = &api.Direct{
			Waiting: stats.Waiting, OnItsWay: stats.OnItsWay, Published: stats.Published, Lost: stats.Lost, LastError: stats.LastError,
		}
	}
	h.Consumers = []api.Consumer{}
	fine := h.Cache.OK && h.Kafka.OK && err == nil && backlog.Parked == 0 && backlog.Oldest < lateAfter
	for _, c := range r.consumers {
		alive, err := c.State()
		how := c.Health(ctx)
		state := api.Consumer{
			Part: part(c.Name(), err), Group: consumers.Group(c.Name()),
			Partitions: how.Assigned, Lag: how.Backlog, OldestSeconds: how.Oldest.Seconds(), Failing: r.board != nil && r.board.Failing(c.Name()),
		}
		state.OK = alive && link.Up && how.Problem == nil
		switch {
		case alive && !link.Up:
			state.Detail = "waits for Kafka"
		case alive && how.Problem != nil:
			state.Detail = how.Problem.Error()
		}
		h.Consumers = append(h.Consumers, state)
		fine = fine && state.OK
	}
	switch {
	case !h.Database.OK:
		h.Status = "down"
	case !fine:
		h.Status = "degraded"
	}
	return h
}

func part(name string, err error) api.Part {
	p := api.Part{Name: name, OK: err == nil}
	if err != nil {
		p.Detail = err.Error()
	}
	return p
}
