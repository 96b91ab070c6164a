package messaging_test

import (
	"encoding/json"
	"fmt"

	"github.com/expensevault/sharedlibrary/events"
	"github.com/expensevault/sharedlibrary/messaging"
)

// plainJSON is encoding/json, lax as it is, and escaping what an HTML page would not bear.
type plainJSON struct{}

func (plainJSON) AppendEvent(dst []byte, e events.IntegrationEvent) ([]byte, error) {
	body, err := json.Marshal(e)
	return append(dst, body...), err
}

func (plainJSON) DecodeEvent(data []byte, e events.IntegrationEvent) error {
	return json.Unmarshal(data, e)
}

func ExampleWithCodec() {
	codec := messaging.WithCodec(plainJSON{})
	publisher, err := messaging.NewKafkaPublisher(messaging.DefaultConfig(), codec)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(publisher.Close())
	// Output: <nil>
}
