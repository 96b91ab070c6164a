// Package producer is the producing engine: idempotent, in order per
// partition, bounded in memory and in time.
//
//	Produce ─► room in the buffer ─► open batch of the partition ─► sequencer's stamp ─► sender of the leader ─► broker
//	                                        ▲                            ▲                                 │
//	                                        │                            └── possibly written: the same ◄──┤ answer
//	                                        └── not written: back to the front of the queue ◄──────────────┘
//
// A record is encoded once, into the batch that goes out. Up to MaxInFlight batches of a
// partition are in flight, once its leader is known to know us (sequencer.go). Who
// waits for nothing sends at once; who is busy batches by itself.
//
// # Concurrency
//
// One mutex guards all state. Goroutines: a sender per broker that leads
// something (dials, writes), a housekeeper (metadata, producer IDs), a sweeper
// (deadlines), and the readers of the connections, which bring the answers.
// Callers' functions run without the mutex.
package producer
