package messaging

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/expensevault/sharedlibrary/internal/backoff"
	"github.com/expensevault/sharedlibrary/internal/consumer"
	"github.com/expensevault/sharedlibrary/internal/recordbatch"
)

// pipeline takes a record from the engine to its end: handled or dead-lettered.
type pipeline struct {
	log              *slog.Logger
	mux              *Mux
	group            string
	retry            retryPolicy
	routes           map[string]*route // by the topic's name on the broker
	deadLetterTopics map[string]string
	write            func(ctx context.Context, deadLetter Record) error
}

// progress is what is known of a record from one attempt to the next.
type progress struct {
	shown  bool // the stack of a panic is logged once per record
	letter *Record
	attrs  []slog.Attr // of the letter
	tries  int         // to write it
	logged time.Time
}

// handle makes one attempt. It returns nil when the record is finished, and a
// [*consumer.Again] for the next attempt, be it to handle it, be it to write its dead letter.
func (p *pipeline) handle(ctx context.Context, w *consumer.Work) error {
	rec := w.Records[0]
	rt := p.routes[rec.Topic]
	if rt == nil {
		return fmt.Errorf("topic %s was not subscribed to", rec.Topic)
	}
	if group, ok := retryGroup(rec.Headers); ok && group != p.group {
		p.log.DebugContext(ctx, "A record that another group is to handle again was passed over", "messaging.destination.name", rec.Topic,
			"messaging.destination.partition.id", rec.Partition, "messaging.kafka.offset", rec.Offset, "retry.group", group)
		return nil
	}
	before, _ := w.State.(*progress)
	if before != nil && before.letter != nil {
		return p.deadLetter(ctx, w, before)
	}
	policy := p.retry
	if rt.options.retry != nil {
		policy = *rt.options.retry
	}
	r := Record{
		Topic: rec.Topic, Key: rec.Key, Value: rec.Value, Timestamp: rec.Timestamp,
		Headers: slices.Clip(rec.Headers), // what a middleware appends does not reach the dead letter
	}
	id, err := p.mux.deliver(ContextWithDelivery(ctx, Delivery{
		Topic: rec.Topic, Partition: rec.Partition, Offset: rec.Offset, Attempt: w.Attempt,
		Group: p.group, Key: rec.Key, Headers: r.Headers, Time: rec.Timestamp,
	}), rt, r)
	if err == nil {
		return nil
	}
	if before == nil {
		before = &progress{} //nolint:exhaustruct // nothing yet
		w.State = before
	}
	f := newFailure(err, w.Attempt, id)
	attrs := p.attrs(rec, &f)
	if f.stack != nil && !before.shown {
		before.shown = true
		attrs = append(attrs, slog.String("exception.stacktrace", string(f.stack)))
	}
	if ctx.Err() != nil || w.Draining() && !f.permanent {
		// Whether the handler failed by itself or because of the stop cannot be told: it gets another chance.
		p.log.LogAttrs(ctx, slog.LevelInfo, "Handling was interrupted; the record will be handled again", attrs...)
		return &consumer.Again{After: 0, Done: 0, Err: cmp.Or(ctx.Err(), err)}
	}
	if f.permanent || w.Attempt >= policy.attempts {
		letter := newDeadLetter(p.deadLetterTopics[rec.Topic], p.group, rec, &f, time.Now())
		attrs = append(attrs, slog.String("dead_letter.topic", letter.Topic))
		before.letter, before.attrs = &letter, attrs
		return p.deadLetter(ctx, w, before)
	}
	pause := policy.pauses.Pause(w.Attempt - 1)
	if f.after != nil {
		pause = max(f.after.pause, 0)
	}
	p.log.LogAttrs(ctx, slog.LevelWarn, "Handling failed; will be tried again", append(attrs, slog.Duration("pause", pause))...)
	return &consumer.Again{After: pause, Done: 0, Err: err}
}

// silence is how long the log is spared from the same trouble with one dead letter.
const silence = 30 * time.Second

// deadLetter tries to write the record's dead letter, for as often as it takes.
func (p *pipeline) deadLetter(ctx context.Context, w *consumer.Work, l *progress) error {
	if !w.Owned(ctx) { // the handler may have taken long
		return &consumer.Again{After: 0, Done: 0, Err: ctx.Err()}
	}
	err := p.write(ctx, *l.letter)
	if err == nil {
		p.log.LogAttrs(ctx, slog.LevelError, "Handling failed; the record went to the dead-letter topic", l.attrs...)
		return nil
	}
	if ctx.Err() != nil {
		return &consumer.Again{After: 0, Done: 0, Err: ctx.Err()}
	}
	if l.logged.IsZero() || time.Since(l.logged) >= silence {
		l.logged = time.Now()
		p.log.LogAttrs(ctx, slog.LevelError, "The dead letter cannot be written, and the record's key waits: "+deadLetterAdvice(err),
			append(slices.Clip(l.attrs), slog.Any("dead_letter.error", err))...)
	}
	pauses := backoff.Policy{Min: 250 * time.Millisecond, Max: 10 * time.Second}
	l.tries++
	return &consumer.Again{After: pauses.Pause(l.tries - 1), Done: 0, Err: err}
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
