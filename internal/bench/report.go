package main

import (
	"fmt"
	"io"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A report gathers the results of all rounds.
type report struct {
	s       settings
	results map[string]map[string][]result // by scenario and peer
}

func newReport(s settings) *report { return &report{s: s, results: map[string]map[string][]result{}} }

func (r *report) add(sc scenario, o offer, res result) {
	if r.results[sc.name] == nil {
		r.results[sc.name] = map[string][]result{}
	}
	r.results[sc.name][o.name] = append(r.results[sc.name][o.name], res)
}

// A figure is one number of a result.
type figure struct {
	title  string
	of     func(result) float64
	format func(float64) string
}

func figures(sc scenario) []figure {
	cpu := figure{"CPU s/1M", result.cpuPerMillion, decimals(2)}
	rate := figure{"events/s", result.rate, thousands}
	if sc.handler != noHandler {
		return []figure{cpu, rate, {"s", func(x result) float64 { return x.Wall.Seconds() }, decimals(2)}, {"allocs/event", result.allocs, decimals(1)}}
	}
	if sc.callers == 0 {
		return []figure{
			cpu, rate,
			{"allocs/event", result.allocs, decimals(1)},
			{"RSS MB", func(x result) float64 { return float64(x.RSS) / 1e6 }, decimals(0)},
		}
	}
	ms := func(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
	return []figure{
		cpu, rate,
		{"p50 ms", func(x result) float64 { return ms(x.P50) }, decimals(2)},
		{"p99 ms", func(x result) float64 { return ms(x.P99) }, decimals(2)},
		{"allocs/event", result.allocs, decimals(1)},
	}
}

func decimals(n int) func(float64) string {
	return func(f float64) string { return strconv.FormatFloat(f, 'f', n, 64) }
}

func thousands(f float64) string {
	s := strconv.FormatInt(int64(f+0.5), 10)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// median is that of the runs; the mean of the middle two where their number is even.
func median(xs []float64) float64 {
	s := slices.Sorted(slices.Values(xs))
	if n := len(s); n%2 == 0 {
		return (s[n/2-1] + s[n/2]) / 2
	}
	return s[len(s)/2]
}

func (r *report) values(sc scenario, peer string, f figure) []float64 {
	var out []float64
	for _, res := range r.results[sc.name][peer] {
		out = append(out, f.of(res))
	}
	return out
}

// print writes a table per scenario, and what of the goals is reached.
func (r *report) print(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "Medians of %d rounds [lowest–highest]; ×: our median divided by this one's. %d CPUs, %s.\n", r.s.rounds, runtime.NumCPU(), runtime.Version())
	for _, sc := range r.s.scenarios {
		n, _ := sc.count(r.s.events)
		fmt.Fprintf(&b, "\n### %s (%s, %s events a run)\n\n", sc.title, sc.name, thousands(float64(n)))
		fs := figures(sc)
		b.WriteString("| peer |")
		for _, f := range fs {
			fmt.Fprintf(&b, " %s |", f.title)
		}
		b.WriteString("\n|---|" + strings.Repeat("---|", len(fs)) + "\n")
		for _, o := range r.s.peers {
			if len(r.results[sc.name][o.name]) == 0 {
				continue
			}
			fmt.Fprintf(&b, "| %s |", o.name)
			for _, f := range fs {
				fmt.Fprintf(&b, " %s |", r.cell(sc, o, f))
			}
			b.WriteString("\n")
		}
	}
	b.WriteString("\n")
	for _, o := range r.s.peers {
		fmt.Fprintf(&b, "- %s: %s\n", o.name, o.how)
	}
	for _, left := range r.s.left {
		fmt.Fprintf(&b, "- left out: %s\n", left)
	}
	b.WriteString(r.goals())
	_, err := io.WriteString(w, b.String())
	return err
}

func (r *report) cell(sc scenario, o offer, f figure) string {
	xs := r.values(sc, o.name, f)
	cell := f.format(median(xs))
	if len(xs) > 1 {
		cell += fmt.Sprintf(" [%s–%s]", f.format(slices.Min(xs)), f.format(slices.Max(xs)))
	}
	if base := r.values(sc, ours, f); o.name != ours && len(base) > 0 {
		if m := median(xs); m > 0 {
			cell += fmt.Sprintf(" **×%.2f**", median(base)/m)
		}
	}
	return cell
}
