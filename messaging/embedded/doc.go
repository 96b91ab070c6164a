// Package embedded runs Kafka in this process, on a real port, for tests and demos.
package embedded
