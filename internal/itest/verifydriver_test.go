package itest

import (
	"bufio"
	"bytes"
	"context"
	"database/sql"
	"fmt"
	"io"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	_ "modernc.org/sqlite" // the driver sqlite
)

// buildDriver builds the command.
func buildDriver(t *testing.T) string {
	t.Helper()
	binary := filepath.Join(t.TempDir(), "verifydriver")
	out, err := exec.CommandContext(t.Context(), "go", "build", "-o", binary, "./verifydriver").CombinedOutput()
	require.NoError(t, err, "%s", out)
	return binary
}

// driver is a running verifydriver.
type driver struct {
	t      *testing.T
	cmd    *exec.Cmd
	stdin  io.WriteCloser
	stderr bytes.Buffer
	exit   chan error

	mu      sync.Mutex
	lines   [][2]string // kind and the rest
	changed chan struct{}
}

func startDriver(t *testing.T, binary string, args ...string) *driver {
	t.Helper()
	d := &driver{t: t, exit: make(chan error, 1), changed: make(chan struct{})}
	d.cmd = exec.CommandContext(context.WithoutCancel(t.Context()), binary, args...)
	d.cmd.Stderr = &d.stderr
	var err error
	d.stdin, err = d.cmd.StdinPipe()
	require.NoError(t, err)
	stdout, err := d.cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, d.cmd.Start())
	go func() {
		for s := bufio.NewScanner(stdout); s.Scan(); {
			kind, rest, _ := strings.Cut(s.Text(), " ")
			d.mu.Lock()
			d.lines = append(d.lines, [2]string{kind, rest})
			close(d.changed)
			d.changed = make(chan struct{})
			d.mu.Unlock()
		}
		d.exit <- d.cmd.Wait()
	}()
	t.Cleanup(func() { _ = d.cmd.Process.Kill() })
	return d
}

// of returns what followed the lines of this kind.
func (d *driver) of(kind string) []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	var out []string
	for _, l := range d.lines {
		if l[0] == kind {
			out = append(out, l[1])
		}
	}
	return out
}

// wait waits for n lines of a kind.
func (d *driver) wait(kind string, n int) []string {
	d.t.Helper()
	late := time.After(time.Minute)
	for {
		d.mu.Lock()
		changed := d.changed
		d.mu.Unlock()
		if got := d.of(kind); len(got) >= n {
			return got
		}
		select {
		case <-changed:
		case <-late:
			require.FailNow(d.t, "waited in vain", "%d lines %s; there are %d", n, kind, len(d.of(kind)))
		}
	}
}

// ended waits for the exit with code 0.
func (d *driver) ended() {
	d.t.Helper()
	select {
	case err := <-d.exit:
		require.NoError(d.t, err, "%s", d.stderr.String())
	case <-time.After(time.Minute):
		require.FailNow(d.t, "the driver did not end")
	}
}

// feed writes n events of 64 keys.
func (d *driver) feed(from, n int) {
	d.t.Helper()
	var b bytes.Buffer
	for i := from; i < from+n; i++ {
		_, _ = fmt.Fprintf(&b, "id-%d key-%d %d\n", i, i%64, 300+i)
	}
	_, err := d.stdin.Write(b.Bytes())
	require.NoError(d.t, err)
}

// inOrderPerKey checks ids of feed: every one of them once, those of a key in order.
func inOrderPerKey(t *testing.T, ids []string, n int) {
	t.Helper()
	last := map[int]int{}
	seen := map[string]bool{}
	for _, id := range ids {
		var i int
		_, err := fmt.Sscanf(id, "id-%d", &i)
		require.NoError(t, err)
		require.False(t, seen[id], "%s twice", id)
		seen[id] = true
		before, ok := last[i%64]
		require.True(t, !ok || before < i, "%d after %d", i, before)
		last[i%64] = i
	}
	require.Len(t, ids, n)
}

// TestVerifydriver has 1,000 events published and handled by lines of text.
func TestVerifydriver(t *testing.T) {
	t.Parallel()
	binary := buildDriver(t)
	eachBroker(t, func(t *testing.T, b broker) {
		const n = 1000
		topic, group := b.topic(t, 6), b.name("verifydriver")
		p := startDriver(t, binary, "-role", "produce", "-brokers", b.address, "-topic", topic, "-deadline", "20s")
		p.feed(0, n)
		require.NoError(t, p.stdin.Close())
		p.ended()
		assert.Empty(t, p.of("N"))
		assert.Empty(t, p.of("E"))
		begun := p.of("S")
		inOrderPerKey(t, begun, n)
		assert.ElementsMatch(t, begun, p.of("A"))

		records := b.records(t, topic)
		require.Len(t, records, n)
		for _, r := range records {
			var i int
			_, err := fmt.Sscanf(string(r.Key), "key-%d", &i)
			require.NoError(t, err)
			assert.Less(t, len(r.Value), 300+n+50)
		}

		// The other form of a value, and one that is neither.
		w := &kafka.Writer{Addr: kafka.TCP(strings.Split(b.address, ",")...), Topic: topic, BatchTimeout: time.Millisecond}
		require.NoError(t, w.WriteMessages(t.Context(),
			kafka.Message{Value: []byte("{neither")},
			kafka.Message{Value: []byte("foreign xxxx")}))
		require.NoError(t, w.Close())

		c := startDriver(t, binary, "-role", "consume", "-brokers", b.address, "-topic", topic, "-group", group, "-work", "1ms", "-session", "6s")
		handled := c.wait("H", n+1)
		require.NoError(t, c.cmd.Process.Signal(syscall.SIGTERM))
		c.ended()
		assert.ElementsMatch(t, c.of("B"), handled)
		assert.Contains(t, handled, "foreign")
		var ours []string
		for _, id := range handled {
			if id != "foreign" {
				ours = append(ours, id)
			}
		}
		inOrderPerKey(t, ours, n)
		assert.Len(t, b.records(t, topic+"-dlt"), 1)

		offsets, err := b.admin().OffsetFetch(t.Context(), &kafka.OffsetFetchRequest{GroupID: group, Topics: map[string][]int{topic: {0, 1, 2, 3, 4, 5}}})
		require.NoError(t, err)
		committed := int64(0)
		for _, o := range offsets.Topics[topic] {
			committed += max(0, o.CommittedOffset)
		}
		assert.EqualValues(t, n+2, committed, "all is committed")
	})
}

// TestVerifydriverAnswersAtSIGTERM: what was asked for has an answer when the driver ends, with the broker away too.
func TestVerifydriverAnswersAtSIGTERM(t *testing.T) {
	t.Parallel()
	binary := buildDriver(t)
	away := startDriver(t, binary, "-role", "produce", "-brokers", "127.0.0.1:1", "-topic", "t", "-deadline", "3s")
	away.feed(0, 500)
	away.wait("S", 1)
	begin := time.Now()
	require.NoError(t, away.cmd.Process.Signal(syscall.SIGTERM))
	away.ended()
	assert.Less(t, time.Since(begin), 10*time.Second)
	inOrderPerKey(t, away.of("S"), 500)
	assert.Len(t, away.of("N"), 500)
	assert.Empty(t, away.of("E"), "nothing was ever sent")
}

func TestVerifydriverRefusesWrongCalls(t *testing.T) {
	t.Parallel()
	binary := buildDriver(t)
	for args, want := range map[string]string{
		"":                                    "-role must be produce, consume, outbox or effect",
		"-role outbox":                        "-dsn is missing",
		"-role effect":                        "-dsn is missing",
		"-role produce":                       "-brokers is missing",
		"-role consume -brokers b:1 -topic t": "-group is missing",
		"-role produce -brokers b:1 -topic t rest":        "unknown arguments",
		"-role produce -brokers b:1 -topic t -deadline 0": "-deadline must be above zero",
		"-nonsense": "flag provided but not defined",
	} {
		t.Run(args, func(t *testing.T) {
			t.Parallel()
			out, err := exec.CommandContext(t.Context(), binary, strings.Fields(args)...).CombinedOutput()
			var exit *exec.ExitError
			require.ErrorAs(t, err, &exit)
			assert.Equal(t, 2, exit.ExitCode())
			assert.Contains(t, string(out), want)
		})
	}
}

// TestVerifydriverOutbox: the roles with a database, on a SQLite file, with a death in between.
func TestVerifydriverOutbox(t *testing.T) {
	t.Parallel()
	binary := buildDriver(t)
	onBrokers(t, func(t *testing.T, b broker) {
		const n = 300
		topic, dsn := b.topic(t, 6), filepath.Join(t.TempDir(), "books.db")
		args := []string{"-brokers", b.address, "-topic", topic, "-dsn", dsn}
		var input strings.Builder
		for i := range n {
			how := "c"
			if i%10 == 9 {
				how = "r"
			}
			_, _ = fmt.Fprintf(&input, "id-%d key-%d %d %s\n", i, i%16, 300+i, how)
		}
		first := startDriver(t, binary, append([]string{"-role", "outbox"}, args...)...)
		_, err := io.WriteString(first.stdin, input.String())
		require.NoError(t, err)
		first.wait("C", n/3)
		require.NoError(t, first.cmd.Process.Kill())
		require.Error(t, <-first.exit)

		second := startDriver(t, binary, append([]string{"-role", "outbox"}, args...)...)
		_, err = io.WriteString(second.stdin, input.String())
		require.NoError(t, err)
		require.NoError(t, second.stdin.Close())
		second.ended()
		assert.Len(t, second.of("C"), n*9/10, "whatever was committed before is answered again")
		assert.Len(t, second.of("R"), n/10)

		effects := startDriver(t, binary, append([]string{"-role", "effect", "-group", b.name("effect"), "-session", "6s"}, args...)...)
		db, err := sql.Open("sqlite", "file:"+dsn+"?_pragma=busy_timeout(10000)")
		require.NoError(t, err)
		t.Cleanup(func() { _ = db.Close() })
		count := func(query string) (got int) {
			require.NoError(t, db.QueryRowContext(t.Context(), query).Scan(&got))
			return got
		}
		require.Eventually(t, func() bool { return count("SELECT COUNT(*) FROM effect") >= n*9/10 }, time.Minute, 20*time.Millisecond)
		require.NoError(t, effects.cmd.Process.Signal(syscall.SIGTERM))
		effects.ended()
		assert.Equal(t, n*9/10, count("SELECT COUNT(*) FROM effect"))
		assert.Equal(t, n*9/10, count("SELECT COUNT(DISTINCT effect.id) FROM effect JOIN biz ON biz.id = effect.id AND biz.k = effect.k"))
		assert.Equal(t, n*9/10, count("SELECT COUNT(*) FROM biz"))
	}, embeddedBroker, realBroker)
}
