package main

import (
	"context"
	"sync"

	"github.com/IBM/sarama"
)

type saramaPeer struct {
	topic string
	sync  sarama.SyncProducer
	async sarama.AsyncProducer
	open  *window
	wg    sync.WaitGroup
}

func openSarama(brokers []string, topic string, bulk bool) (peer, error) {
	cfg := sarama.NewConfig()
	cfg.Version = sarama.V2_8_0_0
	cfg.Producer.RequiredAcks = sarama.WaitForAll
	cfg.Producer.Idempotent = true
	cfg.Producer.Retry.Max = 10
	cfg.Producer.Return.Successes = true
	cfg.Net.MaxOpenRequests = 1 // what Idempotent demands
	p := &saramaPeer{topic: topic, open: newWindow(50_000)}
	var err error
	if !bulk {
		p.sync, err = sarama.NewSyncProducer(brokers, cfg)
		return p, err
	}
	if p.async, err = sarama.NewAsyncProducer(brokers, cfg); err != nil {
		return nil, err
	}
	p.wg.Go(func() {
		for range p.async.Successes() {
			p.open.settle(1, nil)
		}
	})
	p.wg.Go(func() {
		for e := range p.async.Errors() {
			p.open.settle(1, e)
		}
	})
	return p, nil
}

func (p *saramaPeer) message(e *ItemCreated) (*sarama.ProducerMessage, error) {
	key, value, err := encode(e)
	return &sarama.ProducerMessage{
		Topic: p.topic, Key: sarama.StringEncoder(key), Value: sarama.ByteEncoder(value), Timestamp: e.Timestamp,
		Headers: []sarama.RecordHeader{
			{Key: []byte(headerType), Value: []byte(contentType)}, {Key: []byte(headerCorrelation), Value: []byte(e.CorrelationID)}, {Key: []byte(headerCausation), Value: []byte(e.CausationID)},
		},
	}, err
}

func (p *saramaPeer) publish(_ context.Context, e *ItemCreated) error {
	m, err := p.message(e)
	if err != nil {
		return err
	}
	_, _, err = p.sync.SendMessage(m)
	return err
}

func (p *saramaPeer) start(_ context.Context, e *ItemCreated) error {
	m, err := p.message(e)
	if err != nil {
		return err
	}
	return p.send(m)
}

func (p *saramaPeer) startReady(_ context.Context, r *ready) error {
	return p.send(&sarama.ProducerMessage{
		Topic: p.topic, Key: sarama.ByteEncoder(r.key), Value: sarama.ByteEncoder(r.value),
		Headers: []sarama.RecordHeader{
			{Key: []byte(headerType), Value: []byte(contentType)}, {Key: []byte(headerCorrelation), Value: r.correlation}, {Key: []byte(headerCausation), Value: r.causation},
		},
	})
}

func (p *saramaPeer) send(m *sarama.ProducerMessage) error {
	if err := p.open.take(1); err != nil {
		return err
	}
	p.async.Input() <- m
	return nil
}

func (p *saramaPeer) flush(ctx context.Context) error { return p.open.drain(ctx) }

func (p *saramaPeer) close() error {
	if p.sync != nil {
		return p.sync.Close()
	}
	p.async.AsyncClose()
	p.wg.Wait()
	return nil
}
