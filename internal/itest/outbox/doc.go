// Package outbox tests messaging/outbox and messaging/inbox on real databases: SQLite always, PostgreSQL where
// TEST_POSTGRES_DSN names one, MySQL or MariaDB where TEST_MYSQL_DSN does; and with brokers: one of the test's own that
// knows what Kafka does with sequences, the embedded one, and a real one where KAFKA_BOOTSTRAP_SERVERS names it.
package outbox
