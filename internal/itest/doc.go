// Package itest holds the tests that meet real brokers and real other clients.
//
// The conformance suite runs alike on three kinds of broker: embedded (package
// messaging/embedded), real (a Kafka whose address KAFKA_BOOTSTRAP_SERVERS
// gives; .ci/kafka starts one), and container (Kafka in a container, where a
// Docker engine answers). What is not there is skipped and says so, except when
// ITEST_REQUIRE names it, as in "real,container,tools": then its absence is a
// failure, and nobody takes a skipped test for a passed one.
package itest
