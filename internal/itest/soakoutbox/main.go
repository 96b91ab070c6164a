// Command soakoutbox has everything between a row and its effect die, freeze and lose its connections, over a real Kafka, and compares
// what is left in the end: the business table, the topic, and the consumer's table.
//
// Services with an outbox and its relay (verifydriver -role outbox) and consumers with an inbox (-role effect) work on PostgreSQL, and
// others of the same kind on SQLite. They kill themselves at the places where that could do harm, are killed at any other time, are
// stopped for longer than their lease, and are started again; meanwhile the broker is restarted and killed, and PostgreSQL ends connections.
// In the end, for each database:
//
//   - what was answered as committed is in the business table, and what was rolled back is not;
//   - the topic has the events of the business table, each exactly once, and those of a key in the order of their transactions;
//   - the consumer's table has the effect of each exactly once.
//
// The exit code is 1 when one of these does not hold. The last line is a summary in JSON. PostgreSQL is the one that -postgres or
// TEST_POSTGRES_DSN names (.ci/with-services brings one), without it there is SQLite alone; the broker is started by .ci/kafka.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"
)

// settings are what the command line says.
type settings struct {
	duration, lease                 time.Duration
	rate, keys, services, consumers int
	rollbacks, die                  float64
	postgres, dir, root, vd         string
	seed                            uint64
}

func main() {
	var s settings
	flag.DurationVar(&s.duration, "duration", 5*time.Minute, "how long things go wrong; start, recovery and check come on top")
	flag.DurationVar(&s.lease, "lease", 2*time.Second, "the relays' lease")
	flag.IntVar(&s.rate, "rate", 100, "transactions per second for each database")
	flag.IntVar(&s.keys, "keys", 40, "keys of the events")
	flag.IntVar(&s.services, "services", 3, "services, each with a relay, for each database")
	flag.IntVar(&s.consumers, "consumers", 2, "consumers for each database")
	flag.Float64Var(&s.rollbacks, "rollbacks", 0.1, "the part of the transactions that is rolled back")
	flag.Float64Var(&s.die, "die", 0.001, "the probability of a death at each place where it could do harm")
	flag.StringVar(&s.postgres, "postgres", os.Getenv("TEST_POSTGRES_DSN"), "`URL` of a PostgreSQL; each run takes a schema of its own. Default: TEST_POSTGRES_DSN")
	flag.Uint64Var(&s.seed, "seed", uint64(time.Now().UnixNano()), "of what is left to chance; default: the time")
	flag.StringVar(&s.dir, "dir", "", "folder for the data and all logs; default: a temporary one, removed when all was well")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, s)
	stop()
	if err != nil {
		slog.Error("The soak has failed", slog.Any("error", err))
		os.Exit(1)
	}
}

func run(ctx context.Context, s settings) (err error) {
	if s.lease < time.Second || s.rate < 1 || s.keys < 1 || s.services < 1 || s.consumers < 1 || s.rollbacks < 0 || s.rollbacks >= 1 || s.die < 0 || s.die >= 1 || flag.NArg() > 0 {
		return errors.New("wrong call: -lease is a second at least, numbers are above zero, probabilities below one, and there are no arguments; see -h")
	}
	work, err := exec.CommandContext(ctx, "go", "env", "GOWORK").Output()
	if err != nil {
		return fmt.Errorf("go env GOWORK: %w", err)
	}
	s.root = filepath.Dir(strings.TrimSpace(string(work)))
	if s.dir == "" {
		if s.dir, err = os.MkdirTemp("", "soakoutbox-"); err != nil {
			return err
		}
		defer func() {
			if err == nil {
				err = os.RemoveAll(s.dir)
			}
		}()
	}
	if s.dir, err = filepath.Abs(s.dir); err != nil {
		return err
	}
	if err := os.MkdirAll(s.dir, 0o750); err != nil {
		return err
	}
	slog.Info("Starting", slog.String("dir", s.dir), slog.Uint64("seed", s.seed))
	s.vd = filepath.Join(s.dir, "verifydriver")
	if out, err := exec.CommandContext(ctx, "go", "build", "-o", s.vd, filepath.Join(s.root, "internal/itest/verifydriver")).CombinedOutput(); err != nil { //nolint:gosec // our own command
		return fmt.Errorf("build verifydriver: %w\n%s", err, out)
	}
	k, err := startKafka(ctx, &s)
	if err != nil {
		return err
	}
	defer k.stop(context.WithoutCancel(ctx))
	return soak(ctx, s, k)
}

func soak(ctx context.Context, s settings, k *kafka) (err error) {
	random := rand.New(rand.NewPCG(s.seed, 1)) //nolint:gosec // nobody guards against it
	var worlds []*world
	for _, kind := range []string{"sqlite", "postgres"} {
		if kind == "postgres" && s.postgres == "" {
			slog.Warn("There is no PostgreSQL: SQLite alone. See -h")
			continue
		}
		w, err := newWorld(ctx, s, kind, k)
		if err != nil {
			return err
		}
		defer w.close()
		worlds = append(worlds, w)
	}
	until := time.Now().Add(s.duration)
	faulty, healed := context.WithDeadline(ctx, until)
	defer healed()
	var wg sync.WaitGroup
	for _, w := range worlds {
		wg.Go(func() { w.feed(faulty) })
	}
	blows := map[string]int{}
	progress := time.NewTicker(30 * time.Second)
	defer progress.Stop()
	for faulty.Err() == nil {
		select {
		case <-progress.C:
			for _, w := range worlds {
				slog.Info("Going on", slog.String("database", w.kind), slog.Int("answered", w.answered()), slog.Int("deaths", w.deaths()))
			}
			continue
		case <-time.After(time.Duration(300+random.IntN(1200)) * time.Millisecond):
		case <-faulty.Done():
			continue
		}
		w := worlds[random.IntN(len(worlds))]
		what, err := w.strike(faulty, random, k)
		if err != nil && faulty.Err() == nil {
			return err
		}
		blows[what]++
	}
	wg.Wait()
	if ctx.Err() != nil {
		return ctx.Err()
	}
	slog.Info("Nothing goes wrong any more; the rest is settled")
	out := summary{Seconds: s.duration.Seconds(), Blows: blows, Worlds: map[string]verdict{}}
	for _, w := range worlds {
		v, werr := w.settle(ctx, k)
		out.Worlds[w.kind] = v
		err = errors.Join(err, werr)
	}
	line, jerr := json.Marshal(out)
	if jerr != nil {
		return jerr
	}
	_, perr := fmt.Fprintln(os.Stdout, string(line))
	return errors.Join(err, perr)
}

// summary is the last line.
type summary struct {
	Seconds float64            `json:"seconds"`
	Blows   map[string]int     `json:"blows"`
	Worlds  map[string]verdict `json:"databases"`
}
