package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// member is one process of the group.
type member struct {
	name   string // <kind>-<slot>.<life>
	cmd    *exec.Cmd
	exit   chan struct{} // closed when it has ended
	err    error         // why, then
	frozen atomic.Bool
	asked  atomic.Bool // to end, or killed
}

// slot is a place in the group which one process after the other takes.
type slot struct {
	kind     string // ours, java, franz
	number   int
	instance string // of a static member
	life     int
	now      *member
}

// troupe starts the processes.
type troupe struct {
	settings

	brokers, topic, group string
	driver, franz         string // binaries
	classes               string
	lines                 *os.File // what all write to
	book                  *book
	logs                  sync.WaitGroup
	peaks                 map[string]int // KiB, by kind
}

// build makes what the processes run.
func (t *troupe) build(ctx context.Context) error {
	run := func(name string, args ...string) error {
		cmd := exec.CommandContext(ctx, name, args...) //nolint:gosec // our own arguments
		cmd.Dir = t.root
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("%s: %w\n%s", strings.Join(append([]string{name}, args...), " "), err, out)
		}
		return nil
	}
	t.driver, t.franz, t.classes = filepath.Join(t.dir, "verifydriver"), filepath.Join(t.dir, "franzmember"), filepath.Join(t.dir, "classes")
	build := []string{"build", "-o", t.driver}
	if t.race {
		build = append(build, "-race")
	}
	if err := run("go", append(build, "./internal/itest/verifydriver")...); err != nil {
		return err
	}
	if t.franzMembers > 0 {
		if err := run("go", "build", "-o", t.franz, "./internal/itest/soakconsume/franzmember"); err != nil {
			return err
		}
	}
	if t.javaMembers > 0 {
		return run("javac", "-cp", t.libs, "-d", t.classes, "internal/itest/soakconsume/JavaMember.java")
	}
	return nil
}

func (t *troupe) command(s *slot, name string) []string {
	switch s.kind {
	case "java":
		assignors := "org.apache.kafka.clients.consumer.RangeAssignor,org.apache.kafka.clients.consumer.CooperativeStickyAssignor" // its default
		if t.mode == "cooperative" {
			assignors = "org.apache.kafka.clients.consumer.CooperativeStickyAssignor"
		}
		return []string{
			"java", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xmx96m", "-cp", t.classes + ":" + t.libs, "JavaMember",
			t.brokers, t.topic, t.group, name, assignors, strconv.FormatInt(t.session.Milliseconds(), 10), strconv.FormatInt(t.work.Microseconds(), 10),
		}
	case "franz":
		balancer := "range"
		if t.mode == "cooperative" {
			balancer = "cooperative-sticky"
		}
		return []string{
			t.franz, "-brokers", t.brokers, "-topic", t.topic, "-group", t.group, "-name", name, "-balancer", balancer,
			"-session", t.session.String(), "-work", t.work.String(),
		}
	}
	args := []string{
		t.driver, "-role", "consume", "-brokers", t.brokers, "-topic", t.topic, "-group", t.group, "-name", name,
		"-session", t.session.String(), "-work", t.work.String(), "-instance", s.instance,
	}
	if t.mode == "cooperative" {
		args = append(args, "-balancers", "cooperative-sticky")
	}
	return args
}

// start has a new process take the slot.
func (t *troupe) start(s *slot) error {
	s.life++
	m := &member{name: fmt.Sprintf("%s-%d.%d", s.kind, s.number, s.life), exit: make(chan struct{})}
	args := t.command(s, m.name)
	m.cmd = exec.Command(args[0], args[1:]...) //nolint:gosec,noctx // our own arguments; ended by stop
	m.cmd.Stdout = t.lines
	m.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // Ctrl-C at the terminal is ours alone
	log, err := os.Create(filepath.Join(t.dir, m.name+".log"))
	if err != nil {
		return err
	}
	stderr, err := m.cmd.StderrPipe()
	if err != nil {
		return err
	}
	if err := m.cmd.Start(); err != nil {
		return err
	}
	t.logs.Go(func() {
		lines := bufio.NewScanner(stderr)
		for lines.Scan() {
			line := lines.Text()
			_, _ = fmt.Fprintln(log, line)
			switch {
			case strings.Contains(line, "lost the partitions"):
				t.book.hit(m.name, lost, time.Now())
			case strings.Contains(line, "what=commits"):
				t.book.refused(m.name, true, time.Now())
			case strings.Contains(line, "consuming works again"):
				t.book.refused(m.name, false, time.Now())
			}
		}
		_ = log.Close()
		m.err = m.cmd.Wait()
		close(m.exit)
	})
	s.now = m
	return nil
}

// end has the slot's process end by a signal, and waits for that.
func (t *troupe) end(s *slot, sig syscall.Signal, within time.Duration) error {
	m := s.now
	s.now = nil
	t.sample(s.kind, m)
	m.asked.Store(true)
	f := stopped
	if sig == syscall.SIGKILL {
		f = killed
		t.book.hit(m.name, f, time.Now()) // before: what others do from then on is explained
	}
	if err := m.cmd.Process.Signal(sig); err != nil {
		return fmt.Errorf("%s: %w", m.name, err)
	}
	if f == stopped {
		t.book.hit(m.name, f, time.Now()) // others may go on before its process has ended
	}
	select {
	case <-m.exit:
	case <-time.After(within):
		_ = m.cmd.Process.Kill()
		return fmt.Errorf("%s does not end within %v of SIGTERM", m.name, within)
	}
	if f == stopped {
		t.book.hit(m.name, f, time.Now())
		// 143: Java, after its shutdown hook.
		exit, ok := errors.AsType[*exec.ExitError](m.err)
		if m.err != nil && (!ok || exit.ExitCode() != 143) {
			return fmt.Errorf("%s ended with %w", m.name, m.err)
		}
	}
	return nil
}

// freeze stops a process for a while.
func (t *troupe) freeze(ctx context.Context, m *member, d time.Duration) error {
	m.frozen.Store(true)
	defer m.frozen.Store(false)
	if err := m.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		return fmt.Errorf("%s: %w", m.name, err)
	}
	from := time.Now()
	if d > t.session {
		t.book.hit(m.name, frozen, from)
	}
	err := pause(ctx, d)
	if cerr := m.cmd.Process.Signal(syscall.SIGCONT); err == nil {
		err = cerr
	}
	return err
}

// sample notes a process's resident memory.
func (t *troupe) sample(kind string, m *member) {
	status, err := os.ReadFile("/proc/" + strconv.Itoa(m.cmd.Process.Pid) + "/status")
	if err != nil {
		return
	}
	for line := range strings.Lines(string(status)) {
		if value, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			if kib, err := strconv.Atoi(strings.Fields(value)[0]); err == nil {
				t.peaks[kind] = max(t.peaks[kind], kib)
			}
		}
	}
}

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
