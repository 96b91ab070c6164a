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

// kafka is the broker, of .ci/kafka.
type kafka struct {
	s       *settings
	brokers string
}

func startKafka(ctx context.Context, s *settings) (*kafka, error) {
	k := &kafka{s: s}
	out, err := k.ci(ctx, "start")
	if err != nil {
		return nil, err
	}
	for line := range strings.Lines(out) {
		name, value, _ := strings.Cut(strings.TrimSpace(strings.TrimPrefix(line, "export ")), "=")
		if name == "KAFKA_BOOTSTRAP_SERVERS" {
			k.brokers = value
		}
	}
	return k, nil
}

func (k *kafka) ci(ctx context.Context, command string) (string, error) {
	cmd := exec.CommandContext(ctx, filepath.Join(k.s.root, ".ci", "kafka"), command, "--dir", filepath.Join(k.s.dir, "kafka")) //nolint:gosec // our own script
	log, err := os.OpenFile(filepath.Join(k.s.dir, "kafka.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
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

func (k *kafka) stop(ctx context.Context) { _, _ = k.ci(ctx, "stop") } // it is going in any case

// bounce ends the broker by "stop" or "kill", and starts it again.
func (k *kafka) bounce(ctx context.Context, how string) error {
	ctx = context.WithoutCancel(ctx)
	if _, err := k.ci(ctx, how); err != nil {
		return err
	}
	_, err := k.ci(ctx, "start")
	return err
}

func (k *kafka) create(ctx context.Context, topic string, partitions int32) error {
	cl, err := kgo.NewClient(kgo.SeedBrokers(strings.Split(k.brokers, ",")...))
	if err != nil {
		return err
	}
	defer cl.Close()
	_, err = kadm.NewClient(cl).CreateTopics(ctx, partitions, 1, nil, topic, topic+"-dlt")
	return err
}

// read returns the whole topic: of each partition the values, in order.
func (k *kafka) read(ctx context.Context, topic string) (map[int32][]*kgo.Record, error) {
	cl, err := kgo.NewClient(kgo.SeedBrokers(strings.Split(k.brokers, ",")...), kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	if err != nil {
		return nil, err
	}
	defer cl.Close()
	ends, err := kadm.NewClient(cl).ListEndOffsets(ctx, topic)
	if err != nil {
		return nil, err
	}
	left := map[int32]int64{}
	ends.Each(func(o kadm.ListedOffset) {
		if o.Offset > 0 {
			left[o.Partition] = o.Offset
		}
	})
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	out := map[int32][]*kgo.Record{}
	for len(left) > 0 {
		fetches := cl.PollFetches(ctx)
		if err := fetches.Err0(); err != nil {
			return nil, fmt.Errorf("read the topic: %w", err)
		}
		fetches.EachRecord(func(r *kgo.Record) {
			out[r.Partition] = append(out[r.Partition], r)
			if r.Offset+1 >= left[r.Partition] {
				delete(left, r.Partition)
			}
		})
	}
	return out, nil
}
