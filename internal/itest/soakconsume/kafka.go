package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// startKafka starts a broker of our own, unless one was named; brokers and libs are set then.
func startKafka(ctx context.Context, s *settings) (stop func(), err error) {
	if s.brokers != "" && s.libs == "" {
		s.libs = os.Getenv("KAFKA_TEST_LIBS")
	}
	if s.brokers != "" {
		return func() {}, nil
	}
	ci := func(ctx context.Context, command string) (string, error) {
		cmd := exec.CommandContext(ctx, filepath.Join(s.root, ".ci", "kafka"), command, "--dir", filepath.Join(s.dir, "kafka")) //nolint:gosec // our own script
		log, err := os.Create(filepath.Join(s.dir, "kafka-"+command+".log"))                                                    //nolint:gosec // the soak's own folder
		if err != nil {
			return "", err
		}
		defer func() { _ = log.Close() }()
		cmd.Stderr = log // a file, since the broker inherits it
		out, err := cmd.Output()
		if err != nil {
			return "", fmt.Errorf(".ci/kafka %s: %w; see %s", command, err, log.Name())
		}
		return string(out), nil
	}
	out, err := ci(ctx, "start")
	if err != nil {
		return nil, err
	}
	for line := range strings.Lines(out) {
		name, value, _ := strings.Cut(strings.TrimSpace(strings.TrimPrefix(line, "export ")), "=")
		switch name {
		case "KAFKA_BOOTSTRAP_SERVERS":
			s.brokers = value
		case "KAFKA_TEST_LIBS":
			s.libs = strings.Trim(value, "'")
		}
	}
	return func() { _, _ = ci(context.WithoutCancel(ctx), "stop") }, nil
}

// lag is how far the group's commits are behind the topic's end; -1 where it cannot be told.
func lag(ctx context.Context, admin *kadm.Client, group, topic string) int64 {
	ends, err := admin.ListEndOffsets(ctx, topic)
	if err != nil {
		return -1
	}
	offsets, err := admin.FetchOffsets(ctx, group)
	if err != nil {
		return -1
	}
	sum := int64(0)
	bad := false
	ends.Each(func(end kadm.ListedOffset) {
		at, ok := offsets.Lookup(topic, end.Partition)
		switch {
		case end.Err != nil:
			bad = true
		case end.Offset > 0 && (!ok || at.At < 0):
			sum += end.Offset
		case end.Offset > 0:
			sum += end.Offset - at.At
		}
	})
	if bad {
		return -1
	}
	return sum
}

// produce writes records at a rate until ctx ends or most are written, each key's in order.
func produce(ctx context.Context, cl *kgo.Client, s settings, topic string, b *book) error {
	const step = 20 * time.Millisecond
	tick := time.NewTicker(step)
	defer tick.Stop()
	next := make([]int, s.keys)
	padding := strings.Repeat("x", s.size)
	failed := make(chan error, 1)
	begin, n := time.Now(), 0
	for {
		select {
		case <-ctx.Done():
			return cl.Flush(context.WithoutCancel(ctx))
		case err := <-failed:
			return err
		case <-tick.C:
		}
		for want := int(time.Since(begin).Seconds() * float64(s.rate)); n < want; n++ {
			i := (n * 7919) % s.keys
			key, seq := fmt.Sprintf("k%d", i), next[i]
			next[i]++
			rec := &kgo.Record{Topic: topic, Key: []byte(key), Value: fmt.Appendf(nil, "%s:%d %s", key, seq, padding)}
			cl.Produce(context.WithoutCancel(ctx), rec, func(_ *kgo.Record, err error) {
				if err != nil {
					select {
					case failed <- err:
					default:
					}
					return
				}
				b.ack(key, seq)
			})
		}
	}
}
