package main

import (
	"fmt"
	"slices"
	"strings"
)

// A goal is what a figure of ours has to reach, as a ratio to a peer's or in itself.
type goal struct {
	scenario string
	figure   string
	peers    []string // the best of them counts; none: the figure itself
	limit    float64
	atLeast  bool // the limit is a lower one; and more is better
}

func goals() []goal {
	goPeers := []string{"kafka-go", "franz-go", "sarama", "confluent"}
	franz := []string{"franz-go"}
	out := []goal{
		{scenario: "bulk", figure: "CPU s/1M", peers: franz, limit: 0.50},
		{scenario: "bulk", figure: "CPU s/1M", peers: []string{"kafka-go"}, limit: 0.42},
		{scenario: "bulk", figure: "CPU s/1M", peers: []string{"sarama"}, limit: 0.28},
		{scenario: "bulk", figure: "CPU s/1M", peers: []string{"confluent"}, limit: 0.20},
		{scenario: "bulk", figure: "allocs/event", limit: 1},
		{scenario: "bulk", figure: "RSS MB", limit: 80},
		{scenario: "ready", figure: "CPU s/1M", peers: franz, limit: 0.80},
		{scenario: "sync-1", figure: "p50 ms", peers: goPeers, limit: 0.70},
		{scenario: "consume", figure: "CPU s/1M", peers: franz, limit: 0.55},
		{scenario: "consume-decode", figure: "CPU s/1M", peers: franz, limit: 0.40},
		{scenario: "consume-decode", figure: "CPU s/1M", peers: []string{"kafka-go"}, limit: 0.25},
		{scenario: "handlers-5ms", figure: "events/s", peers: goPeers, limit: 30, atLeast: true},
	}
	for _, s := range []string{"sync-100", "sync-1000"} {
		out = append(
			out,
			goal{scenario: s, figure: "events/s", peers: franz, limit: 1.4, atLeast: true},
			goal{scenario: s, figure: "CPU s/1M", peers: franz, limit: 0.80},
			goal{scenario: s, figure: "p99 ms", peers: franz, limit: 0.80},
		)
	}
	return out
}

// goals compares what was measured with what is wanted; what was not measured is left out.
func (r *report) goals() string {
	var b strings.Builder
	for _, g := range goals() {
		have, against, ok := r.reached(g)
		if !ok {
			continue
		}
		sign, met := "≤", have <= g.limit
		if g.atLeast {
			sign, met = "≥", have >= g.limit
		}
		verdict := "met"
		if !met {
			verdict = "**missed**"
		}
		fmt.Fprintf(&b, "| %s: %s%s | %s %.2f | %.2f | %s |\n", g.scenario, g.figure, against, sign, g.limit, have, verdict)
	}
	if b.Len() == 0 {
		return ""
	}
	return "\n### Goals\n\n| figure | goal | measured | |\n|---|---|---|---|\n" + b.String()
}

func (r *report) reached(g goal) (have float64, against string, ok bool) {
	i := slices.IndexFunc(r.s.scenarios, func(s scenario) bool { return s.name == g.scenario })
	if i < 0 {
		return 0, "", false
	}
	sc := r.s.scenarios[i]
	fs := figures(sc)
	f := fs[slices.IndexFunc(fs, func(f figure) bool { return f.title == g.figure })]
	base := r.values(sc, ours, f)
	if len(base) == 0 {
		return 0, "", false
	}
	if len(g.peers) == 0 {
		return median(base), "", true
	}
	for _, p := range g.peers {
		xs := r.values(sc, p, f)
		if len(xs) == 0 {
			continue
		}
		// The best peer is the one against which we look worst.
		if ratio := median(base) / median(xs); against == "" || (ratio > have) != g.atLeast {
			have, against = ratio, " ÷ "+p+"'s"
		}
	}
	return have, against, against != ""
}
