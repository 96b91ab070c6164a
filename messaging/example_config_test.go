package messaging_test

import (
	"fmt"

	"github.com/expensevault/sharedlibrary/messaging"
)

func ExampleLoad() {
	// A service passes os.LookupEnv.
	variables := map[string]string{"KAFKA_CLIENT_ID": "orders-producer", "Kafka__Topics": "orders.order.placed=orders"}
	lookup := func(name string) (string, bool) { v, ok := variables[name]; return v, ok }

	cfg, err := messaging.Load("testdata/settings/guide", "Production", lookup)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(cfg.BootstrapServers)
	fmt.Println(cfg.ClientID, cfg.MessageTimeout)
	fmt.Println(cfg.TopicName("orders.order.placed"))
	// Output:
	// kafka-broker-1:9092,kafka-broker-2:9092,kafka-broker-3:9092
	// orders-producer 30s
	// orders
}

func ExampleConfig_Validate() {
	cfg := messaging.DefaultConfig()
	cfg.Acks = messaging.AcksLeader
	cfg.SASLPassword = "not shown"
	fmt.Println(cfg.Validate())
	// Output:
	// messaging: setting Acks = "1": EnableIdempotence needs -1 (all): set Acks to -1, or EnableIdempotence to false
	// messaging: setting SaslPassword: is set, but with SecurityProtocol PLAINTEXT nobody would be authenticated by it: set SecurityProtocol to SASL_SSL (or SASL_PLAINTEXT), or remove SaslPassword
}
