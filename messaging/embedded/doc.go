// Package embedded runs a broker that speaks Kafka's protocol in this process, on a real port of 127.0.0.1, for tests and
// demos on machines that have nothing but Go.
//
//	broker := embedded.Run(t, embedded.WithTopics(3, "customservice.item.created"))
//	cfg := messaging.DefaultConfig()
//	cfg.BootstrapServers = broker.Addr()
//
// [Run] starts a broker that ends with a test. [Start] starts one that ends with a context or with [Broker.Close]. By default
// there is one node on a free port, the data lies in memory, no topic exists, none is created by itself, nobody needs to log
// in, and nothing is logged.
//
// # What it is good for
//
// Any client can connect: the protocol, the record batches and the sockets are real. It answers producers (idempotent and
// transactional ones too, sequence numbers checked as Kafka checks them), consumer groups of both protocols, the admin
// requests, SASL and TLS. It is up in milliseconds, so each test can have a broker of its own. With [WithDataDir] a demo keeps
// its topics, records and committed offsets from run to run; what was acknowledged is on the disk, also when the process is
// killed. [Broker.Cluster] puts faults into it that a real broker shows once a year. On a [Network] it lives in a
// testing/synctest bubble with its clients, where half a minute's timeout takes no time.
//
// # What it is not
//
// It is NOT for production, and no replacement for tests on a real Kafka. It is one process without replication: several
// nodes ([WithNodes]) are several ports over one store, so that clients have leaders to look for and to lose. What acks
// promise it therefore can't show. It handles one request at a time. It listens on the loopback interface alone: no other
// machine and no container reaches it.
//
// Compared with Kafka it lacks: quotas that throttle, reads from the nearest replica, detection of a truncated log, tiered
// storage, delegation tokens, the delay before a new group's first rebalance, the old SASL handshake (version 0), and the
// check of a new topic's name. A wrong SCRAM password ends in a closed connection where Kafka answers
// SASL_AUTHENTICATION_FAILED. A refused batch carries base offset 0 where Kafka writes -1. Asked for the committed offset of a
// partition that has none it leaves the partition out where Kafka answers -1. A topic is ready at once, where clients of a
// real Kafka meet UNKNOWN_TOPIC_OR_PARTITION and LEADER_NOT_AVAILABLE for a moment.
//
// The broker itself is kfake of franz-go. This package adds its lifecycle and its errors, keeps two processes out of
// one folder, creates topics that are missing in a folder with data, and closes connections that don't speak Kafka, before
// they take the process down. It is a module of its own, so that kfake enters nobody's dependencies who doesn't use it.
package embedded
