package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// runLimit is how long one run may take: a client that hangs must not hang the others.
const runLimit = 5 * time.Minute

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := command(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	switch {
	case errors.Is(err, flag.ErrHelp):
	case err != nil:
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// settings are the command line's.
type settings struct {
	brokers   []string
	peers     []offer
	left      []string // peers that this build lacks, and why
	scenarios []scenario
	events    int
	rounds    int
	topic     string // of a child; empty: this process starts the children
}

func parse(args []string, getenv func(string) string, stderr io.Writer) (settings, error) {
	f := flag.NewFlagSet("bench", flag.ContinueOnError)
	f.SetOutput(stderr)
	f.Usage = func() {
		say(stderr, `bench compares our publisher with other Kafka clients on a real broker and
prints tables in Markdown. It makes topics named bench.* and deletes them.

`)
		f.PrintDefaults()
		say(stderr, "\nPeers:\n")
		for _, o := range offers() {
			say(stderr, "  %-16s  %s\n", o.name, cmp.Or(o.how, "not in this build: "+o.missing))
		}
		say(stderr, "\nScenarios:\n")
		for _, s := range scenarios() {
			say(stderr, "  %-16s  %s\n", s.name, s.title)
		}
	}
	brokers := f.String("brokers", getenv("KAFKA_BOOTSTRAP_SERVERS"), "`host:port`, comma-separated; by default $KAFKA_BOOTSTRAP_SERVERS")
	peers := f.String("peers", "all", "the clients, comma-separated")
	what := f.String("scenarios", "all", "what to measure, comma-separated")
	var s settings
	f.IntVar(&s.events, "events", 200_000, "`number` of events of a bulk run; synchronous runs have a part of it")
	f.IntVar(&s.rounds, "rounds", 3, "how often each client runs each scenario; the medians are printed")
	f.StringVar(&s.topic, "one", "", "for bench's own use: the `topic` of a single run in this process")
	if err := f.Parse(args); err != nil {
		return settings{}, err
	}
	if f.NArg() > 0 {
		return settings{}, fmt.Errorf("unexpected argument %q; -h explains", f.Arg(0))
	}
	if *brokers == "" {
		return settings{}, errors.New("no broker: set KAFKA_BOOTSTRAP_SERVERS or -brokers, or let make bench-peers start one")
	}
	s.brokers = strings.Split(*brokers, ",")
	if s.events < 1 || s.rounds < 1 {
		return settings{}, errors.New("-events and -rounds must be at least 1")
	}
	var err, err2 error
	s.peers, s.left, err = choose(offers(), *peers)
	s.scenarios, err2 = chooseScenarios(*what)
	return s, errors.Join(err, err2)
}

func command(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	s, err := parse(args, os.Getenv, stderr)
	if err != nil {
		return err
	}
	if s.topic != "" {
		return child(ctx, s, stdout)
	}
	r, err := measure(ctx, s, stderr)
	if err != nil {
		return err
	}
	return r.print(stdout)
}

// child makes the one run that its parent asks for and prints its result.
func child(ctx context.Context, s settings, stdout io.Writer) error {
	if len(s.peers) != 1 || len(s.scenarios) != 1 {
		return errors.New("-one needs one of -peers and one of -scenarios")
	}
	res, err := run(ctx, s.peers[0], s.scenarios[0], s.brokers, s.topic, s.events)
	if err != nil {
		return err
	}
	return json.NewEncoder(stdout).Encode(res)
}

// measure has every client make every run, interleaved.
func measure(ctx context.Context, s settings, progress io.Writer) (*report, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	for _, left := range s.left {
		say(progress, "left out: %s\n", left)
	}
	c := newCluster(s.brokers)
	r := newReport(s)
	for round := range s.rounds {
		for _, sc := range s.scenarios {
			for i := range s.peers {
				o := s.peers[(i+round)%len(s.peers)] // nobody is always first
				if !o.takes(sc) {
					continue
				}
				res, err := one(ctx, c, self, s, o, sc)
				if err != nil {
					return nil, fmt.Errorf("%s, %s: %w", o.name, sc.name, err)
				}
				r.add(sc, o, res)
				say(progress, "round %d/%d  %-14s %-16s %7.2f CPU s/1M %9.0f events/s\n", round+1, s.rounds, sc.name, o.name, res.cpuPerMillion(), res.rate())
			}
		}
	}
	return r, nil
}

// one makes a run in a process and a topic of its own.
func one(ctx context.Context, c *cluster, self string, s settings, o offer, sc scenario) (res result, err error) {
	ctx, cancel := context.WithTimeout(ctx, runLimit)
	defer cancel()
	topic, err := c.create(ctx)
	if topic != "" {
		defer func() {
			ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 30*time.Second)
			defer cancel()
			err = errors.Join(err, c.remove(ctx, topic))
		}()
	}
	if err != nil {
		return result{}, err
	}
	cmd := exec.CommandContext(ctx, self, "-one", topic, "-brokers", strings.Join(s.brokers, ","), //nolint:gosec // this program itself
		"-peers", o.name, "-scenarios", sc.name, "-events", strconv.Itoa(s.events))
	var out, complaints bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &complaints
	if err := cmd.Run(); err != nil {
		if ctx.Err() != nil {
			err = errors.Join(context.Cause(ctx), err)
		}
		return result{}, fmt.Errorf("%w\n%s", err, tail(complaints.String(), 2000))
	}
	if err := json.Unmarshal(out.Bytes(), &res); err != nil {
		return result{}, fmt.Errorf("the run's result: %w: %q", err, out.String())
	}
	n, warmup := sc.count(s.events)
	if res.Events != n {
		return result{}, fmt.Errorf("%d events were asked for, %d were measured", n, res.Events)
	}
	return res, c.verify(ctx, topic, n+warmup)
}

func tail(s string, n int) string {
	if len(s) > n {
		return "…" + s[len(s)-n:]
	}
	return s
}

// say writes to the terminal, whose failure is nobody's concern.
func say(w io.Writer, format string, args ...any) { _, _ = fmt.Fprintf(w, format, args...) }
