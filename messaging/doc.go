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
//  2. Records of one partition, and so of one key, are handled in order, one at a time.
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
package messaging
