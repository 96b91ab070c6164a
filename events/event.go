package events

import (
	"time"

	"github.com/google/uuid"
)

// IntegrationEvent is a fact that one service publishes for others to act on.
// Embed [Base] in a struct and write Topic and PartitionKey on its pointer.
type IntegrationEvent interface {
	// Topic is a constant of the Go type: it holds for the zero value too,
	// because a consumer asks it of a value that is not decoded yet.
	Topic() Topic
	// PartitionKey says with whom the event keeps its order: events with the
	// same key are read in the order in which they were published. "" asks for
	// no order.
	PartitionKey() string
	// Metadata is promoted from the embedded Base.
	Metadata() *Base
}

// Versioned is implemented by events whose schema is not version "1.0".
// EventVersion is a constant of the Go type, as Topic is; "" stands for "1.0".
// The method hides the field: in such an event write e.Base.EventVersion for it.
type Versioned interface {
	EventVersion() string
}

// Base is the envelope that every event carries. Embed it first and without a
// tag: its JSON then lies flat, and first, in the event's own JSON. [Stamp]
// fills it. The zero value is ready.
//
// Base has no MarshalJSON and no UnmarshalJSON, and must not get them: they
// would be promoted to the event, and the event's own fields would be lost.
type Base struct {
	// EventID is the event's identity: consumers recognise a redelivery by it.
	EventID uuid.UUID `json:"eventId"`
	// Timestamp is when the fact happened, in UTC.
	Timestamp time.Time `json:"timestamp"`
	// EventType is the last part of the topic, such as "created".
	EventType string `json:"eventType"`
	// EventVersion is the version of the event's schema; see [Versioned].
	EventVersion string `json:"eventVersion"`
	// SourceService is who published the event: the first part of the topic.
	SourceService string `json:"sourceService"`
	// CorrelationID is common to all that one request set off. Left out when empty.
	CorrelationID string `json:"correlationId,omitempty"`
	// CausationID is the EventID of the event whose handling caused this one.
	// Left out when empty.
	CausationID string `json:"causationId,omitempty"`
}

// Metadata returns b itself.
func (b *Base) Metadata() *Base { return b }
