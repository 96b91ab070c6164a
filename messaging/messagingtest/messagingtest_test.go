package messagingtest_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/big"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/expensevault/sharedlibrary/events"
	"github.com/expensevault/sharedlibrary/messaging"
	"github.com/expensevault/sharedlibrary/messaging/messagingtest"
)

// fakeT records the failures of a helper.
type fakeT struct {
	testing.TB

	ctx      context.Context //nolint:containedctx // stands for the test's
	failures []string
}

func (t *fakeT) Helper()                  {}
func (t *fakeT) Context() context.Context { return t.ctx }

func (t *fakeT) Errorf(format string, args ...any) {
	t.failures = append(t.failures, fmt.Sprintf(format, args...))
}

func (t *fakeT) Fatalf(format string, args ...any) {
	t.Errorf(format, args...)
	runtime.Goexit()
}

// failuresOf returns what f reports to the test that it is given.
func failuresOf(t *testing.T, f func(testing.TB)) []string {
	t.Helper()
	fake := &fakeT{TB: t, ctx: t.Context()}
	var wg sync.WaitGroup
	wg.Go(func() { f(fake) })
	wg.Wait()
	return fake.failures
}

type created struct {
	events.Base
	ItemID uuid.UUID      `json:"itemId"`
	Name   string         `json:"name"`
	At     time.Time      `json:"at"`
	Price  *big.Int       `json:"price"`
	Tags   []string       `json:"tags"`
	Empty  []string       `json:"empty,omitempty"`
	Extra  map[string]any `json:"extra"`
	Any    any            `json:"any"`
}

func (*created) Topic() events.Topic    { return events.NewTopic("shop", "item", "created") }
func (e *created) PartitionKey() string { return e.ItemID.String() }

func newCreated(name string) *created {
	return &created{
		ItemID: uuid.New(), Name: name, At: time.Now(), Price: big.NewInt(1), Tags: []string{"a"}, Empty: []string{},
		Extra: map[string]any{"n": 1}, Any: struct{ N int }{1},
	}
}

type deleted struct {
	events.Base
	ItemID string `json:"itemId"`
}

func (*deleted) Topic() events.Topic    { return events.NewTopic("shop", "item", "deleted") }
func (e *deleted) PartitionKey() string { return e.ItemID }

func TestRecorder(t *testing.T) {
	t.Parallel()
	var rec messagingtest.Recorder
	e := newCreated("first")
	require.NoError(t, rec.Publish(t.Context(), e, &deleted{ItemID: "i"}))
	e.Name = "changed afterwards"
	require.NoError(t, rec.Publish(t.Context(), e))

	names := func() (out []string) {
		for _, e := range messagingtest.All[*created](t, &rec) {
			out = append(out, e.Name)
		}
		return out
	}
	assert.Equal(t, []string{"first", "changed afterwards"}, names())
	assert.Len(t, rec.Events(), 3)
	recs := rec.Records()
	require.Len(t, recs, 3)
	assert.Equal(t, "shop.item.deleted", recs[1].Topic)
	assert.Equal(t, "i", string(recs[1].Key))
	assert.Equal(t, "i", messagingtest.One[*deleted](t, &rec).ItemID)

	rec.Reset()
	assert.Empty(t, rec.Events())
	assert.Empty(t, rec.Records())
}

func TestRecorderErr(t *testing.T) {
	t.Parallel()
	rec := messagingtest.Recorder{Err: messaging.ErrTimeout}
	require.ErrorIs(t, rec.Publish(t.Context(), &deleted{ItemID: "i"}), messaging.ErrTimeout)
	require.ErrorIs(t, rec.Publish(t.Context(), nil), messaging.ErrInvalidEvent, "what is never sent fails for its own reason")
	assert.Empty(t, rec.Events())
	rec.Err = nil
	require.NoError(t, rec.Publish(t.Context(), &deleted{ItemID: "i"}))
	assert.Len(t, rec.Events(), 1)
}

// byValue is an event that is no pointer.
type byValue struct{ *events.Base }

func (byValue) Topic() events.Topic  { return events.NewTopic("shop", "item", "valued") }
func (byValue) PartitionKey() string { return "k" }

func TestRecorderTakesEventsByValue(t *testing.T) {
	t.Parallel()
	var rec messagingtest.Recorder
	e := byValue{&events.Base{}}
	require.NoError(t, rec.Publish(t.Context(), e))
	got := messagingtest.One[byValue](t, &rec)
	assert.Equal(t, e.EventID, got.EventID)
	assert.NotSame(t, e.Base, got.Base)
}

func TestRecorderRefusesWhatNobodyCouldRead(t *testing.T) {
	t.Parallel()
	var rec messagingtest.Recorder
	e := &duplicate{}
	require.ErrorContains(t, rec.Publish(t.Context(), e), "no consumer could read this event")
}

func TestOne(t *testing.T) {
	t.Parallel()
	var rec messagingtest.Recorder
	got := failuresOf(t, func(tb testing.TB) { tb.Helper(); messagingtest.One[*deleted](tb, &rec) })
	assert.Equal(t, []string{"messagingtest: want exactly one *messagingtest_test.deleted published, got 0; published were: nothing"}, got)
	for range 12 {
		require.NoError(t, rec.Publish(t.Context(), &deleted{ItemID: "i"}))
	}
	got = failuresOf(t, func(tb testing.TB) { tb.Helper(); messagingtest.One[*created](tb, &rec) })
	require.Len(t, got, 1)
	assert.Contains(t, got[0], `*messagingtest_test.deleted (key "i"), `)
	assert.Contains(t, got[0], "and 2 more")
	got = failuresOf(t, func(tb testing.TB) { tb.Helper(); messagingtest.One[*deleted](tb, &rec) })
	require.Len(t, got, 1)
	assert.Contains(t, got[0], "got 12")
	assert.Empty(t, failuresOf(t, func(tb testing.TB) { tb.Helper(); messagingtest.All[*created](tb, &rec) }))
}

func TestDeliver(t *testing.T) {
	t.Parallel()
	var mux messaging.Mux
	var got *created
	cause := errors.New("the cause")
	messaging.Handle(&mux, func(_ context.Context, e *created) error {
		switch e.Name {
		case "fails":
			return messaging.Permanent(cause)
		case "panics":
			panic(cause)
		}
		got = e
		return nil
	})
	e := newCreated("fine")
	messagingtest.Deliver(t, &mux, e)
	assert.Equal(t, e.EventID, got.EventID)
	assert.NotSame(t, e, got)

	err := messagingtest.TryDeliver(t, &mux, newCreated("fails"))
	require.ErrorIs(t, err, cause)
	assert.True(t, messaging.IsPermanent(err))
	var p *messaging.PanicError
	require.ErrorAs(t, messagingtest.TryDeliver(t, &mux, newCreated("panics")), &p)
	require.NoError(t, messagingtest.TryDeliver(t, &mux, newCreated("fine")))

	for _, tc := range []struct {
		event events.IntegrationEvent
		want  string
	}{
		{newCreated("fails"), "deliver *messagingtest_test.created: the cause"},
		{newCreated("panics"), "panic: the cause"},
		{&deleted{ItemID: "i"}, `no handler for *messagingtest_test.deleted: its topic is "shop.item.deleted", and the mux has handlers for ["shop.item.created"]`},
		{&created{Any: math.NaN()}, "cannot be published"},
		{nil, "cannot be published"},
	} {
		got := failuresOf(t, func(tb testing.TB) { tb.Helper(); messagingtest.Deliver(tb, &mux, tc.event) })
		require.Len(t, got, 1)
		assert.Contains(t, got[0], tc.want)
	}
}

func TestEventOfGoodTypes(t *testing.T) {
	t.Parallel()
	e := newCreated("n")
	messagingtest.TestEvent(t, e)
	assert.Equal(t, events.Base{}, e.Base, "the example is not changed")
	messagingtest.TestEvent(t, &deleted{ItemID: "i"})
	messagingtest.TestEvent(t, &unkeyed{}, messagingtest.Unkeyed())
	messagingtest.TestEvent(t, &second{})
}

type keyed struct{}

func (keyed) PartitionKey() string { return "k" }
func (keyed) Topic() events.Topic  { return events.NewTopic("shop", "item", "checked") }

type (
	unkeyed struct {
		events.Base
	}
	versioned struct {
		events.Base
		keyed
		V string `json:"v"`
	}
	second struct {
		events.Base
		keyed
	}
	moody struct {
		events.Base
		Domain string `json:"domain"`
	}
	fragile struct {
		events.Base
		keyed
		Owner *deleted `json:"owner"`
	}
	misnamed struct {
		events.Base
		keyed
	}
	shadow struct {
		events.Base
		keyed
		RecordedAt time.Time `json:"timestamp"`
	}
	shadowOmitted struct {
		events.Base
		keyed
		Cause string `json:"causationId,omitempty"`
	}
	// Audit is embedded by pointer: vet finds the conflict otherwise.
	Audit struct {
		Who string `json:"sourceService"`
	}
	sameDepth struct {
		events.Base
		*Audit
		keyed
	}
	duplicate struct {
		events.Base
		keyed
		ID string `json:"EventID"`
	}
	last struct {
		Name string `json:"name"`
		events.Base
		keyed
	}
	nested struct {
		events.Base `json:"envelope"`
		keyed
	}
	pointer struct {
		*events.Base
		keyed
	}
	stamped struct {
		events.Base
		keyed
		time.Time // promotes MarshalJSON
	}
	lossy struct {
		events.Base
		keyed
		Kept   string   `json:"kept"`
		Hidden []string `json:"-"`
	}
	private struct {
		events.Base
		keyed
		secret int
	}
	changing struct {
		events.Base
		keyed
		Loud loud `json:"loud"`
	}
	large struct {
		events.Base
		keyed
		Body string `json:"body"`
	}
	unencodable struct {
		events.Base
		keyed
		N float64 `json:"n"`
	}
)

type loud string

func (l loud) MarshalText() ([]byte, error) { return []byte(strings.ToUpper(string(l))), nil }

func (*unkeyed) Topic() events.Topic    { return events.NewTopic("shop", "item", "unkeyed") }
func (*unkeyed) PartitionKey() string   { return "" }
func (e *moody) Topic() events.Topic    { return events.NewTopic("shop", e.Domain, "created") }
func (*moody) PartitionKey() string     { return "k" }
func (e *fragile) PartitionKey() string { return e.Owner.ItemID }
func (*misnamed) Topic() events.Topic   { return events.NewTopic("shop", "the_item", "created") }

func (*second) EventVersion() string { return "2.0" }

func (e *versioned) EventVersion() string { return e.V }

func TestEventFindsViolations(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		event events.IntegrationEvent
		opts  []messagingtest.EventOption
		want  []string // one per failure
	}{
		"nil":                     {nil, nil, []string{"the example is nil"}},
		"nil pointer":             {(*created)(nil), nil, []string{"the example is nil"}},
		"topic of the value":      {&moody{Domain: "item"}, nil, []string{`the topic of the zero value is "shop..created" and that of the example "shop.item.created"`}},
		"invalid topic":           {&misnamed{}, nil, []string{"the_item"}},
		"version of the value":    {&versioned{V: "3.0"}, nil, []string{`the version of the zero value is "" and that of the example "3.0"`}},
		"key of zero value":       {&fragile{Owner: &deleted{ItemID: "i"}}, nil, []string{"PartitionKey of the zero value panics"}},
		"key empty":               {&deleted{}, nil, []string{"the partition key is empty"}},
		"key zero UUID":           {&created{Price: big.NewInt(1)}, nil, []string{"zero UUID"}},
		"key although unkeyed":    {&deleted{ItemID: "i"}, []messagingtest.EventOption{messagingtest.Unkeyed()}, []string{`the partition key is "i"`}},
		"shadowed timestamp":      {&shadow{}, nil, []string{`the JSON's "timestamp" is not the envelope's: the field RecordedAt`, "not the same after"}},
		"shadowed and left out":   {&shadowOmitted{}, nil, []string{`the JSON lacks the envelope's "causationId": the field Cause`, "not the same after"}},
		"dropped, at equal depth": {&sameDepth{Audit: &Audit{}}, nil, []string{`the JSON lacks the envelope's "sourceService": the field Audit.Who`, "SourceService is not the same"}},
		"same but for case":       {&duplicate{}, nil, []string{"more than once"}},
		"envelope last":           {&last{}, nil, []string{"the envelope is not first"}},
		"envelope nested":         {&nested{}, nil, []string{`the JSON lacks the envelope's "eventId": embed events.Base without a tag`}},
		"envelope by pointer":     {&pointer{Base: &events.Base{}}, nil, []string{"embed events.Base itself"}},
		"no envelope":             {&pointer{}, nil, []string{"embed events.Base itself"}},
		"promoted MarshalJSON":    {&stamped{}, nil, []string{"not an object"}},
		"left out of the JSON":    {&lossy{Kept: "k", Hidden: []string{"h"}}, nil, []string{"Hidden is not the same"}},
		"unexported field":        {&private{secret: 1}, nil, []string{"secret is not the same"}},
		"changed by encoding":     {&changing{Loud: "quiet"}, nil, []string{"Loud is not the same"}},
		"too large":               {&large{Body: strings.Repeat("x", 1_000_000)}, nil, []string{"too large"}},
		"not encodable":           {&unencodable{N: math.Inf(1)}, nil, []string{"cannot be encoded"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := failuresOf(t, func(tb testing.TB) { tb.Helper(); messagingtest.TestEvent(tb, tc.event, tc.opts...) })
			require.Len(t, got, len(tc.want), "%q", got)
			for i, want := range tc.want {
				assert.Contains(t, got[i], want)
			}
		})
	}
}
