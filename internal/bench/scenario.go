package main

import (
	"fmt"
	"slices"
	"strings"
)

// A scenario is one way to publish.
type scenario struct {
	name    string
	title   string
	callers int // goroutines that publish and wait; 0: one that does not wait
	ready   bool
	share   int // its events are -events divided by it: waiting takes longer
}

func scenarios() []scenario {
	return []scenario{
		{name: "bulk", title: "Bulk publish, struct to ack", share: 1},
		{name: "ready", title: "Bulk publish of ready bytes", share: 1, ready: true},
		{name: "sync-1", title: "Synchronous publish from 1 goroutine", callers: 1, share: 150},
		{name: "sync-100", title: "Synchronous publish from 100 goroutines", callers: 100, share: 6},
		{name: "sync-1000", title: "Synchronous publish from 1,000 goroutines", callers: 1000, share: 3},
	}
}

// count is how many events a run has, of which warmup more come before it.
func (s scenario) count(events int) (n, warmup int) {
	n = max(events/s.share, 10*max(s.callers, 1))
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
