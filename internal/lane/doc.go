// Package lane has records handled in order per key and in parallel across keys,
// and knows below which offset all of a partition is finished.
//
// [Scheduler] is the state machine: no goroutine, no lock, no clock. [Pool] puts
// workers around it. A key has a lane only while a record of it is in flight; a record
// without a key has a lane of its own.
//
//	Feed ──► lanes of a partition ──► ready, partitions in turn ──► a worker ──► finished ──► Mark
//	             ▲                         ▲                           │
//	             └ behind its key          └──── parked until it is due┘
package lane
