package messaging_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"time"

	"github.com/google/uuid"

	"github.com/expensevault/sharedlibrary/events"
	"github.com/expensevault/sharedlibrary/messaging"
	"github.com/expensevault/sharedlibrary/messaging/messagingtest"
)

// ItemCreated is the event of the examples.
type ItemCreated struct {
	events.Base
	ItemID uuid.UUID `json:"itemId"`
	Name   string    `json:"name"`
}

func (*ItemCreated) Topic() events.Topic    { return events.NewTopic("inventory", "item", "created") }
func (e *ItemCreated) PartitionKey() string { return e.ItemID.String() }

// What a service's code holds is a Publisher: in production a KafkaPublisher,
// in a test a Recorder.
func ExamplePublisher() {
	createItem := func(ctx context.Context, pub messaging.Publisher, name string) error {
		// … store it, then:
		return pub.Publish(ctx, &ItemCreated{ItemID: uuid.New(), Name: name})
	}

	var rec messagingtest.Recorder
	if err := createItem(context.Background(), &rec, "Lamp"); err != nil {
		fmt.Println(err)
	}
	r := rec.Records()[0]
	fmt.Println(r.Topic, len(r.Key))
	// Output: inventory.item.created 36
}

// By the rule that a failed publish never fails the operation that it reports.
func ExampleBestEffort() {
	log := slog.New(slog.NewTextHandler(os.Stdout, &slog.HandlerOptions{ReplaceAttr: withoutTime}))
	broken := &messagingtest.Recorder{Err: messaging.ErrTimeout}

	err := messaging.BestEffort(broken, log).Publish(context.Background(), &ItemCreated{Name: "Lamp"})
	fmt.Println(err)
	// Output:
	// level=ERROR msg="Failed to publish" error.type=timeout error="messaging: not acknowledged in time" messaging.destination.name=inventory.item.created
	// <nil>
}

func withoutTime(_ []string, a slog.Attr) slog.Attr {
	if a.Key == slog.TimeKey {
		return slog.Attr{}
	}
	return a
}

func ExamplePublisherFunc() {
	pub := messaging.PublisherFunc(func(_ context.Context, evs ...events.IntegrationEvent) error {
		for _, e := range evs {
			fmt.Println(e.Topic())
		}
		return nil
	})
	_ = pub.Publish(context.Background(), &ItemCreated{})
	// Output: inventory.item.created
}

func ExampleHandle() {
	var mux messaging.Mux
	messaging.Handle(&mux, func(_ context.Context, e *ItemCreated) error {
		fmt.Println("created:", e.Name)
		return nil
	})

	// Kafka's part, played by hand.
	rec, err := messaging.Encode(context.Background(), &ItemCreated{Name: "Lamp"})
	if err == nil {
		err = mux.Dispatch(context.Background(), rec)
	}
	fmt.Println(err)
	// Output:
	// created: Lamp
	// <nil>
}

// What a handler publishes with its context tells which event caused it.
func ExampleHandle_publish() {
	var rec messagingtest.Recorder
	var mux messaging.Mux
	messaging.Handle(&mux, func(ctx context.Context, e *ItemCreated) error {
		return rec.Publish(ctx, &ItemCreated{Name: "a copy of " + e.Name})
	})

	original := &ItemCreated{Name: "Lamp", Base: events.Base{CorrelationID: "request-1"}}
	r, _ := messaging.Encode(context.Background(), original)
	_ = mux.Dispatch(context.Background(), r)

	published := rec.Events()[0].Metadata()
	fmt.Println(published.CorrelationID, published.CausationID == original.EventID.String())
	// Output: request-1 true
}

func ExampleHandleRecord() {
	var mux messaging.Mux
	messaging.HandleRecord(&mux, "legacy_prices", func(_ context.Context, r messaging.Record) error {
		if r.Value == nil {
			fmt.Printf("%s has no price any more\n", r.Key)
			return nil
		}
		fmt.Printf("%s costs %s\n", r.Key, r.Value)
		return nil
	})

	ctx := context.Background()
	_ = mux.Dispatch(ctx, messaging.Record{Topic: "legacy_prices", Key: []byte("lamp"), Value: []byte("12.50")})
	_ = mux.Dispatch(ctx, messaging.Record{Topic: "legacy_prices", Key: []byte("lamp")})
	// Output:
	// lamp costs 12.50
	// lamp has no price any more
}

// Middleware sees every record on its way to its handler.
func ExampleMux_Use() {
	var mux messaging.Mux
	mux.Use(func(next messaging.HandlerFunc) messaging.HandlerFunc {
		return func(ctx context.Context, r messaging.Record) error {
			err := next(ctx, r)
			fmt.Printf("%s: %v\n", r.Topic, err)
			return err
		}
	})
	messaging.Handle(&mux, func(context.Context, *ItemCreated) error { return errors.New("no shelf is free") })

	r, _ := messaging.Encode(context.Background(), &ItemCreated{})
	_ = mux.Dispatch(context.Background(), r)
	// Output: inventory.item.created: no shelf is free
}

// An error that time does not heal needs no second attempt.
func ExamplePermanent() {
	handle := func(_ context.Context, e *ItemCreated) error {
		if e.Name == "" {
			return messaging.Permanent(errors.New("an item without a name"))
		}
		return nil
	}
	err := handle(context.Background(), &ItemCreated{})
	fmt.Println(err, messaging.IsPermanent(err))
	// Output: an item without a name true
}

func ExampleRetryAfter() {
	busy := errors.New("429 Too Many Requests")
	var mux messaging.Mux
	messaging.Handle(&mux, func(context.Context, *ItemCreated) error {
		return messaging.RetryAfter(30*time.Second, busy)
	})
	fmt.Println(mux.Topics())
	// Output: [inventory.item.created]
}

func ExampleWithRetry() {
	var mux messaging.Mux
	// This handler calls a service that is often away for a minute.
	messaging.Handle(&mux, func(context.Context, *ItemCreated) error { return nil },
		messaging.WithRetry(10, time.Second, time.Minute))
	fmt.Println(mux.Topics())
	// Output: [inventory.item.created]
}

func ExampleDeliveryFrom() {
	var mux messaging.Mux
	messaging.Handle(&mux, func(ctx context.Context, _ *ItemCreated) error {
		d, _ := messaging.DeliveryFrom(ctx)
		version, _ := d.Header("ce_eventversion")
		fmt.Println(d.Topic, d.Attempt, version)
		return nil
	})
	r, _ := messaging.Encode(context.Background(), &ItemCreated{})
	_ = mux.Dispatch(context.Background(), r)
	// Output: inventory.item.created 1 1.0
}

// A service that handles events until it is interrupted.
func ExampleSubscriber() { //nolint:testableexamples // needs a broker
	var mux messaging.Mux
	messaging.Handle(&mux, func(_ context.Context, e *ItemCreated) error {
		slog.Info("created", "item", e.ItemID)
		return nil
	})

	run := func() error {
		ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
		defer stop()
		sub, err := messaging.NewSubscriber(messaging.DefaultConfig(), "analytics", &mux)
		if err != nil {
			return err
		}
		return sub.Run(ctx)
	}
	_ = run // would block
}
