package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"

	client "github.com/segmentio/kafka-go"
)

const partitions = 6

// kafka is the brokers of this run.
type kafka struct {
	s       settings
	brokers []*node
}

// node is one broker.
type node struct {
	args   []string // of .ci/kafka
	direct string   // its address for those who check
	front  string   // where it tells the publisher that it is
	back   string   // where the proxy finds it
}

func startKafka(ctx context.Context, s settings) (*kafka, error) {
	k := &kafka{s: s}
	dir := filepath.Join(s.dir, "kafka")
	for i := range s.nodes {
		args := []string{"--dir", dir}
		if s.nodes > 1 {
			args = append(args, "--node", fmt.Sprintf("%d/%d", i+1, s.nodes))
		}
		k.brokers = append(k.brokers, &node{args: args})
	}
	var all sync.WaitGroup
	failed := make([]error, len(k.brokers))
	for i, b := range k.brokers {
		all.Go(func() {
			var out string
			if out, failed[i] = k.ci(ctx, b, "start"); failed[i] != nil {
				return
			}
			for line := range strings.Lines(out) {
				name, value, _ := strings.Cut(strings.TrimSpace(strings.TrimPrefix(line, "export ")), "=")
				switch name {
				case "KAFKA_BOOTSTRAP_SERVERS":
					b.direct = value
				case "KAFKA_TEST_PROXIED_BOOTSTRAP":
					b.front = value
				case "KAFKA_TEST_PROXIED_BACKEND":
					b.back = value
				}
			}
		})
	}
	all.Wait()
	if err := errors.Join(failed...); err != nil {
		k.stop(ctx)
		return nil, err
	}
	return k, nil
}

// ci calls .ci/kafka.
func (k *kafka) ci(ctx context.Context, b *node, command string) (string, error) {
	cmd := exec.CommandContext(ctx, filepath.Join(k.s.root, ".ci", "kafka"), append([]string{command}, b.args...)...) //nolint:gosec // our own script
	log, err := os.CreateTemp(k.s.dir, "kafka-"+command+"-*.log")
	if err != nil {
		return "", err
	}
	defer func() { _ = log.Close() }()
	cmd.Stderr = log // a file, since the broker inherits it
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf(".ci/kafka %s %s: %w; see %s", command, strings.Join(b.args, " "), err, log.Name())
	}
	return string(out), nil
}

// stop stops those that run, also when ctx has ended.
func (k *kafka) stop(ctx context.Context) {
	command := "stop"
	if len(k.brokers) > 1 {
		command = "kill" // the last ones would wait in vain for a majority of controllers
	}
	for _, b := range k.brokers {
		if _, err := k.ci(context.WithoutCancel(ctx), b, command); err != nil {
			slog.Error("A broker was not stopped", slog.Any("error", err))
		}
	}
}

// bounce takes a broker away and brings it back. It returns when it was back: when every partition had a leader again, if it is
// the only one.
func (k *kafka) bounce(ctx context.Context, b *node, topic, command string) (time.Time, error) {
	if _, err := k.ci(ctx, b, command); err != nil {
		return time.Time{}, err
	}
	done := make(chan error, 1)
	go func() {
		_, err := k.ci(ctx, b, "start")
		done <- err
	}()
	for {
		if len(k.brokers) == 1 && k.led(ctx, topic) {
			back := time.Now()
			return back, <-done
		}
		select {
		case err := <-done:
			return time.Now(), err
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// client is one without a memory: its transport would believe in old leaders.
func (k *kafka) client() *client.Client {
	addrs := make([]string, len(k.brokers))
	for i, b := range k.brokers {
		addrs[i] = b.direct
	}
	return &client.Client{Addr: client.TCP(addrs...), Timeout: 10 * time.Second, Transport: &client.Transport{IdleTimeout: time.Second, DialTimeout: time.Second}}
}

// led reports whether each partition has a leader that answers.
func (k *kafka) led(ctx context.Context, topic string) bool {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	conn, err := client.DialContext(ctx, "tcp", k.brokers[0].direct)
	if err != nil {
		return false
	}
	defer func() { _ = conn.Close() }()
	_ = conn.SetDeadline(time.Now().Add(time.Second))
	ps, err := conn.ReadPartitions(topic)
	if err != nil || len(ps) != partitions {
		return false
	}
	for _, p := range ps {
		if p.Error != nil || p.Leader.Port == 0 {
			return false
		}
	}
	return true
}

func (k *kafka) createTopic(ctx context.Context) (string, error) {
	const topic = "soak"
	created, err := k.client().CreateTopics(ctx, &client.CreateTopicsRequest{Topics: []client.TopicConfig{{
		Topic: topic, NumPartitions: partitions, ReplicationFactor: min(3, len(k.brokers)),
	}}})
	if err == nil {
		err = created.Errors[topic]
	}
	if err != nil {
		return "", fmt.Errorf("the topic was not created: %w", err)
	}
	for !k.led(ctx, topic) {
		if err := pause(ctx, 20*time.Millisecond); err != nil {
			return "", err
		}
	}
	return topic, nil
}

// moveLeaders gives each partition another preferred leader, and has it lead.
func (k *kafka) moveLeaders(ctx context.Context, topic string) error {
	meta, err := k.client().Metadata(ctx, &client.MetadataRequest{Topics: []string{topic}})
	if err != nil {
		return err
	}
	var moves []client.AlterPartitionReassignmentsRequestAssignment
	var ids []int
	for _, p := range meta.Topics[0].Partitions {
		replicas := make([]int, len(p.Replicas))
		for i, r := range p.Replicas {
			replicas[(i+1)%len(replicas)] = r.ID
		}
		moves = append(moves, client.AlterPartitionReassignmentsRequestAssignment{Topic: topic, PartitionID: p.ID, BrokerIDs: replicas})
		ids = append(ids, p.ID)
	}
	moved, err := k.client().AlterPartitionReassignments(ctx, &client.AlterPartitionReassignmentsRequest{Topic: topic, Assignments: moves, Timeout: 10 * time.Second})
	if err != nil {
		return err
	}
	if moved.Error != nil {
		return moved.Error
	}
	_, err = k.client().ElectLeaders(ctx, &client.ElectLeadersRequest{Topic: topic, Partitions: ids, Timeout: 10 * time.Second})
	return err
}

// record is what stands in the topic.
type record struct {
	partition int
	key, id   string
}

// read reads the whole topic, partition after partition.
func (k *kafka) read(ctx context.Context, topic string) ([]record, error) {
	var requests []client.OffsetRequest
	for p := range partitions {
		requests = append(requests, client.LastOffsetOf(p))
	}
	ends, err := k.client().ListOffsets(ctx, &client.ListOffsetsRequest{Topics: map[string][]client.OffsetRequest{topic: requests}})
	if err != nil {
		return nil, err
	}
	var out []record
	for _, p := range ends.Topics[topic] {
		if p.Error != nil {
			return nil, p.Error
		}
		r := client.NewReader(client.ReaderConfig{
			Brokers: []string{k.brokers[0].direct}, Topic: topic, Partition: p.Partition, MaxWait: 100 * time.Millisecond, MaxBytes: 10 << 20,
		})
		for next := int64(0); next < p.LastOffset; {
			m, err := r.ReadMessage(ctx)
			if err != nil {
				return nil, err
			}
			next = m.Offset + 1
			var value struct {
				ID string `json:"id"`
			}
			if err := json.Unmarshal(m.Value, &value); err != nil {
				return nil, fmt.Errorf("partition %d, offset %d: %w", m.Partition, m.Offset, err)
			}
			out = append(out, record{m.Partition, string(m.Key), value.ID})
		}
		if err := r.Close(); err != nil {
			return nil, err
		}
	}
	return out, nil
}
