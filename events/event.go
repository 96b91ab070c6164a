package events

import (
	"errors"
	"time"

	"github.com/google/uuid"
)

// IntegrationEvent is a fact that one service publishes for others to act on.
// Embed [Base] in a struct and write Topic and PartitionKey on its pointer.
type IntegrationEvent interface {
	// Topic is a constant of the Go type: it holds for the zero value too.
	Topic() Topic
	// PartitionKey says with whom the event keeps its order; "" for no order.
	PartitionKey() string
	// Metadata is promoted from the embedded Base.
	Metadata() *Base
}

// Versioned is implemented by events whose schema is not version "1.0".
type Versioned interface {
	EventVersion() string
}

// Base is the envelope that every event carries. Its JSON lies flat, and first, in the event's own JSON.
type Base struct {
	EventID       uuid.UUID `json:"eventId"`
	Timestamp     time.Time `json:"timestamp"`
	EventType     string    `json:"eventType"`
	EventVersion  string    `json:"eventVersion"`
	SourceService string    `json:"sourceService"`
	CorrelationID string    `json:"correlationId,omitempty"`
	CausationID   string    `json:"causationId,omitempty"`
}

// Metadata returns b itself.
func (b *Base) Metadata() *Base { return b }

// Stamp fills what is missing in the event's envelope and leaves what is set.
func Stamp(e IntegrationEvent) error {
	if e == nil {
		return errors.New("events: nil event")
	}
	t := e.Topic()
	b := e.Metadata()
	if b.EventID == uuid.Nil {
		b.EventID = uuid.New()
	}
	if b.Timestamp.IsZero() {
		b.Timestamp = time.Now().UTC()
	}
	if b.EventType == "" {
		b.EventType = t.Event
	}
	if b.EventVersion == "" {
		b.EventVersion = "1.0"
		if v, ok := e.(Versioned); ok {
			b.EventVersion = v.EventVersion()
		}
	}
	if b.SourceService == "" {
		b.SourceService = t.Service
	}
	return nil
}
