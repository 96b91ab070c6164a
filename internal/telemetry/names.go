package telemetry

import "go.opentelemetry.io/otel/attribute"

// Scope is the instrumentation scope of all spans and metrics of the library.
const Scope = "github.com/expensevault/sharedlibrary/messaging"

// SchemaURL is of the version of the conventions that the names below are from.
//
// Source: https://github.com/open-telemetry/semantic-conventions/tree/v1.43.0/docs/messaging
const SchemaURL = "https://opentelemetry.io/schemas/1.43.0"

// The attributes of the conventions.
const (
	System         = attribute.Key("messaging.system")
	OperationName  = attribute.Key("messaging.operation.name")
	OperationType  = attribute.Key("messaging.operation.type")
	Destination    = attribute.Key("messaging.destination.name")
	Partition      = attribute.Key("messaging.destination.partition.id") // a string
	ConsumerGroup  = attribute.Key("messaging.consumer.group.name")
	ClientID       = attribute.Key("messaging.client.id")
	Offset         = attribute.Key("messaging.kafka.offset") // an integer
	MessageKey     = attribute.Key("messaging.kafka.message.key")
	Tombstone      = attribute.Key("messaging.kafka.message.tombstone")
	MessageID      = attribute.Key("messaging.message.id")
	ConversationID = attribute.Key("messaging.message.conversation_id") // the correlation ID
	BatchCount     = attribute.Key("messaging.batch.message_count")
	ErrorType      = attribute.Key("error.type")
)

// Attempt is the library's own: which attempt at a record it is, from 1.
const Attempt = attribute.Key("events.attempt")

// Kafka is the value of System.
const Kafka = "kafka"

// Op is an operation, by its name.
type Op string

// The operations of the conventions. A span's name is the operation's and the topic's.
const (
	Create  Op = "create"  // an event goes into an outbox
	Send    Op = "send"    // to a broker
	Poll    Op = "poll"    // a fetch that brought records
	Process Op = "process" // a handler's attempt
	Commit  Op = "commit"  // of offsets
)

// Type is the operation's kind, of which there are fewer.
func (o Op) Type() string {
	switch o {
	case Poll:
		return "receive"
	case Commit:
		return "settle"
	case Create, Send, Process:
	}
	return string(o)
}

// The metrics of the conventions.
const (
	OperationDuration = "messaging.client.operation.duration"
	SentMessages      = "messaging.client.sent.messages"
	ConsumedMessages  = "messaging.client.consumed.messages"
	ProcessDuration   = "messaging.process.duration"
)

// The library's own metrics.
const (
	QueueDuration    = "events.publish.queue.duration"   // from the call to the request
	RequestDuration  = "events.produce.request.duration" // from the request to its acknowledgement
	Resent           = "events.produce.retries"          // batches that were sent again
	BufferBytes      = "events.publish.buffer.usage"
	BufferEvents     = "events.publish.buffer.events"
	BufferOldest     = "events.publish.buffer.oldest.age"
	Retries          = "events.retries"       // attempts of handlers that will be repeated
	DeadLettered     = "events.dead_lettered" // records
	InFlight         = "events.in_flight"     // handlers that run
	ConsumerLag      = "events.consumer.lag"
	ConsumerAssigned = "events.consumer.partitions"
	ConsumerOldest   = "events.consumer.oldest.age" // since when a partition stands still with work to do
	Rebalances       = "events.consumer.rebalances"
	OutboxPending    = "events.outbox.pending"
	OutboxParked     = "events.outbox.parked"
	OutboxOldest     = "events.outbox.oldest.age"
	OutboxShards     = "events.outbox.shards"
)

// buckets are those of Java's and .NET's instrumentation, in seconds: OpenTelemetry's default is for milliseconds.
func buckets() []float64 {
	return []float64{0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10}
}
