package messaging

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/expensevault/sharedlibrary/internal/backoff"
	"github.com/expensevault/sharedlibrary/internal/consumer"
	"github.com/expensevault/sharedlibrary/internal/recordbatch"
)

// pipeline takes a record from the engine to its end: handled, or written to a
// retry topic or the dead letters.
type pipeline struct {
	log              *slog.Logger
	mux              *Mux
	group            string
	retry            retryPolicy
	unhandled        UnhandledPolicy
	routes           map[string]*route     // by the topic's name on the broker
	stages           map[string]retryStage // by the retry topic's name on the broker
	retryTopics      map[string][]string   // of a topic, in order
	deadLetterTopics map[string]string
	write            func(ctx context.Context, letter Record) error
	skipped          *sync.Map // what was logged as unhandled
	watch            observed
}

// progress is what is known of a record from one attempt to the next.
type progress struct {
	since      time.Time  // when it was first looked at, if it has to wait
	attempt    int        // of the handler, in this topic
	tried      int        // attempts of the batch that it was part of
	aloneUntil int64      // the offset below which that batch is taken apart
	shown      bool       // the stack of a panic is logged once per record
	last       processing // the attempt before
	letter     *letter
}

// stepped is what came of a step. Its zero value: there is more to do, at once.
type stepped struct {
	n     int           // so many of the first records are finished
	again bool          // it is to be tried again, after a pause
	after time.Duration //
	err   error         // why again, or else what ends Run
}

func again(after time.Duration, err error) stepped {
	return stepped{n: 0, again: true, after: after, err: err}
}

// finished leaves st for the record behind the first n.
func (st *progress) finished(n int) stepped {
	*st = progress{aloneUntil: st.aloneUntil, tried: st.tried} //nolint:exhaustruct // nothing else yet
	return stepped{n: n, again: false, after: 0, err: nil}
}

// letter is a record that is to be written before the one it was made of is finished.
type letter struct {
	record Record
	topic  string // that it was made of a record of
	what   string // it is, for the log
	done   string // for the log, once it is written
	level  slog.Level
	attrs  []slog.Attr
	tries  int
	logged time.Time
	count  func(ctx context.Context) // once it is written
	by     processing                // the attempt that failed
}

// handle makes one attempt. It returns nil when the work is finished, and a
// [*consumer.Again] for the next attempt, be it to handle it, be it to write its dead letter.
func (p *pipeline) handle(ctx context.Context, w *consumer.Work) error {
	rt := p.routes[w.Records[0].Topic]
	if rt == nil {
		return fmt.Errorf("topic %s was not subscribed to", w.Records[0].Topic)
	}
	st := progress{} //nolint:exhaustruct // nothing yet
	if before, ok := w.State.(*progress); ok {
		st = *before
	}
	for done := 0; ; {
		s := p.step(ctx, w, rt, w.Records[done:], &st)
		if done += s.n; done == len(w.Records) {
			return nil
		}
		if w.Records[done].Offset >= st.aloneUntil {
			st.aloneUntil, st.tried = 0, 0
		}
		if s.err != nil && !s.again {
			return s.err
		}
		if s.again || s.n > 0 && (w.Draining() || ctx.Err() != nil) {
			kept := st // st itself would be on the heap for every record
			w.State = &kept
			return &consumer.Again{After: s.after, Done: done, Err: cmp.Or(s.err, ctx.Err())}
		}
	}
}

// step brings some of the first records further; st is of the first, and then of the first that is not finished.
func (p *pipeline) step(ctx context.Context, w *consumer.Work, rt *route, recs []*recordbatch.Record, st *progress) stepped {
	if st.letter != nil {
		return p.post(ctx, w, st)
	}
	in := p.incoming(recs[0])
	if in.foreign {
		p.log.DebugContext(ctx, "A record that another group is to handle again was passed over", "messaging.destination.name", recs[0].Topic,
			"messaging.destination.partition.id", recs[0].Partition, "messaging.kafka.offset", recs[0].Offset)
		return st.finished(1)
	}
	if wait := in.wait(st); wait > 0 {
		return again(wait, nil)
	}
	st.attempt++
	if rt.batch != nil {
		return p.stepBatch(ctx, w, rt, recs, st)
	}
	a := &attempt{record: in.record(), place: p.place(&in, st)} //nolint:exhaustruct // not decoded yet
	pr := processing{}                                          //nolint:exhaustruct // nobody looks
	if p.watch.looks(ctx) {
		d := a.delivery()
		pr = p.watch.beginProcess(ctx, p.group, &d, []Record{a.record})
		a.span = pr.span
	}
	id, err := p.mux.deliver(ctx, a, rt)
	pr.end(ctx, id, err)
	st.last = pr
	return p.judge(ctx, w, rt, &in, st, id, err)
}

func (p *pipeline) place(in *incoming, st *progress) place {
	return place{partition: in.orig.Partition, offset: in.orig.Offset, number: in.attempt(st), group: p.group}
}

// judge decides what is to become of a record after an attempt.
func (p *pipeline) judge(ctx context.Context, w *consumer.Work, rt *route, in *incoming, st *progress, id uuid.UUID, err error) stepped {
	if err == nil {
		return st.finished(1)
	}
	f, attrs := p.failure(in, st, id, err)
	if f.unhandled != nil {
		switch p.unhandled {
		case UnhandledSkip:
			p.skip(ctx, in, f.unhandled)
			return st.finished(1)
		case UnhandledStop:
			return stepped{n: 0, again: false, after: 0, err: err}
		case UnhandledDeadLetter:
		}
	}
	if p.interrupted(ctx, w, f, attrs) {
		return again(0, cmp.Or(ctx.Err(), err))
	}
	policy := p.policy(rt)
	if !f.permanent && st.attempt < policy.attempts && st.aloneUntil == 0 {
		pause := policy.pause(st, f)
		p.retried(ctx, in.orig.Topic, f.kind)
		p.log.LogAttrs(p.storyFor(ctx, in, st), slog.LevelWarn, "Handling failed; will be tried again", append(attrs, slog.Duration("pause", pause))...)
		return again(pause, err)
	}
	st.letter = p.newLetter(in, f, attrs)
	st.letter.by = st.last
	return p.post(p.storyFor(ctx, in, st), w, st)
}

// storyFor is ctx with what a record tells of its story, and the attempt that failed: for the log, and for what is written.
func (p *pipeline) storyFor(ctx context.Context, in *incoming, st *progress) context.Context {
	a := attempt{record: in.record()} //nolint:exhaustruct // not one of its own
	a.within(ctx)
	return st.last.story(a.tell())
}

// failure asks the error, once, and says what is for the log.
func (p *pipeline) failure(in *incoming, st *progress, id uuid.UUID, err error) (*failure, []slog.Attr) {
	f := newFailure(err, in.attempt(st), id)
	attrs := p.attrs(in.orig, &f)
	if f.stack != nil && !st.shown {
		st.shown = true
		attrs = append(attrs, slog.String("exception.stacktrace", string(f.stack)))
	}
	return &f, attrs
}

func (p *pipeline) policy(rt *route) retryPolicy {
	if rt.options.retry != nil {
		return *rt.options.retry
	}
	return p.retry
}

func (p retryPolicy) pause(st *progress, f *failure) time.Duration {
	if f.after != nil {
		return max(f.after.pause, 0)
	}
	return p.pauses.Pause(st.attempt - 1)
}

// interrupted reports that an attempt does not count: whether the handler failed by itself or because of
// the stop cannot be told.
func (p *pipeline) interrupted(ctx context.Context, w *consumer.Work, f *failure, attrs []slog.Attr) bool {
	if ctx.Err() == nil && (f.permanent || !w.Draining()) {
		return false
	}
	p.log.LogAttrs(ctx, slog.LevelInfo, "Handling was interrupted; the record will be handled again", attrs...)
	return true
}

// newLetter is for the next retry topic where there is one, else for the dead letters.
func (p *pipeline) newLetter(in *incoming, f *failure, attrs []slog.Attr) *letter {
	topics := p.retryTopics[in.orig.Topic]
	if !f.permanent && in.stage < len(topics) {
		l := &letter{topic: in.orig.Topic, level: slog.LevelWarn, what: "retry", done: "Handling failed; the record went to a retry topic"} //nolint:exhaustruct // filled below
		l.record = p.newRetry(topics[in.stage], in, f, time.Now())
		l.attrs = slices.Concat(attrs, []slog.Attr{slog.String("retry.topic", l.record.Topic)})
		l.count = func(ctx context.Context) { p.retried(ctx, l.topic, f.kind) }
		return l
	}
	l := &letter{topic: in.orig.Topic, level: slog.LevelError, what: "dead letter", done: "Handling failed; the record went to the dead-letter topic"} //nolint:exhaustruct // filled below
	l.record = newDeadLetter(p.deadLetterTopics[in.orig.Topic], p.group, in.orig, f, time.Now())
	l.attrs = slices.Concat(attrs, []slog.Attr{slog.String("dead_letter.topic", l.record.Topic)})
	l.count = func(ctx context.Context) { p.deadLettered(ctx, l.topic, f.kind) }
	return l
}

// silence is how long the log is spared from the same trouble with one dead letter.
const silence = 30 * time.Second

// post tries to write a letter, for as often as it takes.
func (p *pipeline) post(ctx context.Context, w *consumer.Work, st *progress) stepped {
	l := st.letter
	if !w.Owned(ctx) { // the handler may have taken long
		return again(0, ctx.Err())
	}
	ctx = l.by.story(ctx)
	err := p.write(ctx, l.record)
	if err == nil {
		l.count(ctx)
		p.log.LogAttrs(ctx, l.level, l.done, l.attrs...)
		return st.finished(1)
	}
	if ctx.Err() != nil {
		return again(0, ctx.Err())
	}
	if l.logged.IsZero() || time.Since(l.logged) >= silence {
		l.logged = time.Now()
		p.log.LogAttrs(ctx, slog.LevelError, "The "+l.what+" cannot be written, and the record's key waits: "+deadLetterAdvice(err),
			append(slices.Clip(l.attrs), slog.Any("dead_letter.error", err))...)
	}
	pauses := backoff.Policy{Min: 250 * time.Millisecond, Max: 10 * time.Second}
	l.tries++
	return again(pauses.Pause(l.tries-1), err)
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
