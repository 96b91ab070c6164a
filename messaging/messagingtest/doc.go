// Package messagingtest helps to test code that publishes or handles events.
package messagingtest
