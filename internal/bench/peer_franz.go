package main

import (
	"context"
	"errors"

	"github.com/twmb/franz-go/pkg/kgo"
)

type franzPeer struct {
	cl     *kgo.Client
	failed firstError
	done   func(*kgo.Record, error)
}

func openFranz(brokers []string, topic string, _ bool) (peer, error) {
	cl, err := kgo.NewClient(
		kgo.SeedBrokers(brokers...), kgo.DefaultProduceTopic(topic), kgo.RequiredAcks(kgo.AllISRAcks()),
		kgo.ProducerBatchCompression(kgo.NoCompression()), kgo.ProducerLinger(0), kgo.MaxBufferedRecords(50_000),
	)
	if err != nil {
		return nil, err
	}
	p := &franzPeer{cl: cl}
	p.done = func(_ *kgo.Record, err error) {
		if err != nil {
			p.failed.set(err)
		}
	}
	return p, nil
}

func franzRecord(e *ItemCreated) (*kgo.Record, error) {
	key, value, err := encode(e)
	return &kgo.Record{Key: []byte(key), Value: value, Timestamp: e.Timestamp, Headers: []kgo.RecordHeader{
		{Key: headerType, Value: []byte(contentType)}, {Key: headerCorrelation, Value: []byte(e.CorrelationID)}, {Key: headerCausation, Value: []byte(e.CausationID)},
	}}, err
}

func (p *franzPeer) publish(ctx context.Context, e *ItemCreated) error {
	r, err := franzRecord(e)
	if err != nil {
		return err
	}
	return p.cl.ProduceSync(ctx, r).FirstErr()
}

func (p *franzPeer) start(ctx context.Context, e *ItemCreated) error {
	r, err := franzRecord(e)
	if err != nil {
		return err
	}
	p.cl.Produce(ctx, r, p.done)
	return nil
}

func (p *franzPeer) startReady(ctx context.Context, r *ready) error {
	p.cl.Produce(ctx, &kgo.Record{Key: r.key, Value: r.value, Headers: []kgo.RecordHeader{
		{Key: headerType, Value: []byte(contentType)}, {Key: headerCorrelation, Value: r.correlation}, {Key: headerCausation, Value: r.causation},
	}}, p.done)
	return nil
}

func (p *franzPeer) flush(ctx context.Context) error {
	return errors.Join(p.cl.Flush(ctx), p.failed.get())
}

func (p *franzPeer) close() error {
	p.cl.Close()
	return nil
}
