// Package messagingtest helps to test code that publishes or handles events,
// without a broker:
//
//   - [Recorder] is a Publisher that keeps what is published; [One] and [All]
//     take it out again, by type.
//   - [Deliver] hands an event to the handlers of a Mux as a subscriber would.
//   - [TestEvent] holds an event type against what the library asks of it, and
//     [TestPublisher] a Publisher.
//
// It needs the standard library's testing package and no assertion library.
package messagingtest
