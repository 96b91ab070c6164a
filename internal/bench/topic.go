package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/segmentio/kafka-go"
)

const partitions = 6

// cluster makes the topics of the runs and counts what is in them.
type cluster struct {
	client *kafka.Client
	prefix string
	made   int
}

func newCluster(brokers []string) *cluster {
	return &cluster{
		client: &kafka.Client{Addr: kafka.TCP(brokers...), Timeout: 30 * time.Second, Transport: &kafka.Transport{MetadataTTL: time.Second}},
		prefix: "bench." + uuid.NewString()[:8],
	}
}

// create makes a new topic and returns when each of its partitions has a leader.
func (c *cluster) create(ctx context.Context) (string, error) {
	c.made++
	name := fmt.Sprintf("%s.%d", c.prefix, c.made)
	res, err := c.client.CreateTopics(ctx, &kafka.CreateTopicsRequest{Topics: []kafka.TopicConfig{{Topic: name, NumPartitions: partitions, ReplicationFactor: -1}}})
	if err = errors.Join(err, errorOf(res)); err != nil {
		return "", fmt.Errorf("creating topic %s: %w", name, err)
	}
	for {
		if _, err = c.ends(ctx, name); err == nil {
			return name, nil
		}
		select {
		case <-time.After(50 * time.Millisecond):
		case <-ctx.Done():
			return name, fmt.Errorf("topic %s has no leaders: %w", name, err)
		}
	}
}

func errorOf(res *kafka.CreateTopicsResponse) error {
	if res == nil {
		return nil
	}
	for _, err := range res.Errors {
		return err
	}
	return nil
}

func (c *cluster) remove(ctx context.Context, topic string) error {
	res, err := c.client.DeleteTopics(ctx, &kafka.DeleteTopicsRequest{Topics: []string{topic}})
	if err == nil {
		err = res.Errors[topic]
	}
	if err != nil {
		return fmt.Errorf("deleting topic %s: %w", topic, err)
	}
	return nil
}

// ends returns the high watermark of each partition.
func (c *cluster) ends(ctx context.Context, topic string) ([]int64, error) {
	var ask []kafka.OffsetRequest
	for p := range partitions {
		ask = append(ask, kafka.LastOffsetOf(p))
	}
	res, err := c.client.ListOffsets(ctx, &kafka.ListOffsetsRequest{Topics: map[string][]kafka.OffsetRequest{topic: ask}})
	if err != nil {
		return nil, err
	}
	ends := slices.Repeat([]int64{-1}, partitions)
	for _, p := range res.Topics[topic] {
		if p.Error != nil {
			return nil, p.Error
		}
		ends[p.Partition] = p.LastOffset
	}
	if slices.Contains(ends, -1) {
		return nil, errors.New("a partition did not answer")
	}
	return ends, nil
}

// verify fails unless the topic holds just that many records, spread over all
// partitions, and the last one is an event as everybody has to write it.
func (c *cluster) verify(ctx context.Context, topic string, want int) error {
	ends, err := c.ends(ctx, topic)
	if err != nil {
		return fmt.Errorf("counting the records of %s: %w", topic, err)
	}
	var have int64
	for _, end := range ends {
		have += end
	}
	if have != int64(want) {
		return fmt.Errorf("%d events were acknowledged, the topic holds %d records", want, have)
	}
	for p, end := range ends {
		if end == 0 {
			if want < 100*partitions {
				continue // it may be so by chance
			}
			return fmt.Errorf("partition %d is empty: %v", p, ends)
		}
		if err := c.check(ctx, topic, p, end-1); err != nil {
			return fmt.Errorf("record %d of partition %d: %w", end-1, p, err)
		}
	}
	return nil
}

// check reads one record and looks at everything that is the same work for everyone.
func (c *cluster) check(ctx context.Context, topic string, partition int, offset int64) error {
	res, err := c.client.Fetch(ctx, &kafka.FetchRequest{Topic: topic, Partition: partition, Offset: offset, MinBytes: 1, MaxBytes: 64 << 20, MaxWait: time.Second})
	if err == nil {
		err = res.Error
	}
	if err != nil {
		return err
	}
	for {
		r, err := res.Records.ReadRecord()
		if err != nil {
			return fmt.Errorf("not found: %w", err)
		}
		if r.Offset != offset {
			continue
		}
		key, err1 := readAll(r.Key)
		value, err2 := readAll(r.Value)
		if err := errors.Join(err1, err2); err != nil {
			return err
		}
		return checkRecord(key, value, r.Headers)
	}
}

func readAll(b kafka.Bytes) ([]byte, error) {
	if b == nil {
		return nil, nil
	}
	return io.ReadAll(b)
}

func checkRecord(key, value []byte, headers []kafka.Header) error {
	var e ItemCreated
	if err := json.Unmarshal(value, &e); err != nil {
		return fmt.Errorf("its value: %w", err)
	}
	switch {
	case e.EventID == uuid.Nil || e.Timestamp.IsZero() || e.EventType != "created" || e.EventVersion != "1.0" || e.SourceService != "customservice":
		return fmt.Errorf("its envelope is not filled: %s", value)
	case e.CorrelationID == "" || e.CausationID == "" || e.Name == "" || e.Description == "" || e.Status == "":
		return fmt.Errorf("it is not all of the event: %s", value)
	case string(key) != e.UserID.String():
		return fmt.Errorf("its key is %q, not the user's", key)
	case len(headers) < 3:
		return fmt.Errorf("it has %d headers, not three", len(headers))
	}
	return nil
}
