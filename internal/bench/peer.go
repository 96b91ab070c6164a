package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
)

// A peer is a client under test, connected to one topic.
type peer interface {
	// publish returns when the event is acknowledged. Any number of goroutines call it.
	publish(ctx context.Context, e *ItemCreated) error
	// start takes an event and returns; it blocks while too many are not settled. One goroutine calls it.
	start(ctx context.Context, e *ItemCreated) error
	// startReady is start for bytes.
	startReady(ctx context.Context, r *ready) error
	// flush waits until everything that was started is settled and returns the first error.
	flush(ctx context.Context) error
	close() error
}

// An offer is a client that can be measured.
type offer struct {
	name    string
	how     string // its settings, for whoever reads the table
	missing string // why it is not in this build; empty when it is
	open    func(brokers []string, topic string, bulk bool) (peer, error)
	// takesPart: nil for every scenario that publishes.
	takesPart func(scenario) bool
	// consume handles the topic's records until ctx ends, and commits what was handled; nil: not measured.
	consume func(ctx context.Context, s scenario, brokers []string, topic string, done func()) error
}

// takes reports whether the client is measured in a scenario.
func (o *offer) takes(s scenario) bool {
	if s.handler != noHandler {
		return o.consume != nil
	}
	return o.takesPart == nil || o.takesPart(s)
}

// offers are all of them; the first is the one that the others are compared with.
func offers() []offer {
	return []offer{
		{name: ours, how: "PublishAsync, Publish; Headers basic; ready: PublishRecords, 1,000 at a time, 4 at once; consuming: Subscriber, 16 handlers at once, 256 where they wait", open: openOurs, consume: consumeOurs},
		{
			name: "ours-cloudevents", how: "the same with the default Headers, some 330 bytes more", open: openOursCloudEvents,
			takesPart: func(s scenario) bool { return !s.ready }, // whose headers are the same for all
		},
		{name: "kafka-go", how: "Writer, not idempotent; bulk: Async, 500 a call, BatchSize 2,000, 5 ms; sync: BatchTimeout 1 ms; consuming: Reader, commits each second, a handler at a time, six of them where they wait", open: openKafkaGo, consume: consumeKafkaGo},
		{name: "franz-go", how: "no linger; buffer of 50,000 records; consuming: a goroutine per partition, marked records committed each second", open: openFranz, consume: consumeFranz},
		{name: "sarama", how: "AsyncProducer, SyncProducer; idempotent, and so one request at a time", open: openSarama},
		confluent(),
	}
}

const ours = "ours"

// choose finds offers by name; "all" leaves out what this build lacks, and says so.
func choose(all []offer, list string) (chosen []offer, left []string, err error) {
	if list == "all" {
		for _, o := range all {
			if o.missing == "" {
				chosen = append(chosen, o)
			} else {
				left = append(left, o.name+": "+o.missing)
			}
		}
		return chosen, left, nil
	}
	for name := range strings.SplitSeq(list, ",") {
		name = strings.TrimSpace(name)
		i := slices.IndexFunc(all, func(o offer) bool { return o.name == name })
		switch {
		case i < 0:
			return nil, nil, fmt.Errorf("-peers: there is no %q; there are %s", name, strings.Join(names(all), ", "))
		case all[i].missing != "":
			return nil, nil, fmt.Errorf("-peers: %s: %s", name, all[i].missing)
		case slices.ContainsFunc(chosen, func(o offer) bool { return o.name == name }):
			return nil, nil, fmt.Errorf("-peers: %s is named twice", name)
		}
		chosen = append(chosen, all[i])
	}
	return chosen, nil, nil
}

func names(os []offer) []string {
	var out []string
	for _, o := range os {
		out = append(out, o.name)
	}
	return out
}

// window bounds what a client without a bound of its own has not settled, and keeps the first error.
type window struct {
	limit int
	mu    sync.Mutex
	moved sync.Cond
	open  int
	err   error
}

func newWindow(limit int) *window {
	w := &window{limit: limit}
	w.moved.L = &w.mu
	return w
}

func (w *window) take(n int) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	for w.open >= w.limit && w.err == nil {
		w.moved.Wait()
	}
	w.open += n
	return w.err
}

func (w *window) settle(n int, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.open -= n
	if w.err == nil {
		w.err = err
	}
	if w.open < w.limit || w.err != nil {
		w.moved.Broadcast()
	}
}

// drain waits until nothing is open, or ctx ends.
func (w *window) drain(ctx context.Context) error {
	defer context.AfterFunc(ctx, func() { w.settle(0, ctx.Err()) })()
	w.mu.Lock()
	defer w.mu.Unlock()
	for w.open > 0 && w.err == nil {
		w.moved.Wait()
	}
	return w.err
}
