// Package messaging publishes and handles integration events over Kafka.
package messaging
