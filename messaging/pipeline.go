package messaging

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/expensevault/sharedlibrary/internal/backoff"
	"github.com/expensevault/sharedlibrary/internal/recordbatch"
)

// errStopping leaves a record unfinished because Run is to stop. It ends the
// engine's Run, which is ending, and is no failure.
var errStopping = errors.New("messaging: the subscriber stops")

// pipeline takes a record from the engine to its end: handled or dead-lettered.
type pipeline struct {
	log              *slog.Logger
	mux              *Mux
	group            string
	retry            retryPolicy
	routes           map[string]*route // by the topic's name on the broker
	deadLetterTopics map[string]string
	stopping         <-chan struct{} // closed when Run is to stop
	write            func(ctx context.Context, deadLetter Record) error
}

// handle returns nil when the record is finished, and does not return before,
// unless ctx or the subscriber's Run ends.
func (p *pipeline) handle(ctx context.Context, rec *recordbatch.Record) error {
	rt := p.routes[rec.Topic]
	if rt == nil {
		return fmt.Errorf("topic %s was not subscribed to", rec.Topic)
	}
	policy := p.retry
	if rt.options.retry != nil {
		policy = *rt.options.retry
	}
	r := Record{
		Topic: rec.Topic, Key: rec.Key, Value: rec.Value, Timestamp: rec.Timestamp,
		Headers: slices.Clip(rec.Headers), // what a middleware appends does not reach the dead letter
	}
	shown := false // the stack of a panic is logged once per record
	for attempt := 1; ; attempt++ {
		id, err := p.mux.deliver(ContextWithDelivery(ctx, Delivery{
			Topic: rec.Topic, Partition: rec.Partition, Offset: rec.Offset, Attempt: attempt,
			Group: p.group, Key: rec.Key, Headers: r.Headers, Time: rec.Timestamp,
		}), rt, r)
		if err == nil {
			return nil
		}
		f := newFailure(err, attempt, id)
		attrs := p.attrs(rec, &f)
		if f.stack != nil && !shown {
			shown = true
			attrs = append(attrs, slog.String("exception.stacktrace", string(f.stack)))
		}
		if ctx.Err() != nil || p.isStopping() && !f.permanent {
			// Whether the handler failed by itself or because of the stop cannot be told: it gets another chance.
			p.log.LogAttrs(ctx, slog.LevelInfo, "Handling was interrupted; the record will be handled again", attrs...)
			return p.unfinished(ctx)
		}
		if f.permanent || attempt >= policy.attempts {
			return p.deadLetter(ctx, rec, &f, attrs)
		}
		pause := policy.pauses.Pause(attempt - 1)
		if f.after != nil {
			pause = max(f.after.pause, 0)
		}
		p.log.LogAttrs(ctx, slog.LevelWarn, "Handling failed; will be tried again", append(attrs, slog.Duration("pause", pause))...)
		if !p.wait(ctx, pause) {
			return p.unfinished(ctx)
		}
	}
}

// wait pauses; false when ctx or Run has ended.
func (p *pipeline) wait(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return ctx.Err() == nil && !p.isStopping()
	case <-ctx.Done():
	case <-p.stopping:
	}
	return false
}

func (p *pipeline) isStopping() bool {
	select {
	case <-p.stopping:
		return true
	default:
		return false
	}
}

// unfinished is the error for a record that is left as it is.
func (p *pipeline) unfinished(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return errStopping
}

// silence is how long the log is spared from the same trouble with one dead letter.
const silence = 30 * time.Second

// deadLetter writes the record's dead letter, however long that takes.
func (p *pipeline) deadLetter(ctx context.Context, rec *recordbatch.Record, f *failure, attrs []slog.Attr) error {
	topic := p.deadLetterTopics[rec.Topic]
	attrs = append(attrs, slog.String("dead_letter.topic", topic))
	letter := newDeadLetter(topic, p.group, rec, f, time.Now())
	pauses := backoff.Policy{Min: 250 * time.Millisecond, Max: 10 * time.Second}
	var logged time.Time
	for n := 0; ; n++ {
		err := p.write(ctx, letter)
		if err == nil {
			p.log.LogAttrs(ctx, slog.LevelError, "Handling failed; the record went to the dead-letter topic", attrs...)
			return nil
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if logged.IsZero() || time.Since(logged) >= silence {
			logged = time.Now()
			p.log.LogAttrs(ctx, slog.LevelError, "The dead letter cannot be written, and the partition waits: "+deadLetterAdvice(err),
				append(attrs, slog.Any("dead_letter.error", err))...)
		}
		if !p.wait(ctx, pauses.Pause(n)) {
			return p.unfinished(ctx)
		}
	}
}

// attrs are what every line about a record says. Neither key nor value is among them.
func (p *pipeline) attrs(rec *recordbatch.Record, f *failure) []slog.Attr {
	attrs := make([]slog.Attr, 0, 12)
	attrs = append(attrs,
		slog.String("messaging.destination.name", rec.Topic),
		slog.Int("messaging.destination.partition.id", int(rec.Partition)),
		slog.Int64("messaging.kafka.offset", rec.Offset),
		slog.String("messaging.consumer.group.name", p.group),
		slog.Int("attempt", f.attempt),
		slog.String("error.type", f.kind),
		slog.String("error", f.loggable),
	)
	if f.eventID != uuid.Nil {
		attrs = append(attrs, slog.String("messaging.message.id", f.eventID.String()))
	}
	return attrs
}
