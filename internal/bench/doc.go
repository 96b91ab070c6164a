// Command bench compares the publisher of package messaging with other Kafka
// clients on a real broker: the same events, topic and guarantees for everyone.
//
//	make bench-peers                        # with a Kafka of its own
//	KAFKA_BOOTSTRAP_SERVERS=host:9092 go run . -rounds 5 -peers ours,franz-go
//
// It is a module of its own, outside the workspace, because one peer needs cgo
// and none of them belongs into anybody's dependencies.
//
// # Who publishes what
//
// The event is an ItemCreated of some 430 bytes of JSON, its key one of 10,000
// users, with three headers, to a topic of 6 partitions; acks from all
// replicas, idempotent where the client can be, no compression. Ours goes
// through PublishAsync and Publish, and so through its own encoding. The others
// get what their users would write: the envelope filled in by hand,
// encoding/json, a key and three headers. The tables repeat each one's settings.
// For kafka-go and franz-go another batch size and linger time were tried in bulk,
// without a clear difference; the others have what their documentation names.
//
// # How it is measured
//
// Each run is a process and a topic of its own, after a warm-up that is not
// counted. CPU is what the process used, user and system, all threads, from the
// first event to the last answer. Rounds are interleaved, and each begins with
// another peer; the tables hold medians, and in brackets the lowest and highest.
// After each run the topic must hold as many records as were acknowledged, in
// all partitions, and its last record must be an event with key and headers.
//
// Allocations are those of Go's heap: what librdkafka allocates in C is in no
// column but the resident memory's. On a machine that does other work too,
// compare the ratios, never figures of two runs.
package main
