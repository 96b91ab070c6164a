// Package event holds the integration events of customservice: what it tells
// other services, and the only thing that they share with it. A change that
// they could not read is a new version; see [events.Versioned].
package event

import (
	"reflect"
	"strings"

	"github.com/google/uuid"

	"github.com/expensevault/sharedlibrary/events"
)

// Service is the first part of the topics, and the sourceService of the events.
const Service = "customservice"

// Topics returns the names of the topics that this service publishes to.
func Topics() []string {
	return []string{
		(*ItemCreated)(nil).Topic().String(),
		(*ItemUpdated)(nil).Topic().String(),
		(*ItemDeleted)(nil).Topic().String(),
		(*Notification)(nil).Topic().String(),
	}
}

// Name is how the log speaks of an event: the name of its Go type.
func Name(e events.IntegrationEvent) string {
	t := reflect.TypeOf(e)
	if t == nil {
		return "nothing"
	}
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	return t.Name()
}

// NameOfType is the [Name] of the service's event with this type, the last part of its topic; the type itself for others' events.
func NameOfType(eventType string) string {
	for _, e := range []events.IntegrationEvent{(*ItemCreated)(nil), (*ItemUpdated)(nil), (*ItemDeleted)(nil), (*Notification)(nil)} {
		if strings.HasSuffix(e.Topic().String(), "."+eventType) {
			return Name(e)
		}
	}
	return eventType
}

// OfItem is implemented by the events about one item.
type OfItem interface {
	events.IntegrationEvent
	ItemID() uuid.UUID
}
