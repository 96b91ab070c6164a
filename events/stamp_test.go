package events_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/expensevault/sharedlibrary/events"
)

func TestStampFillsWhatIsMissing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		<-time.After(1234567 * time.Nanosecond)
		e := &itemCreated{Name: "a name"}
		require.NoError(t, events.Stamp(e))
		assert.Equal(t, uuid.Version(4), e.EventID.Version())
		assert.Equal(t, time.Date(2000, 1, 1, 0, 0, 0, 1e6, time.UTC), e.Timestamp, "UTC, cut to the millisecond")
		assert.Equal(t, "created", e.EventType)
		assert.Equal(t, "1.0", e.EventVersion)
		assert.Equal(t, "customservice", e.SourceService)
		assert.Empty(t, e.CorrelationID)
		assert.Empty(t, e.CausationID)
		assert.Equal(t, "a name", e.Name)

		other := &itemCreated{}
		require.NoError(t, events.Stamp(other))
		assert.NotEqual(t, e.EventID, other.EventID)

		<-time.After(time.Hour)
		before := *e
		require.NoError(t, events.Stamp(e))
		assert.Equal(t, before, *e, "stamping twice changes nothing")
	})
}

func TestStampLeavesWhatIsSet(t *testing.T) {
	t.Parallel()
	base := events.Base{
		EventID:       uuid.MustParse("3fa85f64-5717-4562-b3fc-2c963f66afa6"),
		Timestamp:     time.Date(2025, 11, 30, 10, 30, 0, 123456789, time.UTC),
		EventType:     "made",
		EventVersion:  "7.1",
		SourceService: "elsewhere",
		CorrelationID: "abc123-def456",
		CausationID:   "cause",
	}
	e := &versioned{itemCreated: itemCreated{Base: base}, version: "2.0"}
	require.NoError(t, events.Stamp(e))
	assert.Equal(t, base, e.Base)

	e.Timestamp = base.Timestamp.In(time.FixedZone("", 2*60*60))
	require.NoError(t, events.Stamp(e))
	assert.Equal(t, base, e.Base, "the same instant, in UTC")
}

func TestStampAsksForTheVersion(t *testing.T) {
	t.Parallel()
	e := &versioned{version: "2.0"}
	require.NoError(t, events.Stamp(e))
	assert.Equal(t, "2.0", e.Base.EventVersion)
	body, err := events.Encode(e)
	require.NoError(t, err)
	assert.Contains(t, string(body), `"eventVersion":"2.0"`)

	e = &versioned{}
	require.NoError(t, events.Stamp(e))
	assert.Equal(t, "1.0", e.Base.EventVersion)
}

func TestStampThroughPointers(t *testing.T) {
	t.Parallel()
	e := byPointer{Base: &events.Base{}}
	require.NoError(t, events.Stamp(e))
	assert.Equal(t, "c", e.EventType)

	nested := byNestedPointer{&Common{Tenant: "one"}}
	require.NoError(t, events.Stamp(&nested))
	assert.Equal(t, "one", nested.SourceService)
}

func TestStampRefuses(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		event events.IntegrationEvent
		want  string
	}{
		"nil":                     {nil, "the event is nil"},
		"typed nil":               {(*itemCreated)(nil), "the event is a nil *events_test.itemCreated"},
		"nil pointer to a value":  {(*byPointer)(nil), "the event is a nil *events_test.byPointer"},
		"nil envelope":            {byPointer{}, "its embedded Base is a nil pointer"},
		"nil envelope, pointer":   {&byPointer{}, "its embedded Base is a nil pointer"},
		"nil between":             {byNestedPointer{}, "nil pointer embedded"},
		"nil between, by pointer": {&byNestedPointer{}, "nil pointer embedded"},
		"topic":                   {&badTopic{}, `*events_test.badTopic cannot be published: events: topic "custom service.item.created": its service contains ' '`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			require.ErrorContains(t, events.Stamp(c.event), c.want)
		})
	}
	e := &badTopic{}
	require.Error(t, events.Stamp(e))
	assert.Zero(t, e.Base, "an event that cannot be published is left as it was")
}

type panics struct{ events.Base }

func (*panics) Topic() events.Topic  { panic("not written yet") }
func (*panics) PartitionKey() string { return "" }

// A nil pointer is bad input; a panic of the event's own is a defect of its own.
func TestStampLetsOtherPanicsPass(t *testing.T) {
	t.Parallel()
	assert.PanicsWithValue(t, "not written yet", func() { _ = events.Stamp(&panics{}) })
}

func BenchmarkStamp(b *testing.B) {
	e := &itemCreated{}
	b.ReportAllocs()
	for b.Loop() {
		e.Base = events.Base{}
		if err := events.Stamp(e); err != nil {
			b.Fatal(err)
		}
	}
}
