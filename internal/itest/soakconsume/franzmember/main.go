// Command franzmember is a member of a consumer group by franz-go, for a group of several libraries' members: it writes "B <id> <name>"
// when it begins with a record and "H <id> <name>" when it is done with it, where the record's value is "<id> <padding>". It
// commits what each poll brought, and SIGTERM has it finish that and leave.
package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	err := run(ctx)
	stop()
	if err != nil {
		slog.Error("franzmember", slog.Any("error", err))
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	brokers := flag.String("brokers", "", "`host:port` of brokers, with commas between")
	topic := flag.String("topic", "", "the topic's `name`")
	group := flag.String("group", "", "the group's `name`")
	name := flag.String("name", "", "what stands behind the id in each line")
	balancer := flag.String("balancer", "cooperative-sticky", "that or `range`")
	session := flag.Duration("session", 10*time.Second, "session timeout")
	work := flag.Duration("work", 0, "how long a record takes")
	flag.Parse()
	b := kgo.CooperativeStickyBalancer()
	if *balancer == "range" {
		b = kgo.RangeBalancer()
	}
	cl, err := kgo.NewClient(kgo.SeedBrokers(strings.Split(*brokers, ",")...), kgo.ConsumerGroup(*group), kgo.ConsumeTopics(*topic), kgo.Balancers(b),
		kgo.SessionTimeout(*session), kgo.HeartbeatInterval(*session/6), kgo.BlockRebalanceOnPoll(), kgo.DisableAutoCommit(),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.FetchMaxPartitionBytes(64<<10))
	if err != nil {
		return err
	}
	defer cl.CloseAllowingRebalance()
	for {
		fs := cl.PollRecords(ctx, 200)
		for _, fe := range fs.Errors() {
			if !errors.Is(fe.Err, context.Canceled) {
				slog.Warn("fetch", slog.Any("error", fe.Err))
			}
		}
		recs := fs.Records()
		for _, r := range recs {
			id, _, _ := bytes.Cut(r.Value, []byte(" "))
			if err := line("B", id, *name); err != nil {
				return err
			}
			if *work > 0 {
				<-time.After(*work)
			}
			if err := line("H", id, *name); err != nil {
				return err
			}
		}
		if len(recs) > 0 {
			if err := cl.CommitRecords(context.WithoutCancel(ctx), recs...); err != nil {
				slog.Warn("commit", slog.Any("error", err))
			}
		}
		cl.AllowRebalance()
		if ctx.Err() != nil {
			return nil
		}
	}
}

// line is one write, which a pipe does not divide.
func line(kind string, id []byte, name string) error {
	_, err := os.Stdout.Write(fmt.Appendf(nil, "%s %s %s\n", kind, id, name))
	return err
}
