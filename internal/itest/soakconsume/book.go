package main

import (
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"
)

// fate is what may happen to a member's process that explains what others then do again.
type fate uint8

const (
	stopped fate = iota // it was asked to end, and has
	killed              // SIGKILL
	frozen              // SIGSTOP, for longer than its session
	lost                // it says that it lost its membership, without having been frozen
)

func (f fate) String() string { return [...]string{"stopped", "killed", "frozen", "lost"}[f] }

// blow is a fate that a member met.
type blow struct {
	fate fate
	at   time.Time
}

// block is a time in which a member's commits were refused: the broker takes none while the group waits for its leader's assignment,
// up to a session timeout when that leader is frozen.
type block struct{ from, to time.Time } // to is zero while it lasts

// slack is how much later than it was written a line may be read.
const slack = time.Second

// book judges the lines of all members, in the order in which they were written: they share one pipe.
type book struct {
	window  time.Duration // what a member has handled for so long before a blow may be not committed yet
	session time.Duration

	mu      sync.Mutex
	keys    map[string]*keyState
	blows   map[string][]blow  // by member
	blocks  map[string][]block // by member
	dead    map[string]bool
	acked   int
	handled int // records handled at least once
	lines   int
	again   map[fate]int // records handled again, by what explains it
	cut     int          // handlers that a blow caught in the middle, while others went on
	oldest  time.Duration
	blocked time.Duration  // for how long a member's commits were refused at most
	byKind  map[string]int // records handled for the first time, by the member's kind
	wrong   []string
	wrongs  int
	sorts   map[string]int
}

type keyState struct {
	acked int               // so many were written: 0 to acked-1
	done  []done            // by sequence
	next  int               // the first that was never begun
	open  map[string]opened // by member
}

type done struct {
	by       string
	from, at time.Time
}

type opened struct {
	seq int
	at  time.Time
}

func newBook(window, session time.Duration) *book {
	return &book{
		window: window, session: session, keys: map[string]*keyState{}, blows: map[string][]blow{}, blocks: map[string][]block{}, sorts: map[string]int{}, dead: map[string]bool{},
		again: map[fate]int{}, byKind: map[string]int{},
	}
}

func (b *book) key(name string) *keyState {
	k := b.keys[name]
	if k == nil {
		k = &keyState{open: map[string]opened{}}
		b.keys[name] = k
	}
	return k
}

// ack notes that a record is in the topic.
func (b *book) ack(key string, seq int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.acked++
	k := b.key(key)
	k.acked = max(k.acked, seq+1)
}

// hit notes what happened to a member.
func (b *book) hit(member string, f fate, at time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.blows[member] = append(b.blows[member], blow{f, at})
	if f == killed || f == stopped {
		b.dead[member] = true
	}
}

// refused notes that a member's commits are refused, or that they are not any longer.
func (b *book) refused(member string, refused bool, at time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	blocks := b.blocks[member]
	lasts := len(blocks) > 0 && blocks[len(blocks)-1].to.IsZero()
	switch {
	case refused && !lasts:
		b.blocks[member] = append(blocks, block{from: at})
	case !refused && lasts:
		blocks[len(blocks)-1].to = at
		b.blocked = max(b.blocked, at.Sub(blocks[len(blocks)-1].from))
	}
}

// uncommitted is for how long before a blow a member's work may be not committed.
func (b *book) uncommitted(member string, blow time.Time) time.Duration {
	for _, bl := range b.blocks[member] {
		if !bl.from.After(blow) && (bl.to.IsZero() || !bl.to.Before(blow)) {
			return b.window + blow.Sub(bl.from)
		}
	}
	return b.window
}

func (b *book) say(format string, args ...any) {
	b.wrongs++
	// A few of each sort: of what is said of the same members.
	var sort strings.Builder
	sort.WriteString(format)
	for _, arg := range args {
		if who, ok := arg.(string); ok && strings.Contains(who, ".") {
			sort.WriteString(who)
		}
	}
	if b.sorts[sort.String()]++; b.sorts[sort.String()] <= 2 && len(b.wrong) < 100 {
		b.wrong = append(b.wrong, fmt.Sprintf(format, args...))
	}
}

// line judges "B <key>:<seq> <member>" and "H …".
func (b *book) line(text string, at time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.lines++
	f := strings.Fields(text)
	if len(f) != 3 || f[0] != "B" && f[0] != "H" {
		b.say("a line that is none: %q", text)
		return
	}
	key, number, _ := strings.Cut(f[1], ":")
	seq, err := strconv.Atoi(number)
	if err != nil {
		b.say("a record that was not written: %q", text)
		return
	}
	k, who := b.key(key), f[2]
	for len(k.done) <= seq {
		k.done = append(k.done, done{})
	}
	if f[0] == "H" {
		from := at
		if o, ok := k.open[who]; ok && o.seq == seq {
			from = o.at
			delete(k.open, who)
		}
		if k.done[seq].by == "" {
			b.handled++
			kind, _, _ := strings.Cut(who, "-")
			b.byKind[kind]++
		}
		k.done[seq] = done{who, from, at}
		return
	}
	b.begin(k, key, seq, who, at)
	k.open[who] = opened{seq, at}
}

// leftUncommitted reports whether a member that ended when it was asked to could not commit before: the broker took no commits, or
// it is another client, which does not wait for that.
func (b *book) leftUncommitted(member string, at time.Time) bool {
	kind, _, _ := strings.Cut(member, "-")
	return kind != "ours" || b.uncommitted(member, at) > b.window
}

// begin judges that a member begins with a record.
func (b *book) begin(k *keyState, key string, seq int, who string, at time.Time) {
	for other, o := range k.open {
		switch {
		case other == who && b.struck(who, o.at, at):
			// Its handler was given up without a line, since the partition was lost meanwhile.
		case other == who:
			b.say("%s begins %s:%d while it is at %d of that key", who, key, seq, o.seq)
		case b.dead[other]:
		case b.struck(other, o.at, at):
			b.cut++
		default:
			b.say("%s begins %s:%d while %s is at %d of that key", who, key, seq, other, o.seq)
		}
		delete(k.open, other)
	}
	if seq > k.next {
		b.say("%s begins %s:%d before %d was begun", who, key, seq, k.next)
	}
	if seq >= k.next {
		k.next = seq + 1
		if seq > 0 && k.done[seq-1].by == "" {
			b.say("%s begins %s:%d, and nobody has finished %d", who, key, seq, seq-1)
		}
		return
	}
	before := k.done[seq]
	if before.by == "" {
		return // begun, and not finished by a member that met its fate, or was judged above
	}
	for _, bl := range b.blows[before.by] {
		window := b.uncommitted(before.by, bl.at)
		if kind, _, _ := strings.Cut(before.by, "-"); kind != "ours" {
			window += 2 * b.session // others do not commit while the group waits for a member
		}
		if bl.fate == lost {
			window += b.session // it could not commit for as long
		}
		if bl.fate == stopped && !b.leftUncommitted(before.by, bl.at) || bl.at.Before(before.from.Add(-slack)) || bl.at.Sub(before.at) > window {
			continue
		}
		b.again[bl.fate]++
		b.oldest = max(b.oldest, bl.at.Sub(before.at))
		return
	}
	b.say("%s handles %s:%d again, which %s had finished %v ago and had the time to commit", who, key, seq, before.by, at.Sub(before.at).Round(time.Millisecond))
}

// struck reports whether something happened to a member while it was at a record.
func (b *book) struck(member string, from, to time.Time) bool {
	for _, bl := range b.blows[member] {
		if bl.fate != stopped && !bl.at.Before(from.Add(-slack)) && !bl.at.After(to) {
			return true
		}
	}
	return false
}

// missing counts what is in the topic and was not handled; the first few by name.
func (b *book) missing() (int, []string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	n, some := 0, []string{}
	for name, k := range b.keys {
		for seq := range k.acked {
			if seq >= len(k.done) || k.done[seq].by == "" {
				if n++; len(some) < 10 {
					some = append(some, fmt.Sprintf("%s:%d", name, seq))
				}
			}
		}
	}
	return n, some
}
