// Package producer is the producing engine: idempotent, in order per
// partition, bounded in memory and in time.
//
//	Produce ─► buffer (bytes) ─► partition's queue ─► batch ─► sequencer's stamp ─► sender of the leader ─► broker
//	                                   ▲                                                        │
//	                                   └── not written: back to the front ◄── verdict ◄── answer ┘
//	                                       possibly written: the same bytes again
//
// One batch per partition is under way at any time, so that an answer is
// always about the oldest one and the queue behind it gathers the next. Who
// waits for nothing sends at once; who is busy batches by itself.
//
// # Concurrency
//
// One mutex guards all state. Goroutines: a sender per broker that leads
// something (dials, writes), a housekeeper (metadata, producer IDs), a sweeper
// (deadlines), and the readers of the connections, which bring the answers.
// Callers' functions run without the mutex.
package producer
