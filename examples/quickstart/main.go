// Command quickstart is the README's code: from an event to its handler, on a Kafka in this process.
package main

import (
	"context"
	"log"

	"github.com/expensevault/sharedlibrary/events"
	"github.com/expensevault/sharedlibrary/messaging"
	"github.com/expensevault/sharedlibrary/messaging/embedded"
)

// ItemCreated is the whole definition of an event.
type ItemCreated struct {
	events.Base
	Name   string `json:"name"`
	UserID string `json:"userId"`
}

func (*ItemCreated) Topic() events.Topic    { return events.NewTopic("quickstart", "item", "created") }
func (e *ItemCreated) PartitionKey() string { return e.UserID } // one user's events keep their order

func main() {
	ctx, cancel := context.WithCancel(context.Background())
	broker, err := embedded.Start(context.Background(), embedded.WithTopics(6, "quickstart.item.created"))
	check(err)
	cfg := messaging.DefaultConfig()
	cfg.BootstrapServers = broker.Addr()

	publisher, err := messaging.NewKafkaPublisher(cfg)
	check(err)
	check(publisher.Publish(ctx, &ItemCreated{Name: "Sample Item", UserID: "user-1"})) // acknowledged when it returns
	check(publisher.Close())

	var mux messaging.Mux
	messaging.Handle(&mux, func(ctx context.Context, e *ItemCreated) error {
		log.Printf("handled %s %q, correlation ID %s", e.EventType, e.Name, e.CorrelationID)
		cancel()
		return nil // finished: its offset is committed
	})
	subscriber, err := messaging.NewSubscriber(cfg, "quickstart", &mux)
	check(err)
	check(subscriber.Run(ctx)) // until ctx ends
	check(broker.Close())
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
