// Package outbox publishes events in the transaction that causes them: what it
// commits is published, and what it rolls back never is.
//
//	err := outbox.Migrate(ctx, db, outbox.PostgreSQL)                 // or the files of Schema
//	box := outbox.New(outbox.PostgreSQL, outbox.WithEncode(cfg.Encode))
//	err = box.In(tx).Publish(ctx, &ItemCreated{…})                    // beside the business rows
//	err = outbox.NewRelay(db, outbox.PostgreSQL, publisher).Run(ctx)  // in each instance
//
//	transaction: business rows + rows of the outbox ═ commit
//	  ─► relay, one per shard of the keys ─► mark: producer id, epoch, sequence, rows
//	  ─► one batch per partition ─► ack ─► rows deleted, mark taken away
//
// # Promises
//
//  1. What the transaction commits is published, by any number of relays, and
//     what it rolls back is not. There is no cursor: rows that are committed
//     late are not skipped, and a long transaction holds nobody up.
//  2. Events of one key and topic keep the order in which they were written, if
//     the transactions of a key are serialised: lock the key's row, or fail by
//     its version, before Publish.
//  3. A relay that dies, or stands still and goes on, at any instruction neither
//     loses nor doubles a record in the topic. A batch is marked before it is
//     sent; who takes the shard sends it again as it was, which brokers
//     recognise, and raises the epoch, which fences the one before.
//  4. What can never be published is parked with its reason; only its key, in
//     its topic, waits. See [Outbox.Parked], [Outbox.Retry], [Outbox.Drop].
//
// Not promised: an order across keys or topics, or after a topic's partitions
// grow; anything when rows are changed by hand or the database is set back. A
// batch that stays unfinished for longer than brokers remember a producer is
// looked for in the topic, which needs the right to read it; where that does
// not tell, its partition waits for [Outbox.Settle].
//
// On SQLite give connections a busy_timeout.
package outbox
