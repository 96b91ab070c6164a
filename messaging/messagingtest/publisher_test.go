package messagingtest

import (
	"context"
	"errors"
	"runtime"
	"slices"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/expensevault/sharedlibrary/events"
	"github.com/expensevault/sharedlibrary/messaging"
)

func TestRecorderIsAPublisher(t *testing.T) { //nolint:tparallel // the suite runs its subtests in order
	t.Parallel()
	TestPublisher(t, func(testing.TB) (messaging.Publisher, func() []messaging.Record) {
		rec := new(Recorder)
		return rec, rec.Records
	})
}

type brokenT struct {
	testing.TB

	ctx    context.Context //nolint:containedctx // stands for the test's
	failed bool
}

func (t *brokenT) Helper()                  {}
func (t *brokenT) Context() context.Context { return t.ctx }
func (t *brokenT) Errorf(string, ...any)    { t.failed = true }
func (t *brokenT) Fatalf(string, ...any)    { t.failed = true; runtime.Goexit() }

// broken is a Recorder with one fault.
type broken struct {
	Recorder
	publish func(r *Recorder, ctx context.Context, evs []events.IntegrationEvent) error
	records func(r *Recorder) []messaging.Record
}

func (b *broken) Publish(ctx context.Context, evs ...events.IntegrationEvent) error {
	if b.publish == nil {
		return b.Recorder.Publish(ctx, evs...)
	}
	return b.publish(&b.Recorder, ctx, evs)
}

func (b *broken) published() []messaging.Record {
	if b.records == nil {
		return b.Records()
	}
	return b.records(&b.Recorder)
}

// Each check must be able to fail, and each fault is found by a check that names it.
func TestChecksFindFaults(t *testing.T) {
	t.Parallel()
	type publish = func(*Recorder, context.Context, []events.IntegrationEvent) error
	for _, tc := range []struct {
		fault   string
		publish publish
		records func(*Recorder) []messaging.Record
		want    []string // the checks that fail
	}{
		{fault: "none"},
		{
			fault: "stamps a copy",
			publish: func(r *Recorder, ctx context.Context, evs []events.IntegrationEvent) error {
				for i, e := range evs {
					if e, ok := e.(*checkedEvent); ok && e != nil {
						c := *e
						evs[i] = &c
					}
				}
				return r.Publish(ctx, evs...)
			},
			want: []string{"Stamp"},
		},
		{
			fault: "stamps anew",
			publish: func(r *Recorder, ctx context.Context, evs []events.IntegrationEvent) error {
				for _, e := range evs {
					if e, ok := e.(*checkedEvent); ok && e != nil {
						e.Base = events.Base{}
					}
				}
				return r.Publish(ctx, evs...)
			},
			want: []string{"KeepsWhatIsSet"},
		},
		{
			fault: "forgets the context",
			publish: func(r *Recorder, _ context.Context, evs []events.IntegrationEvent) error {
				return r.Publish(context.Background(), evs...) //nolint:contextcheck // the fault
			},
			want: []string{"Context", "EndedContext"},
		},
		{
			fault: "no key",
			records: func(r *Recorder) []messaging.Record {
				recs := r.Records()
				for i := range recs {
					recs[i].Key = nil
				}
				return recs
			},
			want: []string{"Stamp"},
		},
		{
			fault: "needs events",
			publish: func(r *Recorder, ctx context.Context, evs []events.IntegrationEvent) error {
				if len(evs) == 0 {
					return errors.New("no events")
				}
				return r.Publish(ctx, evs...)
			},
			want: []string{"NoEvents"},
		},
		{
			fault: "takes the events of a call backwards",
			publish: func(r *Recorder, ctx context.Context, evs []events.IntegrationEvent) error {
				slices.Reverse(evs)
				return r.Publish(ctx, evs...)
			},
			want: []string{"OrderWithinCall"},
		},
		{
			fault: "publishes one by one until one fails",
			publish: func(r *Recorder, ctx context.Context, evs []events.IntegrationEvent) error {
				for _, e := range evs {
					if err := r.Publish(ctx, e); err != nil {
						return err
					}
				}
				return nil
			},
			want: []string{"Invalid", "TooLarge"},
		},
		{
			fault: "swallows errors",
			publish: func(r *Recorder, ctx context.Context, evs []events.IntegrationEvent) error {
				_ = r.Publish(ctx, evs...)
				return nil
			},
			want: []string{"Invalid", "TooLarge", "EndedContext"},
		},
		{
			fault: "errors of its own",
			publish: func(r *Recorder, ctx context.Context, evs []events.IntegrationEvent) error {
				if r.Publish(ctx, evs...) != nil {
					return errors.New("failed")
				}
				return nil
			},
			want: []string{"Invalid", "TooLarge", "EndedContext"},
		},
		{
			fault: "doubles",
			records: func(r *Recorder) []messaging.Record {
				recs := r.Records()
				return append(recs, recs...)
			},
			want: []string{"Stamp", "KeepsWhatIsSet", "Context", "Order", "OrderWithinCall", "Invalid", "TooLarge", "EndedContext", "Concurrent"},
		},
		{
			fault: "loses the last of many",
			records: func(r *Recorder) []messaging.Record {
				recs := r.Records()
				return recs[:min(len(recs), 29)]
			},
			want: []string{"Order", "OrderWithinCall", "Concurrent"},
		},
		{
			fault:   "not for concurrent use",
			publish: onlyOneAtATime(),
			want:    []string{"Concurrent"},
		},
	} {
		t.Run(tc.fault, func(t *testing.T) {
			t.Parallel()
			var failed []string
			for _, check := range publisherChecks() {
				fake := &brokenT{TB: t, ctx: t.Context()}
				p := &broken{publish: tc.publish, records: tc.records}
				var wg sync.WaitGroup
				wg.Go(func() { check.run(&publisherCheck{t: fake, p: p, published: p.published}) })
				wg.Wait()
				if fake.failed {
					failed = append(failed, check.name)
				}
			}
			assert.Equal(t, tc.want, failed)
		})
	}
}

// onlyOneAtATime loses the events of calls that overlap, which it provokes.
func onlyOneAtATime() func(*Recorder, context.Context, []events.IntegrationEvent) error {
	var mu sync.Mutex
	return func(r *Recorder, ctx context.Context, evs []events.IntegrationEvent) error {
		if !mu.TryLock() {
			return nil
		}
		defer mu.Unlock()
		for range 100 {
			runtime.Gosched()
		}
		return r.Publish(ctx, evs...)
	}
}
