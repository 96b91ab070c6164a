package main

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// A scenario is one way to publish, or to consume.
type scenario struct {
	name    string
	title   string
	callers int // goroutines that publish and wait; 0: one that does not wait
	ready   bool
	share   int // its events are -events divided by it: waiting takes longer
	handler int // of a consuming one; noHandler: it is not
}

// What a consumer does with an event.
const (
	noHandler = iota
	handlesNothing
	decodes
	waits5ms
)

// wait is how long a handler of waits5ms waits, and workers how many of them may wait at once where a client can do that.
const (
	wait    = 5 * time.Millisecond
	workers = 256
)

func scenarios() []scenario {
	return []scenario{
		{name: "bulk", title: "Bulk publish, struct to ack", share: 1},
		{name: "ready", title: "Bulk publish of ready bytes", share: 1, ready: true},
		{name: "sync-1", title: "Synchronous publish from 1 goroutine", callers: 1, share: 150},
		{name: "sync-100", title: "Synchronous publish from 100 goroutines", callers: 100, share: 6},
		{name: "sync-1000", title: "Synchronous publish from 1,000 goroutines", callers: 1000, share: 3},
		{name: "consume", title: "Consume in a group, bytes, with commits", share: 1, handler: handlesNothing},
		{name: "consume-decode", title: "Consume in a group, bytes to struct, with commits", share: 1, handler: decodes},
		{name: "handlers-5ms", title: "Consume in a group, handlers that wait for 5 ms", share: 10, handler: waits5ms},
	}
}

// count is how many events a run has, of which warmup more come before it.
func (s scenario) count(events int) (n, warmup int) {
	n = max(events/s.share, 10*max(s.callers, 1))
	if s.handler != noHandler {
		return n, 0
	}
	if s.callers > 0 {
		n -= n % s.callers
		return n, max(n/10/s.callers, 2) * s.callers
	}
	return n, max(n/10, 1)
}

func chooseScenarios(list string) ([]scenario, error) {
	all := scenarios()
	if list == "all" {
		return all, nil
	}
	var out []scenario
	for name := range strings.SplitSeq(list, ",") {
		i := slices.IndexFunc(all, func(s scenario) bool { return s.name == strings.TrimSpace(name) })
		if i < 0 {
			var have []string
			for _, s := range all {
				have = append(have, s.name)
			}
			return nil, fmt.Errorf("-scenarios: there is no %q; there are %s", name, strings.Join(have, ", "))
		}
		if slices.ContainsFunc(out, func(s scenario) bool { return s.name == all[i].name }) {
			return nil, fmt.Errorf("-scenarios: %s is named twice", all[i].name)
		}
		out = append(out, all[i])
	}
	return out, nil
}
