// Package messaging publishes and handles integration events over Kafka.
//
// An event is a struct that embeds [events.Base]. A service publishes it
// through a [Publisher], and handles it by a function on a [Mux] that a
// [Subscriber] serves:
//
//	publisher, err := messaging.NewKafkaPublisher(cfg)
//	err = publisher.Publish(ctx, &ItemCreated{CustomItemID: id, Name: name, UserID: user})
//
//	var mux messaging.Mux
//	messaging.Handle(&mux, func(ctx context.Context, e *ItemCreated) error { … })
//	subscriber, err := messaging.NewSubscriber(cfg, "audit", &mux)
//	err = subscriber.Run(ctx)
//
// The journeys of an event:
//
//	handler ─ Publish(ctx, *E) ─► Encode: Stamp + JSON + headers = Record
//	        ─► partition by key ─► batch ─► producer id, epoch, sequence ─► broker ─► ack
//	broker  ─► fetch ─► decode ─► middleware ─► handler(ctx, *E)
//	        nil ─► finished │ error ─► pause, again │ spent or Permanent ─► dead letter, acknowledged ─► finished
//	        commit what is finished, of the partitions that this generation of the group owns
//
// # Delivery properties
//
// Publishing:
//  1. With the defaults, acks from all replicas and idempotence, a retry never
//     doubles and never reorders a record within its partition, through lost
//     answers, cut connections, leader moves and broker restarts. This holds
//     while the publisher lives: a process that starts again is another
//     producer, and publishing again is another event for the broker.
//  2. Config.MessageTimeout bounds a publish from call to answer. The error
//     says whether anything may have been written; see [SafeToRetry].
//  3. Memory is bounded, whatever the brokers do, and Close is bounded too.
//  4. The same key lands on the same partition as from the .NET services, or
//     by setting as from Java, while the number of partitions stays.
//  5. What Kafka would refuse is refused before it is sent.
//
// Handling:
//  1. Every record is handled at least once. It is finished when the handler
//     returned nil, or its dead letter was acknowledged; an error or a panic
//     never counts as done.
//  2. Records of one key are handled in order, one at a time; different keys in parallel.
//  3. Offsets are committed only for what is finished, and only for partitions
//     that are ours at that moment.
//  4. What cannot be decoded goes to the dead letters at once, key and value
//     byte for byte, and the headers but for those of an earlier dead letter.
//  5. Transaction markers and aborted records never reach a handler.
//  6. Nothing in the log is skipped in silence: a damaged batch, or one over
//     [WithMaxBatchBytes], ends Subscriber.Run with an error that names it.
//
// Less formally: an acknowledged event is in the topic once and in its place,
// and a handler sees it until it is done with it, perhaps more than once.
//
// # Traces and metrics
//
// Publishers and subscribers make spans and metrics by OpenTelemetry's API,
// after its conventions for messaging of version 1.43, and need neither a
// switch nor a wrapper: a program sets otel.SetTracerProvider,
// otel.SetMeterProvider and otel.SetTextMapPropagator. Without a provider
// nothing is made, and nothing paid for.
//
//	send {topic}     PRODUCER  from Publish to the acknowledgement; its context goes with the event
//	create {topic}   PRODUCER  into an outbox; its context goes with the event
//	send {topic}     CLIENT    what has a context already: an outbox's relay, dead letters. Linked to it
//	process {topic}  CONSUMER  one attempt of a handler, in the event's trace, and linked to where it was made
//	poll, commit     CLIENT    with WithPollSpans
//
//	messaging.client.operation.duration, messaging.client.sent.messages,
//	messaging.client.consumed.messages, messaging.process.duration
//	events.publish.queue.duration     the guide's request queue time
//	events.produce.request.duration   the guide's acknowledgement wait time
//	events.produce.retries, events.publish.buffer.usage, .buffer.events, .buffer.oldest.age
//	events.retries, events.dead_lettered, events.in_flight
//	events.consumer.lag, .partitions, .oldest.age, .rebalances
//	events.outbox.pending, .parked, .oldest.age, .shards
//
// Attributes of metrics are topic, group, operation and error.type, which is
// Kafka's own name where a broker has given one; never an event, key or correlation ID.
//
// [KafkaPublisher.Health], [Subscriber.Health] and the relay's tell how they
// are; [ReadyHandler] and [LiveHandler] tell an orchestrator.
package messaging
