package messaging

import (
	"context"
	"errors"
	"log/slog"

	"github.com/expensevault/sharedlibrary/events"
)

// Publisher is all that a service's code holds to publish events, and all that
// its tests replace; see package messagingtest.
//
// Publish stamps the events (see [events.Stamp]), takes correlation and
// causation ID from ctx where the event has none, and returns when every event
// is settled: nil says that all of them are acknowledged as Config.Acks asks.
// Events of one call and one partition key keep their order. When one of them
// can't be encoded, none is sent. Any number of goroutines may call it; an
// event must not be changed while it is being published.
type Publisher interface {
	Publish(ctx context.Context, evs ...events.IntegrationEvent) error
}

// PublisherFunc makes a function a [Publisher].
type PublisherFunc func(ctx context.Context, evs ...events.IntegrationEvent) error

// Publish calls f.
func (f PublisherFunc) Publish(ctx context.Context, evs ...events.IntegrationEvent) error {
	return f(ctx, evs...)
}

// BestEffort wraps p by the rule that a failed publish never fails the
// operation that it reports: Publish logs p's error, at level ERROR, and
// returns nil. Events that are lost this way stay lost. A nil log is [slog.Default].
func BestEffort(p Publisher, log *slog.Logger) Publisher {
	if log == nil {
		log = slog.Default()
	}
	return PublisherFunc(func(ctx context.Context, evs ...events.IntegrationEvent) error {
		err := p.Publish(ctx, evs...)
		if err == nil {
			return nil
		}
		attrs := []slog.Attr{slog.String("error.type", errorType(err)), slog.Any("error", err)}
		if topic := topicOf(err, evs); topic != "" {
			attrs = append(attrs, slog.String("messaging.destination.name", topic))
		}
		log.LogAttrs(ctx, slog.LevelError, "Failed to publish", attrs...)
		return nil
	})
}

// topicOf is where the events were to go, "" where that can't be told. An event
// that could not be published may be one whose methods panic.
func topicOf(err error, evs []events.IntegrationEvent) (topic string) {
	if pe, ok := errors.AsType[*PublishError](err); ok {
		return pe.Topic
	}
	defer func() { _ = recover() }()
	if len(evs) == 1 && evs[0] != nil {
		return evs[0].Topic().String()
	}
	return ""
}
