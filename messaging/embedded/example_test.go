package embedded_test

import (
	"context"
	"fmt"

	"github.com/segmentio/kafka-go"

	"github.com/expensevault/sharedlibrary/messaging/embedded"
)

// A program with Kafka inside. A test would say embedded.Run(t, …), and close nothing.
func ExampleStart() {
	ctx := context.Background()
	broker, err := embedded.Start(ctx, embedded.WithTopics(1, "customservice.item.created"))
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = broker.Close() }()

	conn, err := kafka.DialLeader(ctx, "tcp", broker.Addr(), "customservice.item.created", 0)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = conn.Close() }()
	if _, err := conn.WriteMessages(kafka.Message{Key: []byte("user-1"), Value: []byte(`{"name":"a chair"}`)}); err != nil {
		fmt.Println(err)
		return
	}
	m, err := conn.ReadMessage(1 << 20)
	fmt.Println(m.Topic, m.Offset, string(m.Key), string(m.Value), err)
	// Output: customservice.item.created 0 user-1 {"name":"a chair"} <nil>
}
