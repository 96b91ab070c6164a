// Package outbox.
package outbox
