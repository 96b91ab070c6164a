// Command soakconsume has a consumer group live through everything that can happen to its members, over a real Kafka, and counts what
// is lost, reordered, and handled twice or by two at once.
//
// The group is mixed: processes of ours (verifydriver), of Kafka's own Java client and of franz-go. They are started, asked to
// end, killed, and stopped for longer than their session, while records of many keys come at a steady rate. All members write
// what they begin and finish to one pipe, so that there is one order of it all:
//
//   - every acknowledged record is handled;
//   - the records of a key are begun for the first time in order, each after the one before was finished;
//   - no two members are at a key at once, a handler that a SIGSTOP caught in the middle aside;
//   - what is handled again had been finished by a member that was killed or stopped just afterwards, before it could commit, which
//     it cannot while the group waits for the assignment of a leader that is frozen;
//   - a member that is asked to end does so in time, and with exit code 0;
//   - in the end the group's lag is zero;
//   - the memory of our members stays small.
//
// The exit code is 1 when one of these does not hold. The summary is the last line of the output, in JSON. Needs java and javac
// unless -java is 0; the broker is started by .ci/kafka, whose variable KAFKA_HOME_CACHE counts here too, unless -brokers names one.
package main

import (
	"bufio"
	"context"
	"encoding/json"
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

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// settings are what the command line says.
type settings struct {
	duration, session, work               time.Duration
	rate, keys, size, partitions          int
	ourMembers, javaMembers, franzMembers int
	mode, brokers, libs, dir, root        string
	seed                                  uint64
	race                                  bool
}

func main() {
	var s settings
	flag.DurationVar(&s.duration, "duration", 5*time.Minute, "how long members come and go; start and check come on top")
	flag.StringVar(&s.mode, "mode", "cooperative", "cooperative: every member offers `cooperative-sticky` alone; eager: the libraries' defaults, range for franz-go")
	flag.DurationVar(&s.session, "session", 10*time.Second, "the members' session timeout")
	flag.DurationVar(&s.work, "work", time.Millisecond, "how long a record takes")
	flag.IntVar(&s.rate, "rate", 1500, "records per second")
	flag.IntVar(&s.keys, "keys", 200, "keys of the records")
	flag.IntVar(&s.size, "size", 100, "bytes of padding in a record")
	flag.IntVar(&s.partitions, "partitions", 12, "partitions of the topic")
	flag.IntVar(&s.ourMembers, "ours", 4, "members of ours; every third of them is static")
	flag.IntVar(&s.javaMembers, "java", 1, "members by Kafka's Java client")
	flag.IntVar(&s.franzMembers, "franz", 1, "members by franz-go")
	flag.StringVar(&s.brokers, "brokers", "", "a Kafka that runs already; KAFKA_TEST_LIBS then names its jars for -java. Default: one of its own")
	flag.Uint64Var(&s.seed, "seed", uint64(time.Now().UnixNano()), "of what is left to chance; default: the time")
	flag.StringVar(&s.dir, "dir", "", "folder for the broker's data and all logs; default: a temporary one, removed when all was well")
	flag.BoolVar(&s.race, "race", false, "build our members with the race detector")
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
	if s.session < 6*time.Second || s.rate < 1 || s.keys < 1 || s.partitions < 1 || s.size < 0 || s.work < 0 || s.ourMembers < 2 ||
		s.javaMembers < 0 || s.franzMembers < 0 || s.mode != "cooperative" && s.mode != "eager" || flag.NArg() > 0 {
		return errors.New("wrong call: -mode is cooperative or eager, -session at least 6s, -ours at least 2, numbers not negative, and there are no arguments; see -h")
	}
	work, err := exec.CommandContext(ctx, "go", "env", "GOWORK").Output()
	if err != nil {
		return fmt.Errorf("go env GOWORK: %w", err)
	}
	s.root = filepath.Dir(strings.TrimSpace(string(work)))
	if s.dir == "" {
		if s.dir, err = os.MkdirTemp("", "soakconsume-"); err != nil {
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
	slog.Info("Starting", slog.String("dir", s.dir), slog.Uint64("seed", s.seed), slog.String("mode", s.mode))
	stop, err := startKafka(ctx, &s)
	if err != nil {
		return err
	}
	defer stop()
	return soak(ctx, s)
}

func soak(ctx context.Context, s settings) error {
	cl, err := kgo.NewClient(kgo.SeedBrokers(strings.Split(s.brokers, ",")...), kgo.UnknownTopicRetries(-1), kgo.MaxBufferedRecords(100_000))
	if err != nil {
		return err
	}
	defer cl.Close()
	admin := kadm.NewClient(cl)
	name := fmt.Sprintf("soakconsume.%s.%d", s.mode, time.Now().UnixNano())
	if _, err := admin.CreateTopic(ctx, int32(s.partitions), 1, nil, name); err != nil { //nolint:gosec // a small number
		return fmt.Errorf("create the topic: %w", err)
	}
	defer func() { _, _ = admin.DeleteTopics(context.WithoutCancel(ctx), name, name+"-dlt") }()
	reader, writer, err := os.Pipe()
	if err != nil {
		return err
	}
	b := newBook(3*time.Second, s.session)
	t := &troupe{settings: s, topic: name, group: name, lines: writer, book: b, peaks: map[string]int{}}
	t.brokers = s.brokers
	if err := t.build(ctx); err != nil {
		return err
	}
	read := make(chan struct{})
	go func() {
		defer close(read)
		for lines := bufio.NewScanner(reader); lines.Scan(); {
			b.line(lines.Text(), time.Now())
		}
	}()
	c := newChurn(t)
	defer c.killAll()
	if err := c.raise(); err != nil {
		return err
	}
	producing, enough := context.WithCancel(ctx)
	produced := make(chan error, 1)
	go func() { produced <- produce(producing, cl, s, name, b) }()
	begin := time.Now()
	playErr := c.play(ctx, begin.Add(s.duration))
	enough()
	if err := <-produced; err != nil {
		return fmt.Errorf("produce: %w", err)
	}
	if playErr != nil {
		return playErr
	}
	settled := c.settle(ctx, admin)
	endErr := c.endAll()
	_ = writer.Close()
	t.logs.Wait()
	<-read
	return c.report(settled, endErr, time.Since(begin))
}

// summary is the last line of the output.
type summary struct {
	Mode            string           `json:"mode"`
	Seed            uint64           `json:"seed"`
	Seconds         float64          `json:"seconds"`
	Records         int              `json:"records"`
	Handled         int              `json:"handled"`
	HandledBy       map[string]int   `json:"handledFirstBy"`
	Missing         int              `json:"missing"`
	Again           map[string]int   `json:"handledAgainAfter"`
	OldestAgainMS   int64            `json:"handledAgainFinishedAtMostMsBefore"`
	RefusedMS       int64            `json:"commitsRefusedAtMostMs"`
	CutHandlers     int              `json:"handlersCaughtBySigstop"`
	Lag             int64            `json:"lag"`
	CatchUpSeconds  float64          `json:"catchUpSeconds"`
	Churn           map[string]int   `json:"churn"`
	SlowestExitMS   map[string]int64 `json:"slowestExitMs"`
	PeakMiB         map[string]int   `json:"peakMiB"`
	Violations      int              `json:"violations"`
	ViolationsShown []string         `json:"violationsShown,omitempty"`
}

func (c *churn) report(st settled, endErr error, took time.Duration) error {
	missing, some := c.t.book.missing()
	b := c.t.book
	b.mu.Lock()
	defer b.mu.Unlock()
	sum := summary{
		Mode: c.t.mode, Seed: c.t.seed, Seconds: took.Seconds(), Records: b.acked, Handled: b.handled, HandledBy: b.byKind, Missing: missing,
		Again: map[string]int{}, OldestAgainMS: b.oldest.Milliseconds(), RefusedMS: b.blocked.Milliseconds(), CutHandlers: b.cut, Lag: st.lag, CatchUpSeconds: st.took.Seconds(),
		Churn: c.done, SlowestExitMS: map[string]int64{}, PeakMiB: map[string]int{}, Violations: b.wrongs, ViolationsShown: b.wrong,
	}
	for f, n := range b.again {
		sum.Again[f.String()] = n
	}
	for kind, d := range c.slowest {
		sum.SlowestExitMS[kind] = d.Milliseconds()
	}
	for kind, kib := range c.t.peaks {
		sum.PeakMiB[kind] = kib / 1024
	}
	var problems []error
	if endErr != nil {
		problems = append(problems, endErr)
	}
	if missing > 0 {
		problems = append(problems, fmt.Errorf("%d records were never handled, such as %v", missing, some))
	}
	if b.wrongs > 0 {
		problems = append(problems, fmt.Errorf("%d violations, such as: %s", b.wrongs, b.wrong[0]))
	}
	if b.blocked > 3*c.t.session {
		problems = append(problems, fmt.Errorf("a member's commits were refused for %v, which is longer than a group waits for a frozen leader", b.blocked))
	}
	if st.lag != 0 {
		problems = append(problems, fmt.Errorf("the lag is %d in the end", st.lag))
	}
	if !c.t.race && sum.PeakMiB["ours"] > mostMiB {
		problems = append(problems, fmt.Errorf("a member of ours had %d MiB, more than %d", sum.PeakMiB["ours"], mostMiB))
	}
	if err := json.NewEncoder(os.Stdout).Encode(sum); err != nil {
		return err
	}
	return errors.Join(problems...)
}

// mostMiB is what a member of ours may have resident at its peak.
const mostMiB = 96
