package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/expensevault/sharedlibrary/messaging"
)

// consume fills the topic, and then measures a client that empties it: its CPU from its start to its last commit, and how long
// it took from the first event to the last.
func consume(ctx context.Context, o offer, s scenario, brokers []string, topic string, n int) (result, error) {
	p, err := openOurs(brokers, topic, true) //nolint:contextcheck // its goroutines end by close
	if err != nil {
		return result{}, err
	}
	if err := errors.Join(bulk(ctx, p, newWork(s), n), p.close()); err != nil {
		return result{}, fmt.Errorf("filling the topic: %w", err)
	}
	runtime.GC()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var handled, first, last atomic.Int64
	m := startMeter()
	done := func() {
		switch handled.Add(1) {
		case 1:
			first.Store(int64(time.Since(m.began)))
		case int64(n):
			last.Store(int64(time.Since(m.began)))
			cancel()
		}
	}
	if err := o.consume(ctx, s, brokers, topic, done); err != nil {
		return result{}, err
	}
	if got := handled.Load(); got < int64(n) {
		return result{}, fmt.Errorf("%d of %d events were handled: %w", got, n, ctx.Err())
	}
	res, err := m.stop(n)
	res.Wall = time.Duration(last.Load() - first.Load()) // joining a group takes them all a while, and is not what is compared
	return res, err
}

// handleValue is what a handler does with a value.
func handleValue(s scenario, value []byte) error {
	switch s.handler {
	case decodes:
		var e ItemCreated
		return json.Unmarshal(value, &e)
	case waits5ms:
		time.Sleep(wait) //nolint:forbidigo // the work that is compared
	}
	return nil
}

func consumeOurs(ctx context.Context, s scenario, brokers []string, topic string, done func()) error {
	cfg := messaging.DefaultConfig()
	cfg.BootstrapServers = strings.Join(brokers, ",")
	cfg.Topics = map[string]string{(*ItemCreated)(nil).Topic().String(): topic}
	var mux messaging.Mux
	var opts []messaging.SubscriberOption
	switch s.handler {
	case decodes:
		messaging.Handle(&mux, func(context.Context, *ItemCreated) error {
			done()
			return nil
		})
	default:
		messaging.HandleRecord(&mux, topic, func(_ context.Context, r messaging.Record) error {
			err := handleValue(s, r.Value)
			done()
			return err
		})
		if s.handler == waits5ms {
			opts = append(opts, messaging.WithConcurrency(workers))
		}
	}
	sub, err := messaging.NewSubscriber(cfg, "group-"+topic, &mux, opts...)
	if err != nil {
		return err
	}
	return sub.Run(ctx)
}

func consumeFranz(ctx context.Context, s scenario, brokers []string, topic string, done func()) error {
	cl, err := kgo.NewClient(kgo.SeedBrokers(brokers...), kgo.ConsumerGroup("group-"+topic), kgo.ConsumeTopics(topic),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.AutoCommitMarks(), kgo.AutoCommitInterval(time.Second), kgo.BlockRebalanceOnPoll())
	if err != nil {
		return err
	}
	defer cl.Close()
	for ctx.Err() == nil {
		fetches := cl.PollFetches(ctx)
		var wg sync.WaitGroup
		var failed firstError
		fetches.EachPartition(func(p kgo.FetchTopicPartition) {
			wg.Go(func() {
				for _, r := range p.Records {
					if err := handleValue(s, r.Value); err != nil {
						failed.set(err)
						return
					}
					cl.MarkCommitRecords(r)
					done()
				}
			})
		})
		wg.Wait()
		cl.AllowRebalance()
		if err := failed.get(); err != nil {
			return err
		}
	}
	return cl.CommitMarkedOffsets(context.WithoutCancel(ctx))
}

func consumeKafkaGo(ctx context.Context, s scenario, brokers []string, topic string, done func()) error {
	readers := 1
	if s.handler == waits5ms {
		readers = partitions
	}
	var wg sync.WaitGroup
	var failed firstError
	for range readers {
		wg.Go(func() {
			r := kafka.NewReader(kafka.ReaderConfig{Brokers: brokers, GroupID: "group-" + topic, Topic: topic, StartOffset: kafka.FirstOffset, CommitInterval: time.Second, MaxBytes: 10 << 20})
			for {
				m, err := r.FetchMessage(ctx)
				if ctx.Err() != nil {
					break
				}
				if err == nil {
					err = handleValue(s, m.Value)
				}
				if err == nil {
					err = r.CommitMessages(context.WithoutCancel(ctx), m)
				}
				if err != nil {
					failed.set(err)
					break
				}
				done()
			}
			if err := r.Close(); err != nil { // commits
				failed.set(err)
			}
		})
	}
	wg.Wait()
	return failed.get()
}
