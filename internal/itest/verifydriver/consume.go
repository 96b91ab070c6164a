package main

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/expensevault/sharedlibrary/messaging"
)

// consume handles the topic's records until ctx ends.
func consume(ctx context.Context, s settings, out *lines, log *slog.Logger) error {
	var mux messaging.Mux
	slots := make(chan struct{}, s.workers)
	messaging.HandleRecord(&mux, s.topic, func(ctx context.Context, r messaging.Record) error {
		id, err := idOf(r.Value)
		if err != nil {
			return messaging.Permanent(err)
		}
		if s.name != "" {
			id += " " + s.name
		}
		out.now("B", id)
		select {
		case slots <- struct{}{}:
		case <-ctx.Done():
			return ctx.Err()
		}
		defer func() { <-slots }()
		if s.work > 0 {
			select {
			case <-time.After(s.work):
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		out.now("H", id)
		return nil
	})
	sub, err := messaging.NewSubscriber(s.kafka, s.group, &mux, messaging.WithSessionTimeout(s.session), messaging.WithLogger(log),
		messaging.WithInstanceID(s.instance), messaging.WithBalancers(s.balancer...))
	if err != nil {
		return err
	}
	ensured := make(chan struct{})
	go func() {
		defer close(ensured)
		ensureDeadLetters(ctx, s, log)
	}()
	err = sub.Run(ctx)
	<-ensured
	if werr := out.close(); err == nil && werr != nil {
		err = fmt.Errorf("stdout: %w", werr)
	}
	return err
}

// ensureDeadLetters makes the topic without which a record that is no event would hold up its partition.
func ensureDeadLetters(ctx context.Context, s settings, log *slog.Logger) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	if _, err := messaging.EnsureTopics(ctx, s.kafka, messaging.TopicSpec{Name: s.topic + "-dlt"}); err != nil && ctx.Err() == nil {
		log.Warn("There may be no topic for dead letters", slog.Any("error", err))
	}
}
