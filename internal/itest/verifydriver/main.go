// Command verifydriver lets an outside checker drive the library by lines of text, on the public API alone.
//
// As a producer it reads one event per line and says how each of them ended:
//
//	verifydriver -role produce -brokers B -topic T -deadline 30s
//	  stdin   <id> <key> <size>   publish: the record's key is key, its value JSON with the id, of about size bytes
//	  stdout  S <id>              the call begins
//	          A <id>              acknowledged
//	          N <id> text         failed, surely not written
//	          E <id> text         failed, may be written
//	EOF has everything settled; SIGTERM closes within the deadline. Every id is answered in both cases.
//
// As a consumer it says what was handled:
//
//	verifydriver -role consume -brokers B -topic T -group G -work 1ms -workers 16 -session 6s
//	  stdout  B <id>              the handler was entered
//	          H <id>              the handler returned nil
//	-name N has each line end with " N", so that several members can share a pipe; -balancers and -instance set the member's options.
//	SIGTERM has the handlers finish, commits and leaves the group.
//	A value is "<id> <padding>" or the JSON of the producer. One that is neither has no lines and goes to T-dlt.
//
// As a service with an outbox it keeps books, and publishes what they say:
//
//	verifydriver -role outbox -brokers B -topic T -dsn DSN
//	  stdin   <id> <key> <size> c|r   in one transaction: lock the key's row in agg(k, seq) and raise seq, a row biz(id, k, seq),
//	                                  the event into the outbox; then commit (c) or roll back (r)
//	  stdout  C <id>                  committed
//	          R <id>                  rolled back
//	An id that biz has already is answered C at once: whoever was killed before it could answer is asked again. Lines of one
//	key are worked on in their order. EOF relays until the outbox is empty. SIGTERM answers what was begun, and ends.
//
// As a consumer with an effect it writes one row effect(id, k) for each record, through the inbox, in the handler's transaction:
//
//	verifydriver -role effect -brokers B -topic T -group G -dsn DSN
//
// A DSN is a postgres:// URL, or else a SQLite file; tables are made where they are missing. -die P has the process kill itself with
// probability P at each of the places where that could do harm, after a line "D <place>".
//
// The library's log goes to stderr. The exit code is 0 when all went as asked, 1 when it did not, 2 for a wrong call.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/expensevault/sharedlibrary/messaging"
)

// settings are what the command line says.
type settings struct {
	role     string
	topic    string
	group    string
	deadline time.Duration
	work     time.Duration
	workers  int
	session  time.Duration
	name     string
	instance string
	dsn      string
	lease    time.Duration
	die      float64
	balancer []messaging.Balancer
	kafka    messaging.Config
}

var errUsage = errors.New("wrong call")

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	err := run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr)
	stop()
	switch {
	case err == nil, errors.Is(err, flag.ErrHelp):
	case errors.Is(err, errUsage):
		_, _ = fmt.Fprintln(os.Stderr, "verifydriver:", err)
		os.Exit(2)
	default:
		_, _ = fmt.Fprintln(os.Stderr, "verifydriver:", err)
		os.Exit(1)
	}
}

// run plays the role until its input, or ctx, ends.
func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) error {
	s, err := parse(args, stderr)
	if err != nil {
		return err
	}
	log := slog.New(slog.NewTextHandler(stderr, nil))
	out := newLines(stdout)
	switch s.role {
	case "consume":
		return consume(ctx, s, out, log)
	case "outbox":
		return keepBooks(mortal(ctx, s.die, out), s, stdin, out, log)
	case "effect":
		return effect(mortal(ctx, s.die, out), s, log)
	}
	return produce(ctx, s, stdin, out, log)
}

func parse(args []string, stderr io.Writer) (settings, error) {
	s := settings{kafka: messaging.DefaultConfig()}
	flags := flag.NewFlagSet("verifydriver", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.StringVar(&s.role, "role", "", "`produce`, consume, outbox or effect")
	flags.StringVar(&s.kafka.BootstrapServers, "brokers", "", "`host:port` of brokers, with commas between")
	flags.StringVar(&s.topic, "topic", "", "the topic's `name`; it must exist")
	flags.DurationVar(&s.deadline, "deadline", 30*time.Second, "produce: how long an event may take from S to its answer")
	flags.StringVar(&s.group, "group", "", "consume: `name` of the consumer group")
	flags.DurationVar(&s.work, "work", 0, "consume: how long the handler takes")
	flags.IntVar(&s.workers, "workers", 16, "how many handlers, or transactions, may be at work at once")
	flags.DurationVar(&s.session, "session", 45*time.Second, "consume: the session timeout")
	flags.StringVar(&s.dsn, "dsn", "", "outbox, effect: `postgres://…`, or a SQLite file")
	flags.DurationVar(&s.lease, "lease", 2*time.Second, "outbox: for how long the shards of a relay that died stand still")
	flags.Float64Var(&s.die, "die", 0, "outbox, effect: the `probability` of a SIGKILL at each place where it could do harm")
	flags.StringVar(&s.name, "name", "", "consume: what stands behind the id in each line; default: nothing")
	flags.StringVar(&s.instance, "instance", "", "consume: the ID of a static member; default: a dynamic one")
	flags.Func("balancers", "consume: `cooperative-sticky` or range, or both with a comma between; default: the library's", s.addBalancers)
	if err := flags.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return s, err
		}
		return s, fmt.Errorf("%w: %w", errUsage, err)
	}
	return s, s.check(flags.Args())
}

func (s *settings) addBalancers(names string) error {
	for name := range strings.SplitSeq(names, ",") {
		switch name {
		case messaging.CooperativeSticky.String():
			s.balancer = append(s.balancer, messaging.CooperativeSticky)
		case messaging.Range.String():
			s.balancer = append(s.balancer, messaging.Range)
		default:
			return fmt.Errorf("%q is neither cooperative-sticky nor range", name)
		}
	}
	return nil
}

// check says what is missing, all at once.
func (s *settings) check(rest []string) error {
	var problems []error
	need := func(ok bool, format string, args ...any) {
		if !ok {
			problems = append(problems, fmt.Errorf(format, args...))
		}
	}
	switch s.role {
	case "produce":
		need(s.deadline > 0, "-deadline must be above zero, not %v", s.deadline)
	case "consume":
		need(s.group != "", "-group is missing")
		need(s.work >= 0, "-work must not be below zero, but is %v", s.work)
		need(s.workers > 0, "-workers must be above zero, not %d", s.workers)
	case "outbox":
		need(s.dsn != "", "-dsn is missing")
		need(s.workers > 0, "-workers must be above zero, not %d", s.workers)
		need(s.lease >= time.Second, "-lease must be a second or more, not %v", s.lease)
	case "effect":
		need(s.dsn != "", "-dsn is missing")
		need(s.group != "", "-group is missing")
		need(s.workers > 0, "-workers must be above zero, not %d", s.workers)
	default:
		return fmt.Errorf("%w: -role must be produce, consume, outbox or effect, not %q; see -h", errUsage, s.role)
	}
	need(s.die >= 0 && s.die < 1, "-die must be from 0 to below 1, not %v", s.die)
	need(s.kafka.BootstrapServers != "", "-brokers is missing")
	need(s.topic != "", "-topic is missing")
	need(len(rest) == 0, "unknown arguments %q", rest)
	if err := errors.Join(problems...); err != nil {
		return fmt.Errorf("%w: -role %s: %w", errUsage, s.role, err)
	}
	s.kafka.ClientID = "verifydriver"
	if s.role == "produce" {
		s.kafka.MessageTimeout = s.deadline
	}
	if s.role == "produce" || s.role == "outbox" {
		s.kafka.Topics = map[string]string{(*verified)(nil).Topic().String(): s.topic}
	}
	return nil
}
