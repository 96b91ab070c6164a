//go:build cgo

package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"

	"github.com/confluentinc/confluent-kafka-go/v2/kafka"
)

func confluent() offer {
	return offer{name: "confluent", how: "confluent-kafka-go, librdkafka; bulk: linger.ms 5, its default; sync: linger.ms 0", open: openConfluent}
}

type confluentPeer struct {
	p       *kafka.Producer
	topic   string
	open    *window
	answers sync.Pool
	wg      sync.WaitGroup
}

func openConfluent(brokers []string, topic string, bulk bool) (peer, error) {
	linger := 0
	if bulk {
		linger = 5
	}
	producer, err := kafka.NewProducer(&kafka.ConfigMap{
		"bootstrap.servers": strings.Join(brokers, ","), "acks": "all", "enable.idempotence": true, "compression.type": "none",
		"linger.ms": linger, "go.logs.channel.enable": true,
	})
	if err != nil {
		return nil, err
	}
	p := &confluentPeer{p: producer, topic: topic, open: newWindow(50_000)}
	p.answers.New = func() any { return make(chan kafka.Event, 1) }
	p.wg.Go(func() {
		for ev := range producer.Events() {
			switch ev := ev.(type) {
			case *kafka.Message:
				p.open.settle(1, ev.TopicPartition.Error)
			case kafka.Error:
				if ev.IsFatal() {
					p.open.settle(0, ev)
				}
			}
		}
	})
	go func() { // its log would fill the channel; errors come with the messages
		for range producer.Logs() {
		}
	}()
	return p, nil
}

func (p *confluentPeer) message(e *ItemCreated) (*kafka.Message, error) {
	key, value, err := encode(e)
	return &kafka.Message{
		TopicPartition: kafka.TopicPartition{Topic: &p.topic, Partition: kafka.PartitionAny}, Key: []byte(key), Value: value, Timestamp: e.Timestamp,
		Headers: []kafka.Header{
			{Key: headerType, Value: []byte(contentType)}, {Key: headerCorrelation, Value: []byte(e.CorrelationID)}, {Key: headerCausation, Value: []byte(e.CausationID)},
		},
	}, err
}

func (p *confluentPeer) publish(ctx context.Context, e *ItemCreated) error {
	m, err := p.message(e)
	if err != nil {
		return err
	}
	answer, ok := p.answers.Get().(chan kafka.Event)
	if !ok {
		return errors.New("no channel in the pool")
	}
	if err := p.p.Produce(m, answer); err != nil {
		return err
	}
	select {
	case ev := <-answer:
		p.answers.Put(answer)
		got, ok := ev.(*kafka.Message)
		if !ok {
			return fmt.Errorf("not an answer: %v", ev)
		}
		return got.TopicPartition.Error
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (p *confluentPeer) start(_ context.Context, e *ItemCreated) error {
	m, err := p.message(e)
	if err != nil {
		return err
	}
	return p.send(m)
}

func (p *confluentPeer) startReady(_ context.Context, r *ready) error {
	return p.send(&kafka.Message{
		TopicPartition: kafka.TopicPartition{Topic: &p.topic, Partition: kafka.PartitionAny}, Key: r.key, Value: r.value,
		Headers: []kafka.Header{
			{Key: headerType, Value: []byte(contentType)}, {Key: headerCorrelation, Value: r.correlation}, {Key: headerCausation, Value: r.causation},
		},
	})
}

func (p *confluentPeer) send(m *kafka.Message) error {
	if err := p.open.take(1); err != nil {
		return err
	}
	return p.p.Produce(m, nil)
}

func (p *confluentPeer) flush(ctx context.Context) error { return p.open.drain(ctx) }

func (p *confluentPeer) close() error {
	p.p.Close()
	p.wg.Wait()
	return nil
}
