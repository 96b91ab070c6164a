package main

import (
	"bufio"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib" // the driver pgx
	_ "modernc.org/sqlite"             // the driver sqlite
)

// world is one database with its services, its topic and its consumers.
type world struct {
	settings

	kind, dsn, topic, brokers string
	db                        *sql.DB
	cleanup                   []func()

	services, consumers []*process
	next                atomic.Int64 // order
	healed              atomic.Bool  // whoever is started from now on does not die by itself
	stopping            atomic.Bool

	mu        sync.Mutex
	asked     map[string]byte   // what is to become of it: c or r
	told      map[string]string // id: C or R
	diedAt    map[string]int    // by place
	killed    int
	frozen    int
	restarted int
}

func newWorld(ctx context.Context, s settings, kind string, k *kafka) (*world, error) {
	w := &world{settings: s, kind: kind, brokers: k.brokers, asked: map[string]byte{}, told: map[string]string{}, diedAt: map[string]int{}}
	name := fmt.Sprintf("soak%s%d", kind, time.Now().UnixNano())
	w.topic = "soakoutbox." + name
	if err := k.create(ctx, w.topic, 6); err != nil {
		return nil, fmt.Errorf("create the topic: %w", err)
	}
	if kind == "sqlite" {
		w.dsn = filepath.Join(s.dir, "soak.db")
		db, err := sql.Open("sqlite", "file:"+w.dsn+"?_pragma=busy_timeout(20000)&_txlock=immediate")
		if err != nil {
			return nil, err
		}
		w.db = db
	} else {
		admin, err := sql.Open("pgx", s.postgres)
		if err != nil {
			return nil, err
		}
		if _, err := admin.ExecContext(ctx, "CREATE SCHEMA "+name); err != nil {
			return nil, err
		}
		w.cleanup = append(w.cleanup, func() {
			_, _ = admin.ExecContext(context.WithoutCancel(ctx), "DROP SCHEMA "+name+" CASCADE") // it was for this run alone
			_ = admin.Close()
		})
		u, err := url.Parse(s.postgres)
		if err != nil {
			return nil, err
		}
		q := u.Query()
		q.Set("search_path", name)
		q.Set("application_name", name)
		u.RawQuery = q.Encode()
		w.dsn = u.String()
		if w.db, err = sql.Open("pgx", w.dsn); err != nil {
			return nil, err
		}
	}
	for i := range s.services {
		w.services = append(w.services, w.start(fmt.Sprintf("service-%d", i), "-role", "outbox", "-lease", s.lease.String()))
	}
	for i := range s.consumers {
		w.consumers = append(w.consumers, w.start(fmt.Sprintf("consumer-%d", i), "-role", "effect", "-group", "effect."+name, "-session", "6s"))
	}
	return w, nil
}

func (w *world) close() {
	w.stopping.Store(true)
	for _, p := range append(w.services, w.consumers...) {
		p.kill()
		<-p.over
	}
	_ = w.db.Close()
	for _, f := range w.cleanup {
		f()
	}
}

// process is a verifydriver that is started again whenever it has died.
type process struct {
	name string
	over chan struct{} // closed when it is not started again

	mu      sync.Mutex
	cmd     *exec.Cmd
	stdin   io.WriteCloser
	frozen  bool
	ended   bool              // its input has ended
	waiting map[string]string // id: the line, of what was not answered
	failed  error
}

func (w *world) start(name string, args ...string) *process {
	p := &process{name: name, over: make(chan struct{}), waiting: map[string]string{}}
	args = append(args, "-brokers", w.brokers, "-topic", w.topic, "-dsn", w.dsn)
	first := make(chan struct{})
	go func() {
		defer close(p.over)
		for n := 0; ; n++ {
			err := w.once(p, n, first, args)
			if w.stopping.Load() || err == nil {
				return
			}
			if exit, ok := errors.AsType[*exec.ExitError](err); !ok || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL { //nolint:forcetypeassert // on Unix
				p.mu.Lock()
				p.failed = fmt.Errorf("%s %s ended by itself: %w; see its log in %s", w.kind, name, err, w.dir)
				p.mu.Unlock()
				return
			}
			w.mu.Lock()
			w.restarted++
			w.mu.Unlock()
		}
	}()
	<-first
	return p
}

// once runs the process until it ends.
func (w *world) once(p *process, n int, first chan struct{}, args []string) error {
	die := w.die
	p.mu.Lock()
	if w.healed.Load() {
		die = 0
	}
	cmd := exec.Command(w.vd, append(args, "-die", fmt.Sprint(die))...) //nolint:gosec,noctx // our own command, which is ended by signals
	log, err := os.OpenFile(filepath.Join(w.dir, w.kind+"-"+p.name+".log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		p.mu.Unlock()
		return err
	}
	defer func() { _ = log.Close() }()
	cmd.Stderr = log
	stdin, err := cmd.StdinPipe()
	if err == nil {
		var stdout io.ReadCloser
		if stdout, err = cmd.StdoutPipe(); err == nil {
			if err = cmd.Start(); err == nil {
				p.cmd, p.stdin, p.frozen = cmd, stdin, false
				for _, line := range p.waiting { // it has not heard of these, or not answered
					_, _ = io.WriteString(stdin, line) // it may be dead already
				}
				if p.ended {
					_ = stdin.Close()
				}
				p.mu.Unlock()
				if n == 0 {
					close(first)
				}
				for lines := bufio.NewScanner(stdout); lines.Scan(); {
					w.line(p, lines.Text())
				}
				return cmd.Wait()
			}
		}
	}
	p.mu.Unlock()
	if n == 0 {
		close(first)
	}
	return err
}

func (w *world) line(p *process, text string) {
	kind, rest, _ := strings.Cut(text, " ")
	w.mu.Lock()
	defer w.mu.Unlock()
	if kind == "D" {
		w.diedAt[rest]++
		return
	}
	w.told[rest] = kind
	p.mu.Lock()
	delete(p.waiting, rest)
	p.mu.Unlock()
}

// feed asks for transactions, one service after the other, until ctx ends.
func (w *world) feed(ctx context.Context) {
	tick := time.NewTicker(time.Second / time.Duration(w.rate))
	defer tick.Stop()
	random := rand.New(rand.NewPCG(w.seed, uint64(len(w.kind)))) //nolint:gosec // a small number
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		n := w.next.Add(1)
		id, key, how := fmt.Sprintf("%s-%07d", w.kind, n), fmt.Sprintf("k%02d", random.IntN(w.keys)), byte('c')
		if random.Float64() < w.rollbacks {
			how = 'r'
		}
		w.mu.Lock()
		w.asked[id] = how
		w.mu.Unlock()
		p := w.services[int(n)%len(w.services)]
		line := fmt.Sprintf("%s %s %d %c\n", id, key, 300+random.IntN(700), how)
		p.mu.Lock()
		p.waiting[id] = line
		_, _ = p.stdin.Write([]byte(line)) // if it is dead, the next one gets it
		p.mu.Unlock()
	}
}

func (w *world) answered() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.told)
}

func (w *world) deaths() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.restarted
}

// strike makes something go wrong, and returns what.
func (w *world) strike(ctx context.Context, random *rand.Rand, k *kafka) (string, error) {
	all := append(append([]*process{}, w.services...), w.consumers...)
	p := all[random.IntN(len(all))]
	switch n := random.IntN(100); {
	case n < 55:
		p.kill()
		w.mu.Lock()
		w.killed++
		w.mu.Unlock()
		return "killed", nil
	case n < 75:
		go p.freeze(time.Duration(1.5 * float64(w.lease)))
		w.mu.Lock()
		w.frozen++
		w.mu.Unlock()
		return "frozen", nil
	case n < 92:
		if w.kind != "postgres" {
			return "nothing", nil
		}
		_, err := w.db.ExecContext(ctx, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = current_schema() AND pid <> pg_backend_pid()")
		return "connections ended", err
	case n < 96:
		return "broker restarted", k.bounce(ctx, "stop")
	default:
		return "broker killed", k.bounce(ctx, "kill")
	}
}

func (p *process) kill() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cmd != nil {
		_ = p.cmd.Process.Kill() // it may be dead already
	}
}

func (p *process) freeze(d time.Duration) {
	p.mu.Lock()
	cmd := p.cmd
	if cmd == nil || p.frozen {
		p.mu.Unlock()
		return
	}
	p.frozen = true
	p.mu.Unlock()
	_ = cmd.Process.Signal(syscall.SIGSTOP) // it may be dead already
	time.Sleep(d)                           //nolint:forbidigo // so long it is to stand still
	_ = cmd.Process.Signal(syscall.SIGCONT) // likewise
	p.mu.Lock()
	p.frozen = false
	p.mu.Unlock()
}

// finish ends the input, and waits until the process has done everything.
func (p *process) finish(ctx context.Context) error {
	p.mu.Lock()
	p.ended = true
	_ = p.stdin.Close() // it may be dead already; the next one gets no more either
	p.mu.Unlock()
	select {
	case <-p.over:
	case <-ctx.Done():
		return fmt.Errorf("%s does not end: %w", p.name, ctx.Err())
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.failed
}

func (w *world) log(what string, attrs ...any) {
	slog.Info(what, append([]any{slog.String("database", w.kind)}, attrs...)...)
}
