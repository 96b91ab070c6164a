package main

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestReportFindsWhatIsWrong: a run without a flaw passes, and each flaw is found.
func TestReportFindsWhatIsWrong(t *testing.T) {
	t.Parallel()
	const n = 3 * keys
	start := time.Now()
	say := func(b *ledger, after time.Duration, format string, args ...any) {
		b.line(fmt.Sprintf(format, args...), start.Add(after))
	}
	// Three events of each key; the second of k00 may be written and is, the third of k01 surely is not.
	run := func(t *testing.T, answers func(id string) string, took time.Duration) (*ledger, []record) {
		t.Helper()
		b := newLedger(10*time.Second, 1)
		var records []record
		for i := range n {
			b.order()
			k := i % keys
			name := id(k, i/keys)
			say(b, 0, "S %s", name)
			answer := answers(name)
			if answer != "" {
				say(b, took, "%s", answer)
			}
			if answer != "" && answer[0] != 'N' {
				records = append(records, record{k % partitions, key(k), name})
			}
		}
		return b, records
	}
	fine := func(id string) string {
		switch id {
		case "k00-0000001":
			return "E " + id + " no answer in time"
		case "k01-0000002":
			return "N " + id + " closed"
		}
		return "A " + id
	}
	at := func(records []record, id string) int {
		return slices.IndexFunc(records, func(r record) bool { return r.id == id })
	}

	t.Run("fine", func(t *testing.T) {
		t.Parallel()
		b, records := run(t, fine, time.Second)
		b.phases[0].failsNever = false
		require.NoError(t, b.report(records, ""))
		assert.Equal(t, [3]int{n - 2, 1, 1}, [3]int{b.phases[0].acked, b.phases[0].surely, b.phases[0].maybe})
		i := at(records, "k00-0000001")
		require.NoError(t, b.report(slices.Delete(records, i, i+1), ""), "what may be written may be absent")
	})
	t.Run("late, but the publisher was stopped", func(t *testing.T) {
		t.Parallel()
		b, records := run(t, fine, 15*time.Second)
		b.phases[0].failsNever = false
		b.froze(span{start.Add(5 * time.Second), start.Add(14500 * time.Millisecond)})
		require.NoError(t, b.report(records, ""))
	})
	for name, flaw := range map[string]struct {
		answers func(string) string
		took    time.Duration
		records func([]record) []record
	}{
		"lost":     {records: func(rs []record) []record { i := at(rs, "k05-0000001"); return slices.Delete(rs, i, i+1) }},
		"doubled":  {records: func(rs []record) []record { return append(rs, rs[len(rs)-1]) }},
		"stray":    {records: func(rs []record) []record { return append(rs, record{0, "k00", "k00-0000003"}) }},
		"undead":   {records: func(rs []record) []record { return append(rs, record{1, "k01", "k01-0000002"}) }},
		"late":     {took: 11*time.Second + time.Millisecond},
		"failed":   {},
		"odd":      {answers: func(id string) string { return "X " + id }},
		"reorder1": {records: func(rs []record) []record { slices.Reverse(rs); return rs }},
		"reorder2": {records: func(rs []record) []record { rs[at(rs, "k07-0000001")].partition = 5; return rs }},
		"unanswered": {answers: func(id string) string {
			if id == "k09-0000002" {
				return ""
			}
			return fine(id)
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if flaw.answers == nil {
				flaw.answers = fine
			}
			b, records := run(t, flaw.answers, max(time.Second, flaw.took))
			b.phases[0].failsNever = name == "failed"
			if flaw.records != nil {
				records = flaw.records(records)
			}
			want := name
			if name[:len(name)-1] == "reorder" {
				want = "reordered"
			}
			require.ErrorContains(t, b.report(records, ""), want)
		})
	}
}
