// Package broker watches the way to Kafka: it makes the topics, and knows
// whether the brokers answer.
package broker

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/expensevault/sharedlibrary/messaging"
)

// How often is looked, and how long a look may take.
const (
	lookWhenUp   = 5 * time.Second
	lookWhenDown = time.Second
	lookTimeout  = 3 * time.Second
)

// State is what is known of the brokers.
type State struct {
	Up     bool
	Detail string    // why not, or what is not as it should be
	Since  time.Time // the last change of Up
}

// Link is the way to the brokers. Any number of goroutines may ask it.
type Link struct {
	servers string
	ensure  func(ctx context.Context) ([]messaging.TopicState, error)
	log     *slog.Logger
	look    chan struct{} // asks for a look now

	mu    sync.Mutex
	state State
	up    chan struct{} // closed while Up
	told  map[string]string
}

// NewLink returns the link to the cluster that cfg names. [Link.Run] makes the
// topics where they are missing: when it starts, and whenever they are gone.
func NewLink(cfg messaging.Config, log *slog.Logger, topics ...messaging.TopicSpec) *Link {
	return newLink(cfg.BootstrapServers, log, func(ctx context.Context) ([]messaging.TopicState, error) {
		return messaging.EnsureTopics(ctx, cfg, topics...)
	})
}

func newLink(servers string, log *slog.Logger, ensure func(context.Context) ([]messaging.TopicState, error)) *Link {
	return &Link{
		servers: servers, ensure: ensure, log: log, look: make(chan struct{}, 1), up: make(chan struct{}),
		state: State{Detail: "not asked yet", Since: time.Now()}, told: make(map[string]string),
	}
}

// Topics returns the specs of the topics and of those of their dead letters. A
// number of 0 is the broker's default.
func Topics(cfg messaging.Config, names []string, partitions, replicas int) []messaging.TopicSpec {
	specs := make([]messaging.TopicSpec, 0, 2*len(names))
	for _, name := range names {
		specs = append(specs,
			messaging.TopicSpec{Name: name, Partitions: partitions, ReplicationFactor: replicas},
			messaging.TopicSpec{Name: cfg.TopicName(name) + "-dlt", Partitions: partitions, ReplicationFactor: replicas})
	}
	return specs
}

// State returns what the last look has shown.
func (l *Link) State() State {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.state
}

// Wait returns nil when the brokers are up, or the error of ctx.
func (l *Link) Wait(ctx context.Context) error {
	l.mu.Lock()
	up := l.up
	l.mu.Unlock()
	select {
	case <-up:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// Suspect has Run look now: an event was not acknowledged in time.
func (l *Link) Suspect() {
	select {
	case l.look <- struct{}{}:
	default:
	}
}

// Run looks from time to time, until ctx ends.
func (l *Link) Run(ctx context.Context) {
	for {
		l.once(ctx)
		pause := lookWhenDown
		if l.State().Up {
			pause = lookWhenUp
		}
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-l.look:
		case <-ctx.Done():
		}
		timer.Stop()
		if ctx.Err() != nil {
			return
		}
	}
}

func (l *Link) once(ctx context.Context) {
	look, cancel := context.WithTimeout(ctx, lookTimeout)
	states, err := l.ensure(look)
	cancel()
	if ctx.Err() != nil {
		return
	}
	l.tell(ctx, states)
	var detail string
	if err != nil {
		detail = strings.ReplaceAll(err.Error(), "\n", "; ")
	}
	// Who may not make topics can still write to those that are there.
	l.set(ctx, err == nil || errors.Is(err, messaging.ErrNotAuthorized), detail)
}

func (l *Link) set(ctx context.Context, up bool, detail string) {
	l.mu.Lock()
	before := l.state
	first := before.Detail == "not asked yet"
	l.state.Up, l.state.Detail = up, detail
	if up != before.Up {
		l.state.Since = time.Now()
		if up {
			close(l.up)
		} else {
			l.up = make(chan struct{})
		}
	}
	l.mu.Unlock()
	servers := slog.String("bootstrap_servers", l.servers)
	switch {
	case up && !before.Up:
		l.log.InfoContext(ctx, "Kafka is reachable", servers)
	case !up && (before.Up || first):
		l.log.WarnContext(ctx, "Kafka is not reachable: requests are served, and their events wait", servers, slog.String("error", detail))
	}
	if up && detail != "" && detail != before.Detail {
		l.log.WarnContext(ctx, "Not every topic is there", slog.String("error", detail))
	}
}

// tell logs what is new about the topics.
func (l *Link) tell(ctx context.Context, states []messaging.TopicState) {
	var created []string
	for _, s := range states {
		text := s.String()
		if l.told[s.Name] == text {
			continue
		}
		l.told[s.Name] = text
		switch {
		case s.Created:
			created = append(created, s.Name)
		case len(s.Differences) > 0:
			l.log.WarnContext(ctx, "A topic is not as wanted, and is left so", slog.String("topic", text))
		}
	}
	if len(created) > 0 {
		l.log.InfoContext(ctx, "Created topics", slog.String("topics", strings.Join(created, ",")))
	}
}
