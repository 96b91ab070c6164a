package messagingtest_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"testing"

	"github.com/expensevault/sharedlibrary/events"
	"github.com/expensevault/sharedlibrary/messaging"
	"github.com/expensevault/sharedlibrary/messaging/messagingtest"
)

// OrderPlaced is the event of the examples.
type OrderPlaced struct {
	events.Base
	OrderID string `json:"orderId"`
	Total   int    `json:"total"`
}

func (*OrderPlaced) Topic() events.Topic    { return events.NewTopic("shop", "order", "placed") }
func (e *OrderPlaced) PartitionKey() string { return e.OrderID }

// exampleT stands for the *testing.T that a test is given.
type exampleT struct{ testing.TB }

func (exampleT) Helper()                  {}
func (exampleT) Context() context.Context { return context.Background() }
func (exampleT) Errorf(format string, args ...any) {
	_, _ = fmt.Fprintf(os.Stdout, format+"\n", args...)
}
func (exampleT) Fatalf(format string, args ...any) { panic(fmt.Sprintf(format, args...)) }

// placeOrder is what the examples test.
func placeOrder(ctx context.Context, pub messaging.Publisher, id string) error {
	return pub.Publish(ctx, &OrderPlaced{OrderID: id, Total: 100})
}

func ExampleRecorder() {
	t := exampleT{}

	var rec messagingtest.Recorder
	if err := placeOrder(t.Context(), &rec, "order-1"); err != nil {
		t.Fatalf("%v", err)
	}
	e := messagingtest.One[*OrderPlaced](t, &rec)
	fmt.Println(e.OrderID, e.Total, e.EventType)
	// Output: order-1 100 placed
}

// What a service does when Kafka is away.
func ExampleRecorder_err() {
	t := exampleT{}

	rec := messagingtest.Recorder{Err: messaging.ErrTimeout}
	err := placeOrder(t.Context(), &rec, "order-1")
	fmt.Println(errors.Is(err, messaging.ErrTimeout), len(rec.Events()))
	// Output: true 0
}

func ExampleOne() {
	t := exampleT{}

	var rec messagingtest.Recorder
	_ = placeOrder(t.Context(), &rec, "order-1")
	fmt.Println(messagingtest.One[*OrderPlaced](t, &rec).OrderID)
	// Output: order-1
}

func ExampleAll() {
	t := exampleT{}

	var rec messagingtest.Recorder
	for _, id := range []string{"order-1", "order-2"} {
		_ = placeOrder(t.Context(), &rec, id)
	}
	for _, e := range messagingtest.All[*OrderPlaced](t, &rec) {
		fmt.Println(e.OrderID)
	}
	// Output:
	// order-1
	// order-2
}

func ExampleDeliver() {
	t := exampleT{}

	var mux messaging.Mux
	messaging.Handle(&mux, func(_ context.Context, e *OrderPlaced) error {
		fmt.Println("handled", e.OrderID)
		return nil
	})
	messagingtest.Deliver(t, &mux, &OrderPlaced{OrderID: "order-1"})
	// Output: handled order-1
}

func ExampleTryDeliver() {
	t := exampleT{}

	var mux messaging.Mux
	messaging.Handle(&mux, func(_ context.Context, e *OrderPlaced) error {
		if e.Total == 0 {
			return messaging.Permanent(errors.New("an order of nothing"))
		}
		return nil
	})
	err := messagingtest.TryDeliver(t, &mux, &OrderPlaced{OrderID: "order-1"})
	fmt.Println(err, messaging.IsPermanent(err))
	// Output: an order of nothing true
}

// One line for each event type, in a test of the service.
func ExampleTestEvent() {
	t := exampleT{}

	messagingtest.TestEvent(t, &OrderPlaced{OrderID: "order-1", Total: 100})
	messagingtest.TestEvent(t, &OrderPlaced{Total: 100})
	// Output: messagingtest: *messagingtest_test.OrderPlaced: the partition key is empty: events without a key have no order; set the field that it comes from, or declare the type Unkeyed
}

// For whoever writes a Publisher: one that wraps another must still be one.
func ExampleTestPublisher() { //nolint:testableexamples // a test runs it
	test := func(t *testing.T) {
		t.Helper()
		messagingtest.TestPublisher(t, func(testing.TB) (messaging.Publisher, func() []messaging.Record) {
			var rec messagingtest.Recorder
			skipping := messaging.PublisherFunc(func(ctx context.Context, evs ...events.IntegrationEvent) error {
				if len(evs) == 0 {
					return nil
				}
				return rec.Publish(ctx, evs...)
			})
			return skipping, rec.Records
		})
	}
	_ = test // go test calls it, as TestSkippingPublisher
}
