package main_test

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// patience is for what has no reason to take long, on a slow machine.
const patience = 60 * time.Second

// build builds the command.
func build(t *testing.T) string {
	t.Helper()
	binary := filepath.Join(t.TempDir(), "customservice")
	if runtime.GOOS == "windows" {
		binary += ".exe"
	}
	args := append(append([]string{"build"}, buildFlags()...), "-o", binary, ".")
	out, err := exec.CommandContext(t.Context(), "go", args...).CombinedOutput()
	require.NoError(t, err, "%s", out)
	return binary
}

// process is a running customservice.
type process struct {
	t    *testing.T
	cmd  *exec.Cmd
	base string // the URL that it serves
	done chan struct{}

	mu      sync.Mutex
	lines   []line
	changed chan struct{} // closed with the next line
	rest    bytes.Buffer  // what is no log
}

// line is what the log says.
type line struct {
	Level         string `json:"level"`
	Msg           string `json:"msg"`
	CorrelationID string `json:"correlation_id"`
	TraceID       string `json:"trace_id"`
	Item          string `json:"item"`
	Error         string `json:"error"`
}

// launch starts the command in a folder of its own, with an environment of its own.
func launch(t *testing.T, binary string, env []string, args ...string) *process {
	t.Helper()
	p := &process{t: t, done: make(chan struct{}), changed: make(chan struct{})}
	p.cmd = exec.Command(binary, append(args, "-log-format", "json")...) //nolint:noctx // our own binary, which is stopped by signals
	p.cmd.Dir = t.TempDir()
	p.cmd.Env = append([]string{"PATH=" + os.Getenv("PATH"), "HOME=" + p.cmd.Dir}, env...)
	stderr, err := p.cmd.StderrPipe()
	require.NoError(t, err)
	require.NoError(t, p.cmd.Start())
	go p.read(stderr)
	t.Cleanup(func() {
		_ = p.cmd.Process.Kill()
		<-p.done
		if t.Failed() {
			p.mu.Lock()
			defer p.mu.Unlock()
			for _, l := range p.lines {
				t.Logf("%+v", l)
			}
			t.Log(p.rest.String())
		}
	})
	return p
}

func (p *process) read(r io.Reader) {
	for s := bufio.NewScanner(r); s.Scan(); {
		var l line
		p.mu.Lock()
		if json.Unmarshal(s.Bytes(), &l) == nil {
			p.lines = append(p.lines, l)
		} else {
			p.rest.Write(append(s.Bytes(), '\n'))
		}
		close(p.changed)
		p.changed = make(chan struct{})
		p.mu.Unlock()
	}
	_ = p.cmd.Wait()
	close(p.done)
}

// logged returns the first line of which is holds; it waits for it.
func (p *process) logged(what string, is func(line) bool) line {
	p.t.Helper()
	deadline := time.After(patience)
	for seen := 0; ; {
		p.mu.Lock()
		for ; seen < len(p.lines); seen++ {
			if is(p.lines[seen]) {
				defer p.mu.Unlock()
				return p.lines[seen]
			}
		}
		changed := p.changed
		p.mu.Unlock()
		select {
		case <-changed:
		case <-p.done:
			require.Fail(p.t, "the process ended and did not log "+what)
		case <-deadline:
			require.Fail(p.t, "the log never had "+what)
		}
	}
}

func (p *process) loggedText(text string) line {
	p.t.Helper()
	return p.logged(text, func(l line) bool { return strings.Contains(l.Msg, text) })
}

// messages returns those of the log that have the text, in order.
func (p *process) messages(text string) []line {
	p.mu.Lock()
	defer p.mu.Unlock()
	var out []line
	for _, l := range p.lines {
		if strings.Contains(l.Msg, text) {
			out = append(out, l)
		}
	}
	return out
}

// serve launches the service on a free port.
func serve(t *testing.T, binary string, env []string, args ...string) *process {
	t.Helper()
	p := launch(t, binary, env, append([]string{"-addr", "127.0.0.1:0"}, args...)...)
	_, p.base, _ = strings.Cut(p.loggedText("listens on ").Msg, "listens on ")
	return p
}

// stop asks the process to stop, and returns its exit code.
func (p *process) stop() int {
	p.t.Helper()
	require.NoError(p.t, p.cmd.Process.Signal(syscall.SIGTERM))
	return p.wait()
}

func (p *process) wait() int {
	p.t.Helper()
	select {
	case <-p.done:
	case <-time.After(patience):
		require.Fail(p.t, "the process does not end")
	}
	return p.cmd.ProcessState.ExitCode()
}

// do sends a request, with a body unless it is "", and decodes the answer.
func (p *process) do(method, path, body string, headers ...string) (int, map[string]any) {
	p.t.Helper()
	req, err := http.NewRequestWithContext(p.t.Context(), method, p.base+path, strings.NewReader(body))
	require.NoError(p.t, err)
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	for pair := range slices.Chunk(headers, 2) {
		req.Header.Set(pair[0], pair[1])
	}
	resp, err := http.DefaultClient.Do(req)
	require.NoError(p.t, err)
	defer func() { _ = resp.Body.Close() }()
	raw, err := io.ReadAll(resp.Body)
	require.NoError(p.t, err)
	var v map[string]any
	if len(raw) > 0 {
		require.NoError(p.t, json.Unmarshal(raw, &v), "%s", raw)
	}
	return resp.StatusCode, v
}

// eventually asks again and again until the answer is right.
func (p *process) eventually(path string, right func(c *assert.CollectT, status int, v map[string]any)) {
	p.t.Helper()
	require.EventuallyWithT(p.t, func(c *assert.CollectT) {
		status, v := p.do(http.MethodGet, path, "")
		right(c, status, v)
	}, patience, 50*time.Millisecond)
}

// create makes an item and returns its ID.
func (p *process) create(user, name string, headers ...string) string {
	p.t.Helper()
	status, v := p.do(http.MethodPost, "/items", `{"name":"`+name+`","description":"of brass","userId":"`+user+`"}`, headers...)
	require.Equal(p.t, http.StatusCreated, status, "%v", v)
	id, ok := v["id"].(string)
	require.True(p.t, ok)
	return id
}

// closedPort returns a port of 127.0.0.1 on which nobody listens.
func closedPort(t *testing.T) int {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer func() { assert.NoError(t, l.Close()) }()
	addr, ok := l.Addr().(*net.TCPAddr)
	require.True(t, ok)
	return addr.Port
}

// tryCreate makes an item, of which it returns the ID when the service answers.
func (p *process) tryCreate(user string) (string, bool) {
	p.t.Helper()
	body := strings.NewReader(`{"name":"Lamp","description":"of brass","userId":"` + user + `"}`)
	req, err := http.NewRequestWithContext(p.t.Context(), http.MethodPost, p.base+"/items", body)
	require.NoError(p.t, err)
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", false
	}
	defer func() { _ = resp.Body.Close() }()
	var v struct {
		ID string `json:"id"`
	}
	if json.NewDecoder(resp.Body).Decode(&v) != nil || resp.StatusCode != http.StatusCreated {
		return "", false
	}
	return v.ID, true
}

// readTopic returns the item's, or else the cause's, ID in each record of a topic, read by another client than ours.
func readTopic(t *testing.T, address, topic string) []string {
	t.Helper()
	conn, err := kafka.DialContext(t.Context(), "tcp", address)
	require.NoError(t, err)
	defer func() { assert.NoError(t, conn.Close()) }()
	partitions, err := conn.ReadPartitions(topic)
	require.NoError(t, err)
	var ids []string
	for _, p := range partitions {
		leader, err := kafka.DialLeader(t.Context(), "tcp", address, topic, p.ID)
		require.NoError(t, err)
		first, last, err := leader.ReadOffsets()
		require.NoError(t, err)
		require.Zero(t, first)
		for offset := first; offset < last; offset++ {
			m, err := leader.ReadMessage(1 << 20)
			require.NoError(t, err)
			var e struct {
				CustomItemID string `json:"customItemId"`
				CausationID  string `json:"causationId"`
			}
			require.NoError(t, json.Unmarshal(m.Value, &e))
			ids = append(ids, cmp.Or(e.CustomItemID, e.CausationID))
		}
		require.NoError(t, leader.Close())
	}
	return ids
}

// items returns the IDs of all items of the user.
func (p *process) items(user string) (ids []string) {
	p.t.Helper()
	for path := "/items?limit=100&userId=" + user; ; {
		status, v := p.do(http.MethodGet, path, "")
		require.Equal(p.t, http.StatusOK, status, "%v", v)
		items, ok := v["items"].([]any)
		require.True(p.t, ok)
		for _, it := range items {
			ids = append(ids, it.(map[string]any)["id"].(string)) //nolint:forcetypeassert // a test may panic
		}
		cursor, more := v["nextCursor"].(string)
		if !more {
			return ids
		}
		path = "/items?limit=100&userId=" + user + "&cursor=" + cursor
	}
}
