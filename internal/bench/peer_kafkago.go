package main

import (
	"context"
	"time"

	"github.com/segmentio/kafka-go"
)

// kafkaGoCall is how many messages one call of WriteMessages gets in bulk: its own work per call is then small.
const kafkaGoCall = 500

type kafkaGoPeer struct {
	w    *kafka.Writer
	open *window
	msgs []kafka.Message
}

func openKafkaGo(brokers []string, topic string, bulk bool) (peer, error) {
	p := &kafkaGoPeer{open: newWindow(50_000)}
	p.w = &kafka.Writer{
		Addr: kafka.TCP(brokers...), Topic: topic, Balancer: kafka.CRC32Balancer{}, RequiredAcks: kafka.RequireAll,
		Transport: &kafka.Transport{}, BatchTimeout: time.Millisecond,
	}
	if bulk {
		p.w.Async = true
		p.w.BatchSize = 2000
		p.w.BatchBytes = 1_000_000
		p.w.BatchTimeout = 5 * time.Millisecond
		p.w.Completion = func(msgs []kafka.Message, err error) { p.open.settle(len(msgs), err) }
	}
	return p, nil
}

func kafkaGoMessage(e *ItemCreated) (kafka.Message, error) {
	key, value, err := encode(e)
	return kafka.Message{Key: []byte(key), Value: value, Time: e.Timestamp, Headers: []kafka.Header{
		{Key: headerType, Value: []byte(contentType)}, {Key: headerCorrelation, Value: []byte(e.CorrelationID)}, {Key: headerCausation, Value: []byte(e.CausationID)},
	}}, err
}

func (p *kafkaGoPeer) publish(ctx context.Context, e *ItemCreated) error {
	m, err := kafkaGoMessage(e)
	if err != nil {
		return err
	}
	return p.w.WriteMessages(ctx, m)
}

func (p *kafkaGoPeer) start(ctx context.Context, e *ItemCreated) error {
	m, err := kafkaGoMessage(e)
	if err != nil {
		return err
	}
	return p.add(ctx, m)
}

func (p *kafkaGoPeer) startReady(ctx context.Context, r *ready) error {
	return p.add(ctx, kafka.Message{Key: r.key, Value: r.value, Headers: []kafka.Header{
		{Key: headerType, Value: []byte(contentType)}, {Key: headerCorrelation, Value: r.correlation}, {Key: headerCausation, Value: r.causation},
	}})
}

func (p *kafkaGoPeer) add(ctx context.Context, m kafka.Message) error {
	p.msgs = append(p.msgs, m)
	if len(p.msgs) < kafkaGoCall {
		return nil
	}
	return p.send(ctx)
}

func (p *kafkaGoPeer) send(ctx context.Context) error {
	if err := p.open.take(len(p.msgs)); err != nil {
		return err
	}
	err := p.w.WriteMessages(ctx, p.msgs...)
	p.msgs = p.msgs[:0] // the writer copies
	return err
}

func (p *kafkaGoPeer) flush(ctx context.Context) error {
	if len(p.msgs) > 0 {
		if err := p.send(ctx); err != nil {
			return err
		}
	}
	return p.open.drain(ctx)
}

func (p *kafkaGoPeer) close() error { return p.w.Close() }
