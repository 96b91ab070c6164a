package events

import (
	"fmt"
	"strings"
)

// maxTopicLength is Kafka's own limit for the name of a topic, in bytes.
const maxTopicLength = 249

// Topic names the Kafka topic of an event type: {service}.{domain}.{event-type}.
// The zero value is not valid. Topics may be compared with ==.
type Topic struct{ Service, Domain, Event string }

// NewTopic returns the topic of its three parts. It checks nothing, so that it
// fits into an event's one-line Topic method; [Stamp], and so every publish,
// calls [Topic.Validate].
func NewTopic(service, domain, event string) Topic {
	return Topic{Service: service, Domain: domain, Event: event}
}

// ParseTopic reads the name of a topic, as [Topic.String] writes it. What it
// returns without an error is valid; with an error it returns the zero Topic.
func ParseTopic(s string) (Topic, error) {
	// More than four parts are as wrong as four: nothing is gained by splitting them.
	parts := strings.SplitN(s, ".", 5)
	if len(parts) != 3 {
		return Topic{}, fmt.Errorf("events: topic %q does not have three parts: write {service}.{domain}.{event-type}", abbreviate(s))
	}
	t := NewTopic(parts[0], parts[1], parts[2])
	if err := t.Validate(); err != nil {
		return Topic{}, err
	}
	return t, nil
}

// String is the name on the broker: the three parts with dots between them.
func (t Topic) String() string { return t.Service + "." + t.Domain + "." + t.Event }

// Validate returns nil for a name that Kafka takes and that no other valid
// name can be mistaken for. Each part is one or more of a-z, A-Z, 0-9 and '-',
// and the whole is at most 249 bytes.
//
// Kafka would also take '_'. It is refused here because Kafka's metrics write
// every '.' as '_', for which reason a broker refuses to create a.b_c.d where
// there is a_b.c.d. Upper case is taken, as Kafka takes it, but the convention
// is lower case: to Kafka Item and item are two topics.
func (t Topic) Validate() error {
	for _, p := range [...]struct{ name, value string }{
		{"service", t.Service}, {"domain", t.Domain}, {"event type", t.Event},
	} {
		if p.value == "" {
			return fmt.Errorf("events: topic %q: its %s is empty: write {service}.{domain}.{event-type}", abbreviate(t.String()), p.name)
		}
		for _, r := range p.value {
			if legal(r) {
				continue
			}
			hint := "use a-z, 0-9 and '-'"
			switch r {
			case '_':
				hint = "Kafka's metrics cannot tell it from '.'; use '-'"
			case '.':
				hint = "it separates the three parts; use '-'"
			}
			return fmt.Errorf("events: topic %q: its %s contains %q: %s", abbreviate(t.String()), p.name, r, hint)
		}
	}
	if n := len(t.Service) + len(t.Domain) + len(t.Event) + 2; n > maxTopicLength {
		return fmt.Errorf("events: topic %q is %d bytes long: Kafka takes %d", abbreviate(t.String()), n, maxTopicLength)
	}
	return nil
}

func legal(r rune) bool {
	return 'a' <= r && r <= 'z' || '0' <= r && r <= '9' || r == '-' || 'A' <= r && r <= 'Z'
}

// abbreviate keeps a hostile name from filling a log line.
func abbreviate(s string) string {
	const enough = 80
	if len(s) <= enough {
		return s
	}
	return s[:enough] + "…"
}
