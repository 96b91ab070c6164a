// Command soak publishes to a real Kafka of its own while it breaks everything in between, and then counts what is lost,
// doubled and reordered.
//
// The publisher is verifydriver, a process of its own; its brokers are reached through a proxy that loses replies, cuts
// requests and connections, delivers requests late, and holds everything back. The brokers are killed and restarted, and made to
// forget the publisher; the publisher is stopped for a while. What the publisher was told is held against what kafka-go's Reader, which
// shares no code with our engine but the codec of requests, then finds in the topic, without the proxy:
//
//   - every acknowledged event stands there once, and in the order of its key;
//   - every event that surely was not written is absent;
//   - every event that may be written stands there once at most, and in the order of its key;
//   - each event has exactly one answer, one second after its deadline at the latest;
//   - no event fails where the fault is over well before the deadline.
//
// The exit code is 1 when one of these does not hold. The brokers are started by .ci/kafka, whose variable KAFKA_HOME_CACHE
// counts here too.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// settings are what the command line says.
type settings struct {
	duration time.Duration
	deadline time.Duration
	rate     int
	nodes    int
	seed     uint64
	only     string
	dir      string
	race     bool
	root     string // of the repository
}

func main() {
	var s settings
	flag.DurationVar(&s.duration, "duration", 5*time.Minute, "how long faults happen, all kinds together; start and check come on top")
	flag.DurationVar(&s.deadline, "deadline", 15*time.Second, "the publisher's MessageTimeout")
	flag.IntVar(&s.rate, "rate", 500, "events per second")
	flag.IntVar(&s.nodes, "nodes", 1, "brokers: 1, or 3 for a cluster")
	flag.Uint64Var(&s.seed, "seed", uint64(time.Now().UnixNano()), "of what is left to chance; default: the time")
	flag.StringVar(&s.only, "only", "", "kinds of faults, by parts of their names with commas between; default: all of them")
	flag.StringVar(&s.dir, "dir", "", "folder for the brokers' data and all logs; default: a temporary one, removed when all was well")
	flag.BoolVar(&s.race, "race", false, "build the publisher with the race detector")
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
	if s.deadline < 3*time.Second || s.rate < 1 || s.nodes < 1 || s.nodes > 9 || flag.NArg() > 0 {
		return errors.New("wrong call: -deadline is at least 3s, -rate above zero, -nodes from 1 to 9, and there are no arguments; see -h")
	}
	plan, err := planOf(s)
	if err != nil {
		return err
	}
	work, err := exec.CommandContext(ctx, "go", "env", "GOWORK").Output()
	if err != nil {
		return fmt.Errorf("go env GOWORK: %w", err)
	}
	s.root = filepath.Dir(strings.TrimSpace(string(work)))
	if s.dir == "" {
		if s.dir, err = os.MkdirTemp("", "soak-"); err != nil {
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
	slog.Info("Starting", slog.String("dir", s.dir), slog.Uint64("seed", s.seed), slog.Int("nodes", s.nodes))
	k, err := startKafka(ctx, s)
	if err != nil {
		return err
	}
	defer k.stop(ctx)
	net, err := newNetwork(ctx, k)
	if err != nil {
		return err
	}
	defer net.close()
	topic, err := k.createTopic(ctx)
	if err != nil {
		return err
	}
	book := newLedger(s.deadline, s.seed)
	d, err := startDriver(ctx, s, net.addresses(), topic, book)
	if err != nil {
		return err
	}
	defer d.kill()
	if err := plan.play(ctx, &stage{settings: s, kafka: k, net: net, driver: d, book: book, topic: topic}); err != nil {
		return err
	}
	if err := d.finish(s.deadline + 10*time.Second); err != nil {
		return err
	}
	if err := net.settled(ctx); err != nil {
		return err
	}
	records, err := k.read(ctx, topic)
	if err != nil {
		return err
	}
	return book.report(records, d.peak)
}
