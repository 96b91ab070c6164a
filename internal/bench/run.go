package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"time"
)

// A result is what one run measured.
type result struct {
	Events  int           `json:"events"`
	Wall    time.Duration `json:"wall"`
	CPU     time.Duration `json:"cpu"` // user and system, of all threads
	Mallocs uint64        `json:"mallocs"`
	RSS     uint64        `json:"rss"` // bytes, the highest of the whole process
	P50     time.Duration `json:"p50"` // of synchronous publishes
	P99     time.Duration `json:"p99"`
}

func (r result) cpuPerMillion() float64 { return r.CPU.Seconds() / float64(r.Events) * 1e6 }
func (r result) rate() float64          { return float64(r.Events) / r.Wall.Seconds() }
func (r result) allocs() float64        { return float64(r.Mallocs) / float64(r.Events) }

// run measures one client in this process.
func run(ctx context.Context, o offer, s scenario, brokers []string, topic string, events int) (res result, err error) {
	n, warmup := s.count(events)
	if s.handler != noHandler {
		return consume(ctx, o, s, brokers, topic, n)
	}
	p, err := o.open(brokers, topic, s.callers == 0)
	if err != nil {
		return result{}, err
	}
	defer func() { err = errors.Join(err, p.close()) }()

	publish := bulk
	switch {
	case s.callers > 0:
		publish = synchronous
	case s.ready:
		publish = bytesOnly
	}
	w := newWork(s)
	if err := w.prepare(s); err != nil {
		return result{}, err
	}
	if err := publish(ctx, p, w, warmup); err != nil {
		return result{}, fmt.Errorf("warming up: %w", err)
	}
	w.latencies(n)
	runtime.GC()

	m := startMeter()
	if err := publish(ctx, p, w, n); err != nil {
		return result{}, err
	}
	if res, err = m.stop(n); err != nil {
		return result{}, err
	}
	res.P50, res.P99 = w.percentiles()
	return res, nil
}

// work is what the callers of a run publish, and how long they waited.
type work struct {
	sources []*source
	ready   []ready
	waited  [][]time.Duration // by caller; nil while nobody wants to know
}

func newWork(s scenario) *work {
	callers := max(s.callers, 1)
	w := &work{}
	for i := range callers {
		w.sources = append(w.sources, newSource(i, callers))
	}
	return w
}

func (w *work) prepare(s scenario) (err error) {
	if s.ready {
		w.ready, err = newReady(w.sources[0])
	}
	return err
}

func (w *work) latencies(n int) {
	w.waited = make([][]time.Duration, len(w.sources))
	for i := range w.waited {
		w.waited[i] = make([]time.Duration, 0, n/len(w.sources))
	}
}

func (w *work) percentiles() (p50, p99 time.Duration) {
	all := slices.Concat(w.waited...)
	if len(all) == 0 {
		return 0, 0
	}
	slices.Sort(all)
	return all[len(all)/2], all[len(all)*99/100]
}

func bulk(ctx context.Context, p peer, w *work, n int) error {
	for range n {
		if err := p.start(ctx, w.sources[0].event()); err != nil {
			return err
		}
	}
	return p.flush(ctx)
}

func bytesOnly(ctx context.Context, p peer, w *work, n int) error {
	for i := range n {
		if err := p.startReady(ctx, &w.ready[i%len(w.ready)]); err != nil {
			return err
		}
	}
	return p.flush(ctx)
}

func synchronous(ctx context.Context, p peer, w *work, n int) error {
	var wg sync.WaitGroup
	var failed firstError
	for i, s := range w.sources {
		wg.Go(func() {
			for range n / len(w.sources) {
				before := time.Now()
				if err := p.publish(ctx, s.event()); err != nil {
					failed.set(err)
					return
				}
				if w.waited != nil {
					w.waited[i] = append(w.waited[i], time.Since(before))
				}
			}
		})
	}
	wg.Wait()
	return failed.get()
}

// meter reads what the process has used since startMeter.
type meter struct {
	began time.Time
	cpu   time.Duration
	mem   runtime.MemStats
	err   error
}

func startMeter() *meter {
	m := &meter{}
	runtime.ReadMemStats(&m.mem)
	m.cpu, m.err = cpuTime()
	m.began = time.Now()
	return m
}

func (m *meter) stop(events int) (result, error) {
	res := result{Events: events, Wall: time.Since(m.began)}
	cpu, err := cpuTime()
	if err := errors.Join(m.err, err); err != nil {
		return result{}, err
	}
	res.CPU = cpu - m.cpu
	var mem runtime.MemStats
	runtime.ReadMemStats(&mem)
	res.Mallocs = mem.Mallocs - m.mem.Mallocs
	res.RSS, err = peakRSS()
	return res, err
}

func cpuTime() (time.Duration, error) {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0, fmt.Errorf("getrusage: %w", err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano()), nil
}

// peakRSS asks /proc: getrusage's maximum begins with that of the process that started this one.
func peakRSS() (uint64, error) {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0, fmt.Errorf("the resident memory is measured on Linux only: %w", err)
	}
	for line := range bytes.Lines(status) {
		if kb, ok := bytes.CutPrefix(line, []byte("VmHWM:")); ok {
			n, err := strconv.ParseUint(string(bytes.TrimSpace(bytes.TrimSuffix(bytes.TrimSpace(kb), []byte("kB")))), 10, 64)
			return n << 10, err
		}
	}
	return 0, errors.New("/proc/self/status has no VmHWM")
}
