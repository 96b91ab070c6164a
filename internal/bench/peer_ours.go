package main

import (
	"context"
	"errors"
	"strings"
	"sync"

	"github.com/expensevault/sharedlibrary/messaging"
)

const (
	chunkRecords = 1000
	chunkWorkers = 4
)

type oursPeer struct {
	pub    *messaging.KafkaPublisher
	topic  string
	failed firstError
	done   func(messaging.Receipt, error)

	// Ready bytes go through PublishRecords, which waits: some goroutines do so with a chunk each.
	chunk  []messaging.Record
	chunks chan []messaging.Record
	free   chan []messaging.Record
	wg     sync.WaitGroup
	open   *window
}

func openOurs(brokers []string, topic string, _ bool) (peer, error) {
	return openPublisher(brokers, topic, messaging.HeadersBasic)
}

func openOursCloudEvents(brokers []string, topic string, _ bool) (peer, error) {
	return openPublisher(brokers, topic, messaging.HeadersCloudEvents)
}

func openPublisher(brokers []string, topic, headers string) (peer, error) {
	cfg := messaging.DefaultConfig()
	cfg.BootstrapServers = strings.Join(brokers, ",")
	cfg.Headers = headers
	cfg.Topics = map[string]string{(*ItemCreated)(nil).Topic().String(): topic}
	pub, err := messaging.NewKafkaPublisher(cfg)
	if err != nil {
		return nil, err
	}
	p := &oursPeer{
		pub: pub, topic: topic,
		chunks: make(chan []messaging.Record), free: make(chan []messaging.Record, chunkWorkers+1), open: newWindow(1 << 30),
	}
	p.done = func(_ messaging.Receipt, err error) {
		if err != nil {
			p.failed.set(err)
		}
	}
	for range cap(p.free) {
		p.free <- nil
	}
	for range chunkWorkers {
		p.wg.Go(func() {
			for chunk := range p.chunks {
				err := pub.PublishRecords(context.Background(), chunk...)
				p.open.settle(1, err)
				p.free <- chunk[:0]
			}
		})
	}
	return p, nil
}

func (p *oursPeer) publish(ctx context.Context, e *ItemCreated) error { return p.pub.Publish(ctx, e) }

func (p *oursPeer) start(ctx context.Context, e *ItemCreated) error {
	p.pub.PublishAsync(ctx, e, p.done)
	return nil
}

func (p *oursPeer) startReady(_ context.Context, r *ready) error {
	if cap(p.chunk) == 0 {
		if p.chunk = <-p.free; p.chunk == nil {
			p.chunk = make([]messaging.Record, 0, chunkRecords)
		}
	}
	p.chunk = append(p.chunk, messaging.Record{Topic: p.topic, Key: r.key, Value: r.value, Headers: []messaging.Header{
		{Key: headerType, Value: []byte(contentType)}, {Key: headerCorrelation, Value: r.correlation}, {Key: headerCausation, Value: r.causation},
	}})
	if len(p.chunk) < chunkRecords {
		return nil
	}
	return p.send()
}

func (p *oursPeer) send() error {
	if err := p.open.take(1); err != nil {
		return err
	}
	p.chunks <- p.chunk
	p.chunk = nil
	return nil
}

func (p *oursPeer) flush(ctx context.Context) error {
	if len(p.chunk) > 0 {
		if err := p.send(); err != nil {
			return err
		}
	}
	return errors.Join(p.open.drain(ctx), p.pub.Flush(ctx), p.failed.get())
}

func (p *oursPeer) close() error {
	close(p.chunks)
	err := p.pub.Close()
	p.wg.Wait()
	return err
}

// firstError keeps the first of the errors that callbacks get.
type firstError struct {
	mu  sync.Mutex
	err error
}

func (f *firstError) set(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.err == nil {
		f.err = err
	}
}

func (f *firstError) get() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.err
}
