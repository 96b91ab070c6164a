package main

import (
	"bufio"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"text/tabwriter"
	"time"
)

// shown is how many examples of each violation are logged.
const shown = 10

// report holds what stands in the topic against what the publisher said, and prints the table.
func (b *ledger) report(records []record, peak string) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	count := make([][]int, keys)
	for k := range count {
		count[k] = make([]int, len(b.events[k]))
	}
	said := map[string]int{}
	say := func(kind, format string, args ...any) {
		if said[kind]++; said[kind] <= shown {
			slog.Error(kind, slog.String("what", fmt.Sprintf(format, args...)))
		}
	}
	last := [keys]record{}
	highest := [keys]int{}
	for _, r := range records {
		e, k, n := b.place(r.id)
		if e == nil || e.begun.IsZero() || r.key != key(k) {
			say("stray", "%q with key %q was never published", r.id, r.key)
			continue
		}
		p := b.phases[e.phase]
		count[k][n]++
		switch {
		case count[k][n] > 1:
			p.doubled++
			say("doubled", "%s (%s, %c)", r.id, p.name, e.outcome)
		case last[k].id != "" && (last[k].partition != r.partition || n < highest[k]):
			p.reordered++
			say("reordered", "%s (%s, %c) behind %s", r.id, p.name, e.outcome, last[k].id)
		}
		last[k], highest[k] = r, max(highest[k], n)
	}
	for k := range b.events {
		for n := range b.events[k] {
			b.judge(&b.events[k][n], id(k, n), count[k][n], say)
		}
	}
	for _, p := range b.phases {
		if p.failsNever && p.surely+p.maybe > 0 {
			say("failed", "%s: %d events failed although the fault was over well before their deadline", p.name, p.surely+p.maybe)
		}
	}
	for _, o := range b.oddities {
		say("odd", "%s", o)
	}
	if err := b.print(len(records), peak); err != nil {
		return err
	}
	if len(said) > 0 {
		return fmt.Errorf("violations: %v", said)
	}
	return nil
}

// judge counts one event of which there are so many records.
func (b *ledger) judge(e *event, id string, records int, say func(kind, format string, args ...any)) {
	if e.begun.IsZero() {
		return // never read by the driver
	}
	p := b.phases[e.phase]
	p.events++
	if e.outcome == 0 {
		p.unanswered++
		say("unanswered", "%s (%s)", id, p.name)
		return
	}
	took := e.answered.Sub(e.begun)
	p.longest = max(p.longest, took)
	if limit := b.allowed(e); took > limit {
		p.late++
		say("late", "%s (%s, %c): after %v, more than %v: %s", id, p.name, e.outcome, took, limit, e.why)
	}
	switch e.outcome {
	case 'A':
		p.acked++
		if records == 0 {
			p.lost++
			say("lost", "%s (%s) at %s", id, p.name, e.answered.Format(time.TimeOnly))
		}
	case 'N':
		p.surely++
		if records > 0 {
			p.undead++
			say("undead", "%s (%s) surely was not written, as it was said: %s", id, p.name, e.why)
		}
	default:
		p.maybe++
	}
}

func (b *ledger) print(records int, peak string) error {
	out := bufio.NewWriter(os.Stdout)
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	_, _ = fmt.Fprintln(w, "fault\thits\tevents\tacked\tfailed surely\tmaybe\tlost\tdoubled\treordered\tundead\tunanswered\tlate\tlongest answer\trecovery\t")
	var total phase
	for _, p := range b.phases {
		if p.asked > 0 {
			row(w, p)
		}
		total.hits += p.hits
		total.events += p.events
		total.acked += p.acked
		total.surely += p.surely
		total.maybe += p.maybe
		total.lost += p.lost
		total.doubled += p.doubled
		total.reordered += p.reordered
		total.undead += p.undead
		total.unanswered += p.unanswered
		total.late += p.late
		total.longest = max(total.longest, p.longest)
		total.recovery = max(total.recovery, p.recovery)
	}
	total.name = "all"
	row(w, &total)
	return errors.Join(w.Flush(), func() error {
		_, err := fmt.Fprintf(out, "%d records in the topic; deadline %v; the publisher's memory at its peak: %s\n", records, b.deadline, peak)
		return err
	}(), out.Flush())
}

func row(w *tabwriter.Writer, p *phase) {
	_, _ = fmt.Fprintf(w, "%s\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%v\t%v\t\n", p.name, p.hits, p.events, p.acked, p.surely, p.maybe,
		p.lost, p.doubled, p.reordered, p.undead, p.unanswered, p.late, p.longest.Round(10*time.Millisecond), p.recovery.Round(time.Millisecond))
}
