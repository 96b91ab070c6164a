package messaging

import (
	"cmp"
	"context"
	"log/slog"

	"github.com/google/uuid"

	"github.com/expensevault/sharedlibrary/internal/consumer"
	"github.com/expensevault/sharedlibrary/internal/recordbatch"
)

// stepBatch makes one attempt at as many of the first records as can be handled
// together: up to the first that cannot be decoded, or is not for this group.
func (p *pipeline) stepBatch(ctx context.Context, w *consumer.Work, rt *route, recs []*recordbatch.Record, st *progress) stepped {
	if recs[0].Offset < st.aloneUntil {
		recs = recs[:1]
	}
	ins := make([]incoming, 0, len(recs))
	items := make([]batchItem, 0, len(recs))
	for i, rec := range recs {
		in := p.incoming(rec)
		if i > 0 && (in.foreign || !in.due.IsZero()) {
			break
		}
		r := in.record()
		e, err := rt.safeEvent(ctx, &r)
		if err != nil && i > 0 {
			break // it is not its turn yet
		}
		if err != nil {
			return p.judge(ctx, w, rt, &in, st, r.eventID(), err)
		}
		ins = append(ins, in)
		items = append(items, batchItem{record: r, delivery: p.place(&in, st).of(&r), event: e})
	}
	ids := make([]uuid.UUID, len(items)) // now: the events are the handler's
	for i := range items {
		ids[i] = items[i].event.Metadata().EventID
	}
	pr := processing{} //nolint:exhaustruct // nobody looks
	if p.watch.looks(ctx) {
		rs := make([]Record, len(items))
		for i := range items {
			rs[i] = items[i].record
		}
		d := items[0].delivery
		d.Headers = nil // of one of them, which does not stand for the others
		pr = p.watch.beginProcess(ctx, p.group, &d, rs)
	}
	done, named, err := p.mux.deliverBatch(ctx, rt, items, pr.span)
	pr.end(ctx, uuid.Nil, err)
	st.last = pr
	switch {
	case err == nil:
		return st.finished(len(items))
	case named && done > 0:
		// Whatever happened to the batch before, this is the first attempt that came to that one.
		*st = progress{since: st.since, attempt: 1, last: pr} //nolint:exhaustruct // nothing else yet
		s := p.judge(ctx, w, rt, &ins[done], st, ids[done], err)
		s.n += done
		return s
	case named || len(items) == 1:
		return p.judge(ctx, w, rt, &ins[0], st, ids[0], err)
	}
	return p.judgeBatch(ctx, w, rt, &ins[0], st, len(items), recs[len(items)-1].Offset+1, err)
}

// judgeBatch decides what is to become of a batch that failed as a whole.
func (p *pipeline) judgeBatch(ctx context.Context, w *consumer.Work, rt *route, in *incoming, st *progress, size int, end int64, err error) stepped {
	f, attrs := p.failure(in, st, uuid.Nil, err)
	attrs = append(attrs, slog.Int("messaging.batch.message_count", size))
	if p.interrupted(ctx, w, f, attrs) {
		return again(0, cmp.Or(ctx.Err(), err))
	}
	policy := p.policy(rt)
	if !f.permanent && st.attempt < policy.attempts {
		pause := policy.pause(st, f)
		p.retried(ctx, in.orig.Topic, f.kind)
		p.log.LogAttrs(ctx, slog.LevelWarn, "Handling a batch failed; will be tried again", append(attrs, slog.Duration("pause", pause))...)
		return again(pause, err)
	}
	p.log.LogAttrs(ctx, slog.LevelWarn, "Handling a batch failed; its events are handled one by one", attrs...)
	*st = progress{since: st.since, tried: st.attempt, aloneUntil: end, shown: st.shown} //nolint:exhaustruct // nothing else yet
	return stepped{n: 0, again: false, after: 0, err: nil}
}

// batchSize is how many records of a topic are handled at once. Those of a retry
// topic become due one by one.
func (p *pipeline) batchSize(topic string) int {
	rt := p.routes[topic]
	if _, retries := p.stages[topic]; rt == nil || rt.batch == nil || retries {
		return 1
	}
	return rt.options.batch
}
