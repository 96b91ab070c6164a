// Package embedded runs Kafka in this process: a broker that speaks the Kafka
// protocol on a real port of the loopback interface, for tests and demos on
// machines that have nothing but Go. Any Kafka client can talk to it.
//
//	broker := embedded.Run(t) // stops with the test
//	cfg := messaging.DefaultConfig()
//	cfg.BootstrapServers = broker.Addr()
//
// It has idempotent producers, transactions, consumer groups, administration,
// SASL, TLS and ACLs. It has no replication, quotas or throttling, and it is no
// broker for production: data in memory ends with the process, and data in a
// folder is one process's on one disk. What must hold on Kafka is to be tested
// on Kafka.
//
// It is a module of its own, so that who imports the library does not inherit
// a broker.
package embedded
