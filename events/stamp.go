package events

import (
	"crypto/rand"
	"errors"
	"fmt"
	"reflect"
	"runtime"
	"time"

	"github.com/google/uuid"
)

// defaultVersion is the EventVersion of an event that is not [Versioned].
const defaultVersion = "1.0"

// Stamp fills what is missing in the event's envelope and leaves what is set,
// so that stamping twice changes nothing. Publishing calls it.
//
//   - EventID: a random UUID (version 4).
//   - Timestamp: now, in UTC, cut to the millisecond. That is as much as the
//     timestamp of a Kafka record holds, so that the record and the body name
//     the same instant; and it survives JSON, .NET's seven digits and every
//     database. A timestamp that is set keeps its instant and its precision and
//     is moved to UTC.
//   - EventType and SourceService: the topic's last and first part.
//   - EventVersion: what EventVersion() says where the event is [Versioned], else "1.0".
//   - CorrelationID and CausationID are left alone: they come from the caller's
//     context, which this package does not know.
//
// It returns an error, and changes nothing, for a nil event, a nil pointer as
// event or as its embedded struct, and an invalid topic. It writes to the event:
// do not call it for the same event from two goroutines at once.
func Stamp(e IntegrationEvent) error {
	b, err := envelope(e)
	if err != nil {
		return err
	}
	topic, version, err := constants(e)
	if err != nil {
		return err
	}
	if err := topic.Validate(); err != nil {
		return fmt.Errorf("events: %T cannot be published: %w", e, err)
	}
	if b.EventID == uuid.Nil {
		setRandom(&b.EventID)
	}
	if b.Timestamp.IsZero() {
		b.Timestamp = time.Now().Truncate(time.Millisecond)
	}
	b.Timestamp = b.Timestamp.UTC()
	if b.EventType == "" {
		b.EventType = topic.Event
	}
	if b.EventVersion == "" {
		b.EventVersion = version
	}
	if b.SourceService == "" {
		b.SourceService = topic.Service
	}
	return nil
}

// setRandom makes a random UUID (version 4), without uuid.NewRandom's allocation. Each comes from the kernel: a pool, or a
// generator in this process, would live on in the copies of a virtual machine's snapshot, and their events would have
// the same IDs, which consumers take for the same events.
func setRandom(id *uuid.UUID) {
	_, _ = rand.Read(id[:]) // it never fails
	id[6] = id[6]&0x0f | 4<<4
	id[8] = id[8]&0x3f | 2<<6
}

// envelope returns the event's Base, never nil without an error.
func envelope(e IntegrationEvent) (b *Base, err error) {
	if e == nil {
		return nil, errors.New("events: the event is nil")
	}
	if v := reflect.ValueOf(e); v.Kind() == reflect.Pointer && v.IsNil() {
		return nil, fmt.Errorf("events: the event is a nil %T", e)
	}
	defer nilDereference(e, &err)
	if b = e.Metadata(); b == nil {
		return nil, fmt.Errorf("events: %T has no envelope: its embedded Base is a nil pointer; embed events.Base itself", e)
	}
	return b, nil
}

// constants asks the event for what its Go type says.
func constants(e IntegrationEvent) (topic Topic, version string, err error) {
	defer nilDereference(e, &err)
	topic = e.Topic()
	if v, ok := e.(Versioned); ok {
		version = v.EventVersion()
	}
	if version == "" {
		version = defaultVersion
	}
	return topic, version, nil
}

// nilDereference, deferred, makes an error of what a method promoted through a
// nil embedded pointer does. Any other panic goes on.
func nilDereference(e IntegrationEvent, err *error) {
	switch r := recover().(type) {
	case nil:
	case runtime.Error:
		*err = fmt.Errorf("events: %T has a nil pointer embedded, or a method that fails on its value: %w", e, r)
	default:
		panic(r)
	}
}
