package messaging

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"

	"github.com/expensevault/sharedlibrary/events"
)

// UnhandledPolicy is what becomes of an event that nothing handles; see [WithUnhandled].
type UnhandledPolicy uint8

const (
	// UnhandledDeadLetter sends it to the dead letters at once, from where it can be redriven when there is a handler.
	UnhandledDeadLetter UnhandledPolicy = iota
	// UnhandledSkip counts it as finished. The first of each type and version is logged.
	UnhandledSkip
	// UnhandledStop ends [Subscriber.Run] with an [UnhandledError]; its offset stays.
	UnhandledStop
)

// WithUnhandled sets what becomes of an event on a topic of the subscriber that
// its handler is not for; the default is [UnhandledDeadLetter]. Such is, for [Handle] and [HandleBatch],
//
//   - one whose eventType is there and is not the topic's, in whatever case;
//   - one whose eventVersion has another major version than the handler's
//     type, see [events.Versioned], or than those of [WithVersions].
//
// [HandleRecord] handles all.
func WithUnhandled(p UnhandledPolicy) SubscriberOption {
	return subscriberOption(func(o *subscriberOptions) { o.unhandled = p })
}

// WithVersions sets the major versions of an event that a handler is for, such
// as "1", "2"; by default that of its type alone. A minor version never counts: by convention it only adds.
func WithVersions(majors ...string) HandlerOption {
	return handlerOption(func(o *handlerOptions) { o.majors = slices.Clone(majors) })
}

// UnhandledError says that a record holds an event that its topic's handler is
// not for. It counts as permanent.
type UnhandledError struct {
	Topic        string // as on the broker
	EventType    string
	EventVersion string
	Handled      string // what the handler is for, in words
}

func (e *UnhandledError) Error() string {
	return fmt.Sprintf("nothing handles %.100q of version %.40q on topic %s: its handler is for %s; see WithUnhandled and WithVersions",
		e.EventType, e.EventVersion, e.Topic, e.Handled)
}

// ErrorType is "unhandled".
func (e *UnhandledError) ErrorType() string { return "unhandled" }

// accepts is which events a handler is for; its zero value: all.
type accepts struct {
	event  string
	majors []string
}

func acceptsOf[E any, P interface {
	*E
	events.IntegrationEvent
}](topic events.Topic,
) accepts {
	version := ""
	if v, ok := any(P(new(E))).(events.Versioned); ok {
		version = v.EventVersion()
	}
	if version == "" {
		version = "1.0"
	}
	return accepts{event: topic.Event, majors: []string{major(version)}}
}

func major(version string) string {
	m, _, _ := strings.Cut(version, ".")
	return m
}

// check reports an event that the handler is not for. What says nothing of itself is taken for what the topic asks for.
func (a *accepts) check(topic string, b *events.Base) error {
	if (b.EventType == "" || strings.EqualFold(b.EventType, a.event)) &&
		(b.EventVersion == "" || slices.Contains(a.majors, major(b.EventVersion))) {
		return nil
	}
	return &UnhandledError{
		Topic: topic, EventType: b.EventType, EventVersion: b.EventVersion,
		Handled: fmt.Sprintf("%q of version %s", a.event, strings.Join(a.majors, ", ")),
	}
}

// judge looks at what did not decode: of another version, by its header, it need not.
func (a *accepts) judge(r *Record, err error) error {
	version, ok := Delivery{Headers: r.Headers}.Header("ce_eventversion") //nolint:exhaustruct // only its headers
	if !ok {
		return err
	}
	if other := a.check(r.Topic, &events.Base{EventType: a.event, EventVersion: version}); other != nil {
		return other
	}
	return err
}

// skip finishes a record that nothing handles.
func (p *pipeline) skip(ctx context.Context, in *incoming, e *UnhandledError) {
	level := slog.LevelDebug
	if p.skipped != nil {
		if _, known := p.skipped.LoadOrStore(*e, true); !known {
			level = slog.LevelWarn
		}
	}
	p.log.LogAttrs(ctx, level, "An event that nothing handles was skipped; more of its kind are logged at debug level",
		slog.String("messaging.destination.name", in.orig.Topic),
		slog.Int("messaging.destination.partition.id", int(in.orig.Partition)),
		slog.Int64("messaging.kafka.offset", in.orig.Offset),
		slog.String("messaging.consumer.group.name", p.group),
		slog.String("error.type", e.ErrorType()), slog.Any("error", e))
}
