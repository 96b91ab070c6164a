package messaging

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/expensevault/sharedlibrary/internal/consumer"
)

// Health is how a publisher, a subscriber or a relay of an outbox is.
type Health struct {
	Connected bool // to Kafka, as far as is known; a relay: to its database as well
	Assigned  int  // partitions of a subscriber, shards of a relay
	// Progressing is false where work waits and nothing of it has come to an end for [StallAfter].
	Progressing bool
	Oldest      time.Duration // since when the oldest unfinished work waits; of a subscriber, for how long a partition has stood still with work to do
	Backlog     int64         // events that are not acknowledged; a subscriber's lag; rows of an outbox that are not published
	Stopped     bool          // it does nothing any more, and will not by itself: closed, or its Run has ended
	Problem     error         // why it is not well; nil: it is
}

// StallAfter is for how long work may wait without any progress before that is a [Health.Problem].
const StallAfter = 15 * time.Second

// MarshalJSON writes what a person, or a page, wants to know.
func (h Health) MarshalJSON() ([]byte, error) {
	problem := ""
	if h.Problem != nil {
		problem = h.Problem.Error()
	}
	return json.Marshal(struct {
		Healthy     bool    `json:"healthy"`
		Connected   bool    `json:"connected"`
		Assigned    int     `json:"assigned"`
		Progressing bool    `json:"progressing"`
		Oldest      float64 `json:"oldestSeconds"`
		Backlog     int64   `json:"backlog"`
		Stopped     bool    `json:"stopped"`
		Problem     string  `json:"problem,omitempty"`
	}{h.Problem == nil, h.Connected, h.Assigned, h.Progressing, h.Oldest.Seconds(), h.Backlog, h.Stopped, problem})
}

// HealthCheck is a method such as [KafkaPublisher.Health].
type HealthCheck func(ctx context.Context) Health

// ReadyHandler answers 200 while every check is well, and 503 otherwise, with
// all of them as JSON. For a service that has an outbox it is wrong to ask its
// publisher here: it can do its work while Kafka is away. Checks run at once, for 3 seconds at most.
func ReadyHandler(checks map[string]HealthCheck) http.Handler {
	return healthHandler(checks, func(h *Health) bool { return h.Problem == nil })
}

// LiveHandler answers 503 where only another process would help: something has
// stopped by itself, or its oldest work waits for longer than patience, as
// behind a handler that hangs. A patience of zero looks at the former alone.
// Brokers and databases that are away are no reason to start a process anew.
func LiveHandler(patience time.Duration, checks map[string]HealthCheck) http.Handler {
	return healthHandler(checks, func(h *Health) bool {
		hangs := patience > 0 && h.Oldest > patience && h.Connected && !h.Progressing
		return !h.Stopped && !hangs
	})
}

const healthTimeout = 3 * time.Second

func healthHandler(checks map[string]HealthCheck, well func(*Health) bool) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), healthTimeout)
		defer cancel()
		var (
			mu   sync.Mutex
			wg   sync.WaitGroup
			all  = make(map[string]Health, len(checks))
			fine = true
		)
		for name, check := range checks {
			wg.Go(func() {
				h := check(ctx)
				mu.Lock()
				defer mu.Unlock()
				all[name] = h
				fine = fine && well(&h)
			})
		}
		wg.Wait()
		status := http.StatusOK
		if !fine {
			status = http.StatusServiceUnavailable
		}
		body, err := json.Marshal(map[string]any{"healthy": fine, "checks": all})
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Cache-Control", "no-store")
		w.WriteHeader(status)
		_, _ = w.Write(append(body, '\n')) // who asked has gone
	})
}

// probeEvery bounds how often brokers are asked whether they are there.
const probeEvery = time.Second

// probe remembers what a broker said last.
type probe struct {
	mu  sync.Mutex
	at  time.Time
	err error
}

// ask asks a broker, unless that was done not long ago.
func (p *probe) ask(ctx context.Context, ask func(ctx context.Context) error) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if time.Since(p.at) < probeEvery {
		return p.err
	}
	ctx, cancel := context.WithTimeout(ctx, healthTimeout)
	defer cancel()
	p.err = ask(ctx)
	p.at = time.Now()
	return p.err
}

// Health tells how the publisher is. It asks a broker, once a second at most and
// for 3 seconds at most, so that it knows of a cluster that is away before the
// next event does. Any number of goroutines may call it.
func (p *KafkaPublisher) Health(ctx context.Context) Health {
	s := p.engine.State()
	h := Health{Connected: true, Assigned: 0, Progressing: true, Oldest: s.Oldest, Backlog: int64(s.Events), Stopped: s.Closed, Problem: nil}
	if s.Closed {
		h.Connected, h.Problem = false, ErrClosed
		return h
	}
	err := p.probe.ask(ctx, func(ctx context.Context) error {
		_, err := p.cluster.Metadata(ctx)
		return err
	})
	switch {
	case err != nil:
		h.Connected, h.Problem = false, fmt.Errorf("messaging: Kafka cannot be reached: %w", classify(err))
	case s.Trouble != nil:
		h.Problem = fmt.Errorf("messaging: Kafka has not taken events for %s: %w", time.Since(s.Since).Round(time.Second), classify(s.Trouble))
	}
	h.Progressing = s.Oldest < StallAfter
	return h
}

// Health tells how the subscriber is, from what it knows: nobody is asked, and
// ctx is not looked at. A broker that is gone is known when a fetch or a
// heartbeat has failed, a connection that swallows everything after 10 seconds.
// Stopped is set when Run has not been called yet, and when it has returned,
// with its error as the problem where there is one. Any number of goroutines may call it.
func (s *Subscriber) Health(context.Context) Health {
	st := s.control.Status()
	h := Health{Connected: st.Trouble == nil && st.Joined, Assigned: len(st.Partitions), Progressing: true, Oldest: 0, Backlog: 0, Stopped: !s.running.Load(), Problem: nil}
	if h.Stopped {
		h.Connected = false
		if h.Problem = s.ended(); h.Problem == nil {
			h.Problem = fmt.Errorf("the subscriber of group %q does not run", s.group)
		}
		return h
	}
	var still consumer.PartitionStatus
	for _, p := range st.Partitions {
		h.Backlog += p.Lag()
		if p.Still > still.Still {
			still = p
		}
	}
	h.Oldest = still.Still
	h.Progressing = h.Oldest < StallAfter
	switch {
	case st.Trouble != nil:
		h.Problem = fmt.Errorf("consuming is interrupted for %s: %w", time.Since(st.Since).Round(time.Second), engineError(st.Trouble))
	case !st.Joined:
		h.Problem = fmt.Errorf("the subscriber is joining group %q", s.group)
	case !h.Progressing:
		h.Problem = fmt.Errorf("the record at offset %d of %s/%d has not been finished for %s", still.Position, still.Topic, still.Partition, h.Oldest.Round(time.Second))
	}
	return h
}

// ended is what Run returned last.
func (s *Subscriber) ended() error {
	if err := s.end.Load(); err != nil && *err != nil {
		return *err
	}
	return nil
}
