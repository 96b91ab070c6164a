package main

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// forget has the publisher be silent until the brokers have forgotten its producer ID in each partition, as they do after a day.
func forget(ctx context.Context, s *stage) error {
	if err := s.kafka.remember(ctx, time.Second); err != nil {
		return err
	}
	err := s.repeat(ctx, func() error {
		s.driver.silent.Store(true)
		defer s.driver.silent.Store(false)
		for known := 1; known > 0; {
			if err := pause(ctx, 200*time.Millisecond); err != nil {
				return err
			}
			var err error
			if known, err = s.kafka.producers(ctx, s.topic); err != nil {
				return err
			}
		}
		s.phase.hits++
		s.book.over(time.Now())
		return nil
	})
	if again := s.kafka.remember(context.WithoutCancel(ctx), 24*time.Hour); err == nil {
		err = again
	}
	return err
}

// remember sets for how long brokers know a producer that is silent.
func (k *kafka) remember(ctx context.Context, d time.Duration) error {
	value := strconv.FormatInt(d.Milliseconds(), 10)
	one := kmsg.NewIncrementalAlterConfigsRequestResourceConfig()
	one.Name, one.Value, one.Op = "producer.id.expiration.ms", &value, kmsg.IncrementalAlterConfigOpSet
	all := kmsg.NewIncrementalAlterConfigsRequestResource()
	all.ResourceType, all.ResourceName = kmsg.ConfigResourceTypeBroker, "" // all brokers
	all.Configs = append(all.Configs, one)
	ask := kmsg.NewPtrIncrementalAlterConfigsRequest()
	ask.Resources = append(ask.Resources, all)
	cl, err := k.kgo()
	if err != nil {
		return err
	}
	defer cl.Close()
	res, err := ask.RequestWith(ctx, cl)
	if err != nil {
		return err
	}
	for _, r := range res.Resources {
		if err := kerr.ErrorForCode(r.ErrorCode); err != nil {
			return fmt.Errorf("producer.id.expiration.ms: %w", err)
		}
	}
	return nil
}

// kgo is a client for what kafka-go does not know.
func (k *kafka) kgo() (*kgo.Client, error) {
	var direct []string
	for _, b := range k.brokers {
		direct = append(direct, b.direct)
	}
	return kgo.NewClient(kgo.SeedBrokers(direct...))
}

// producers counts the producers that the leaders of a topic know, partition by partition.
func (k *kafka) producers(ctx context.Context, topic string) (known int, err error) {
	cl, err := k.kgo()
	if err != nil {
		return 0, err
	}
	defer cl.Close()
	ask := kmsg.NewPtrDescribeProducersRequest()
	one := kmsg.NewDescribeProducersRequestTopic()
	one.Topic = topic
	for p := range int32(partitions) {
		one.Partitions = append(one.Partitions, p)
	}
	ask.Topics = append(ask.Topics, one)
	for _, shard := range cl.RequestSharded(ctx, ask) {
		if shard.Err != nil {
			return 0, shard.Err
		}
		for _, t := range shard.Resp.(*kmsg.DescribeProducersResponse).Topics { //nolint:forcetypeassert // the answer to what was asked
			for _, p := range t.Partitions {
				if err := kerr.ErrorForCode(p.ErrorCode); err != nil {
					return 0, err
				}
				known += len(p.ActiveProducers)
			}
		}
	}
	return known, nil
}
