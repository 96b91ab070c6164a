package main

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

// A script is what members wrote and what was done to them, one thing every 100 ms.
func TestBook(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name, script, wrong string
		again               map[fate]int
	}{
		{"in order", "B k:0 ours-a/H k:0 ours-a/B k:1 ours-a/H k:1 ours-a/B k:2 ours-b/H k:2 ours-b", "", nil},
		{"keys at once", "B k:0 ours-a/B l:0 ours-a/H l:0 ours-a/H k:0 ours-a", "", nil},
		{"a gap", "B k:0 ours-a/H k:0 ours-a/B k:2 ours-a", "before 1 was begun", nil},
		{"too early", "B k:0 ours-a/B k:1 ours-b", "while ours-a is at 0 of that key", nil},
		{"not finished", "B k:0 ours-a/kill ours-a/B k:1 ours-b", "nobody has finished 0", nil},
		{"two of a key in one member", "B k:0 ours-a/B k:1 ours-a", "while it is at 0", nil},
		{"again without need", "B k:0 ours-a/H k:0 ours-a/B k:0 ours-b", "had the time to commit", nil},
		{"again after an orderly end", "B k:0 ours-a/H k:0 ours-a/stop ours-a/B k:0 ours-b", "had the time to commit", nil},
		{"again after a kill", "B k:0 ours-a/H k:0 ours-a/kill ours-a/B k:0 ours-b/H k:0 ours-b", "", map[fate]int{killed: 1}},
		{"again, by others, who commit later", "B k:0 java-1/H k:0 java-1/wait/kill java-1/B k:0 ours-b", "", map[fate]int{killed: 1}},
		{"again long after", "B k:0 ours-a/H k:0 ours-a/wait/kill ours-a/B k:0 ours-b", "had the time to commit", nil},
		{"again long after, while the broker took no commits", "B k:0 ours-a/H k:0 ours-a/refuse ours-a/wait/kill ours-a/B k:0 ours-b", "", map[fate]int{killed: 1}},
		{"again long after the broker took commits again", "refuse ours-a/wait/take ours-a/B k:0 ours-a/H k:0 ours-a/wait/kill ours-a/B k:0 ours-b", "had the time to commit", nil},
		{"taken over from the dead", "B k:0 ours-a/kill ours-a/B k:0 ours-b/H k:0 ours-b/B k:1 ours-b/H k:1 ours-b", "", nil},
		{"taken over from the frozen, who ends late", "B k:0 ours-a/freeze ours-a/wait/B k:0 ours-b/H k:0 ours-b/B k:1 ours-b/H k:0 ours-a/H k:1 ours-b", "", nil},
		{"the frozen one was first", "B k:0 ours-a/freeze ours-a/wait/H k:0 ours-a/B k:0 ours-b/H k:0 ours-b", "", map[fate]int{frozen: 1}},
		{"a thawed one goes on with what is another's", "B k:0 ours-a/H k:0 ours-a/freeze ours-a/wait/B k:1 ours-b/H k:1 ours-b/B k:1 ours-a", "had the time to commit", nil},
		{"a thawed one goes on while another is at it", "B k:0 ours-a/H k:0 ours-a/freeze ours-a/wait/B k:1 ours-b/B k:1 ours-a", "while ours-b is at 1", nil},
		{"lost", "B k:0 ours-a/H k:0 ours-a/lose ours-a/B k:0 ours-b/H k:0 ours-b", "", map[fate]int{lost: 1}},
		{"no line", "B k:0", "a line that is none", nil},
		{"no record", "B k:x ours-a", "was not written", nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			b := newBook(3*time.Second, 10*time.Second)
			now := time.Unix(0, 0)
			for step := range strings.SplitSeq(tc.script, "/") {
				now = now.Add(100 * time.Millisecond)
				what, who, _ := strings.Cut(step, " ")
				switch what {
				case "wait":
					now = now.Add(15 * time.Second)
				case "kill":
					b.hit(who, killed, now)
				case "refuse", "take":
					b.refused(who, what == "refuse", now)
				case "stop":
					b.hit(who, stopped, now)
				case "freeze":
					b.hit(who, frozen, now)
				case "lose":
					b.hit(who, lost, now)
				default:
					b.line(step, now)
				}
			}
			if tc.wrong == "" {
				assert.Empty(t, b.wrong)
			} else {
				assert.Contains(t, strings.Join(b.wrong, "; "), tc.wrong)
			}
			if tc.again == nil {
				tc.again = map[fate]int{}
			}
			assert.Equal(t, tc.again, b.again)
		})
	}
}

func TestWhatIsMissing(t *testing.T) {
	t.Parallel()
	b := newBook(time.Second, time.Second)
	for seq := range 3 {
		b.ack("k", seq)
	}
	b.line("B k:0 ours-a", time.Now())
	b.line("H k:0 ours-a", time.Now())
	b.line("B k:1 ours-a", time.Now())
	n, some := b.missing()
	assert.Equal(t, 2, n)
	assert.Equal(t, []string{"k:1", "k:2"}, some)
}
