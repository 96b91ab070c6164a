package consumers

import (
	"context"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/expensevault/sharedlibrary/messaging"
)

// Runner runs a consumer, and begins again when it fails.
type Runner struct {
	name       string
	subscriber *messaging.Subscriber
	log        *slog.Logger

	mu      sync.Mutex
	running bool
	err     error
}

// How long a consumer that failed waits before it begins again.
const (
	firstPause = time.Second
	maxPause   = 30 * time.Second
)

// NewRunner returns the consumer of this name. When it is to stop, its handlers
// may go on for as long as drain.
func NewRunner(cfg messaging.Config, name string, drain time.Duration, n Needs) (*Runner, error) {
	var mux messaging.Mux
	if err := Register(&mux, name, n); err != nil {
		return nil, err
	}
	cfg.ClientID = strings.TrimSuffix(cfg.ClientID, "-producer") + "-" + name
	s, err := messaging.NewSubscriber(cfg, Group(name), &mux, messaging.WithLogger(n.Log), messaging.WithDrainTimeout(drain))
	if err != nil {
		return nil, err
	}
	return &Runner{name: name, subscriber: s, log: n.Log}, nil
}

// Run returns when ctx has ended and the handlers are done.
func (r *Runner) Run(ctx context.Context) {
	for pause := firstPause; ctx.Err() == nil; pause = min(2*pause, maxPause) {
		r.set(true, nil)
		err := r.subscriber.Run(ctx)
		r.set(false, err)
		if err == nil {
			return
		}
		r.log.ErrorContext(ctx, "Consumer failed, and begins again in "+pause.String(), slog.String("consumer", r.name), slog.Any("error", err))
		select {
		case <-time.After(pause):
		case <-ctx.Done():
		}
	}
}

func (r *Runner) set(running bool, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.running = running
	if !running {
		r.err = err
	}
}

// Name is the consumer's.
func (r *Runner) Name() string { return r.name }

// Health is the subscriber's.
func (r *Runner) Health(ctx context.Context) messaging.Health { return r.subscriber.Health(ctx) }

// State reports whether it runs, and why it failed where it does not.
func (r *Runner) State() (bool, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.running {
		return true, nil
	}
	return false, r.err
}
