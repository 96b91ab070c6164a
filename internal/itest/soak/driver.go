package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
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

// driver is the publisher's process.
type driver struct {
	cmd     *exec.Cmd
	stdin   io.WriteCloser
	feeding sync.WaitGroup
	enough  chan struct{} // closed when no more events are to come
	exit    chan error
	ended   atomic.Bool // by itself, or killed
	silent  atomic.Bool // no events for now
	log     string      // where its stderr goes
	peak    string      // of its resident memory
}

func startDriver(ctx context.Context, s settings, brokers, topic string, book *ledger) (*driver, error) {
	binary := filepath.Join(s.dir, "verifydriver")
	build := []string{"build", "-o", binary}
	if s.race {
		build = append(build, "-race")
	}
	cmd := exec.CommandContext(ctx, "go", append(build, "./internal/itest/verifydriver")...) //nolint:gosec // our own arguments
	cmd.Dir = s.root
	if out, err := cmd.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("verifydriver was not built: %w\n%s", err, out)
	}
	d := &driver{enough: make(chan struct{}), exit: make(chan error, 1), log: filepath.Join(s.dir, "verifydriver.log")}
	log, err := os.Create(d.log)
	if err != nil {
		return nil, err
	}
	defer func() { _ = log.Close() }()
	d.cmd = exec.CommandContext(context.WithoutCancel(ctx), binary, //nolint:gosec // built just now
		"-role", "produce", "-brokers", brokers, "-topic", topic, "-deadline", s.deadline.String())
	d.cmd.Stderr = log
	d.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // Ctrl-C at the terminal is ours alone
	if d.stdin, err = d.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	stdout, err := d.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := d.cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		lines := bufio.NewScanner(stdout)
		for lines.Scan() {
			book.line(lines.Text(), time.Now())
		}
		d.exit <- d.cmd.Wait()
		d.ended.Store(true)
	}()
	d.feeding.Go(func() { d.feed(book, s.rate) })
	return d, nil
}

// feed asks for so many events per second, as far as the driver takes them.
func (d *driver) feed(book *ledger, rate int) {
	const step = 20 * time.Millisecond
	tick := time.NewTicker(step)
	defer tick.Stop()
	begin, fed := time.Now(), 0
	for {
		select {
		case <-d.enough:
			return
		case <-tick.C:
		}
		// What could not be taken for a while, since the driver was stopped, is not asked for afterwards.
		want := int(time.Since(begin).Seconds() * float64(rate))
		n := min(want-fed, rate/10+1)
		fed = want
		if d.silent.Load() {
			continue
		}
		var orders bytes.Buffer
		for range n {
			orders.WriteString(book.order())
		}
		if _, err := d.stdin.Write(orders.Bytes()); err != nil {
			return
		}
	}
}

// finish has the driver settle everything and end.
func (d *driver) finish(within time.Duration) error {
	close(d.enough)
	d.feeding.Wait()
	d.peak = d.memory()
	if err := d.stdin.Close(); err != nil {
		return err
	}
	select {
	case err := <-d.exit:
		if err != nil {
			return fmt.Errorf("the driver ended with %w; see %s", err, d.log)
		}
		return nil
	case <-time.After(within):
		return errors.New("the driver does not end")
	}
}

// memory is the most that was resident; empty where the kernel does not say.
func (d *driver) memory() string {
	status, err := os.ReadFile("/proc/" + strconv.Itoa(d.cmd.Process.Pid) + "/status")
	if err != nil {
		return ""
	}
	for line := range strings.Lines(string(status)) {
		if value, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			return strings.Join(strings.Fields(value), " ")
		}
	}
	return ""
}

func (d *driver) signal(sig syscall.Signal) error { return d.cmd.Process.Signal(sig) }

// kill is for when the soak ends early; nothing happens after finish.
func (d *driver) kill() {
	if !d.ended.Load() {
		_ = d.cmd.Process.Kill()
	}
}
