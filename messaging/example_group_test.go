package messaging_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/expensevault/sharedlibrary/messaging"
)

// Several events at once, in order; the second one is to blame.
func ExampleHandleBatch() {
	var mux messaging.Mux
	messaging.HandleBatch(&mux, func(_ context.Context, batch []*ItemCreated) error {
		for i, e := range batch {
			if e.Name == "" {
				return messaging.FailedAt(i, messaging.Permanent(errors.New("an item without a name")))
			}
		}
		fmt.Println(len(batch), "at once")
		return nil
	}, messaging.WithBatchSize(500))

	var rs []messaging.Record
	for _, name := range []string{"Lamp", "Chair"} {
		r, _ := messaging.Encode(context.Background(), &ItemCreated{Name: name})
		rs = append(rs, r)
	}
	fmt.Println(mux.DispatchBatch(context.Background(), rs...))

	nameless, _ := messaging.Encode(context.Background(), &ItemCreated{})
	fmt.Println(mux.DispatchBatch(context.Background(), rs[0], nameless))
	// Output:
	// 2 at once
	// <nil>
	// an item without a name
}

// Retries after a minute and after ten, while what came behind is handled; the topics have to be there.
func ExampleWithRetryTopics() {
	var mux messaging.Mux
	messaging.Handle(&mux, func(context.Context, *ItemCreated) error { return nil })
	sub, err := messaging.NewSubscriber(messaging.DefaultConfig(), "analytics", &mux,
		messaging.WithRetry(1, 0, 0), messaging.WithRetryTopics(time.Minute, 10*time.Minute))
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, topic := range sub.SideTopics(messaging.TopicSpec{Partitions: 6, ReplicationFactor: 3}) {
		fmt.Println(topic.Name)
	}
	// Output:
	// inventory.item.created-dlt
	// inventory.item.created-retry-1
	// inventory.item.created-retry-2
}

// A handler for two versions of an event; one of version 3 is not for it, and by default a dead letter.
func ExampleWithVersions() {
	var mux messaging.Mux
	messaging.Handle(&mux, func(_ context.Context, e *ItemCreated) error {
		fmt.Println("version", e.EventVersion)
		return nil
	}, messaging.WithVersions("1", "2"))

	for _, version := range []string{"1.4", "3.0"} {
		e := &ItemCreated{Name: "Lamp"}
		e.EventVersion = version
		r, _ := messaging.Encode(context.Background(), e)
		err := mux.Dispatch(context.Background(), r)
		var unhandled *messaging.UnhandledError
		fmt.Println(errors.As(err, &unhandled))
	}
	// Output:
	// version 1.4
	// false
	// true
}

// Dead letters of one day go back to the group that failed, 50 a second, once the cause is mended.
func ExampleRedrive() { //nolint:testableexamples // needs a broker
	redrive := func(ctx context.Context, cfg messaging.Config) error {
		day := time.Date(2026, 11, 24, 0, 0, 0, 0, time.UTC)
		r := messaging.Redrive{
			Config: cfg, DeadLetters: "inventory.item.created-dlt",
			FailedFrom: day, FailedUntil: day.AddDate(0, 0, 1), Groups: []string{"analytics"},
			OnlyFailedGroup: true, PerSecond: 50, DryRun: true,
		}
		would, err := r.Run(ctx)
		if err != nil {
			return err
		}
		fmt.Println("would be redriven:", would.Matched)
		r.DryRun = false
		_, err = r.Run(ctx)
		return err
	}
	_ = redrive
}

// How far behind a group is, and having it read everything once more. It must have no members then.
func ExampleSeekGroup() { //nolint:testableexamples // needs a broker
	again := func(ctx context.Context, cfg messaging.Config) error {
		lags, err := messaging.GroupLag(ctx, cfg, "analytics", "inventory.item.created")
		if err != nil {
			return err
		}
		for _, l := range lags {
			fmt.Println(l.TopicPartition, "is behind by", l.Lag)
		}
		return messaging.SeekGroup(ctx, cfg, "analytics", messaging.SeekEarliest(), "inventory.item.created")
	}
	_ = again
}

// Ready while Kafka answers and the subscriber gets on; live unless a handler has hung for five minutes.
func ExampleReadyHandler() {
	var mux messaging.Mux
	messaging.Handle(&mux, func(context.Context, *ItemCreated) error { return nil })
	sub, err := messaging.NewSubscriber(messaging.DefaultConfig(), "analytics", &mux)
	if err != nil {
		fmt.Println(err)
		return
	}
	checks := map[string]messaging.HealthCheck{"analytics": sub.Health}
	ready, live := messaging.ReadyHandler(checks), messaging.LiveHandler(5*time.Minute, checks)
	_, _ = ready, live // for a mux of net/http, at /ready and /live
	fmt.Println(sub.Health(context.Background()).Problem)
	// Output: the subscriber of group "analytics" does not run
}
