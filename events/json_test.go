package events_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/expensevault/sharedlibrary/events"
)

func golden(tb testing.TB, name string) []byte {
	tb.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", name))
	require.NoError(tb, err)
	var b bytes.Buffer
	require.NoError(tb, json.Compact(&b, text))
	return b.Bytes()
}

func guideEvents() map[string]events.IntegrationEvent {
	item := uuid.MustParse("7c9e6679-7425-40de-944b-e07fc1f90ae7")
	user := uuid.MustParse("550e8400-e29b-41d4-a716-446655440000")
	base := func(id string, hour, minute int) events.Base {
		return events.Base{
			EventID:       uuid.MustParse(id),
			Timestamp:     time.Date(2025, 11, 30, hour, minute, 0, 0, time.UTC),
			CorrelationID: "abc123-def456",
		}
	}
	return map[string]events.IntegrationEvent{
		"item_created.json": &itemCreated{
			Base: base("3fa85f64-5717-4562-b3fc-2c963f66afa6", 10, 30), CustomItemID: item, Name: "Sample Item",
			Description: "Item description", UserID: user,
			CategoryID: uuid.MustParse("660e8400-e29b-41d4-a716-446655440000"), Status: "Active",
		},
		"item_updated.json": &itemUpdated{
			Base: base("4fa85f64-5717-4562-b3fc-2c963f66afa7", 11, 0), CustomItemID: item, Name: "Updated Item Name",
			Description: "Updated description", UserID: user, Status: "Active", ModifiedBy: "user@example.com",
		},
		"item_deleted.json": &itemDeleted{
			Base: base("5fa85f64-5717-4562-b3fc-2c963f66afa8", 12, 0), CustomItemID: item, UserID: user,
			Name: "Deleted Item", DeletedBy: "user@example.com",
		},
	}
}

func TestBodiesAreTheGuides(t *testing.T) {
	t.Parallel()
	for name, e := range guideEvents() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			want := golden(t, name)
			require.NoError(t, events.Stamp(e))
			body, err := events.Encode(e)
			require.NoError(t, err)
			assert.Equal(t, string(want), string(body))

			var read events.IntegrationEvent
			switch e.(type) {
			case *itemCreated:
				read = &itemCreated{}
			case *itemUpdated:
				read = &itemUpdated{}
			case *itemDeleted:
				read = &itemDeleted{}
			}
			require.NoError(t, events.Decode(want, read))
			assert.Equal(t, e, read)
		})
	}
}

func TestStampedEventRoundTrips(t *testing.T) {
	t.Parallel()
	e := &itemCreated{Name: "<a> & \"b\"\u2028 ü"}
	e.CausationID = "3fa85f64-5717-4562-b3fc-2c963f66afa6"
	require.NoError(t, events.Stamp(e))
	body, err := events.Encode(e)
	require.NoError(t, err)
	assert.Contains(t, string(body), `"name":"<a> & \"b\"`)
	assert.Regexp(t, `"timestamp":"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,3})?Z"`, string(body))
	var read itemCreated
	require.NoError(t, events.Decode(body, &read))
	assert.Equal(t, e, &read)
}

func TestAppendEncode(t *testing.T) {
	t.Parallel()
	e := &itemDeleted{}
	want, err := events.Encode(e)
	require.NoError(t, err)
	dst := append(make([]byte, 0, 4096), "before "...)
	got, err := events.AppendEncode(dst, e)
	require.NoError(t, err)
	assert.Equal(t, "before "+string(want), string(got))
	assert.Same(t, &dst[0], &got[0], "room that is there is used")
	assert.NotContains(t, string(want), "correlationId", "empty: left out")
	assert.NotContains(t, string(want), "causationId")
}

type float struct {
	events.Base
	Value float64 `json:"value"`
}

func (*float) Topic() events.Topic  { return events.NewTopic("a", "b", "c") }
func (*float) PartitionKey() string { return "" }

// stolen has MarshalJSON promoted from time.Time, in spite of the tag.
type stolen struct {
	events.Base
	time.Time `json:"at"`
}

func (*stolen) Topic() events.Topic  { return events.NewTopic("a", "b", "c") }
func (*stolen) PartitionKey() string { return "" }

func TestEncodeRefuses(t *testing.T) {
	t.Parallel()
	late := &itemCreated{}
	late.Timestamp = time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC)
	for name, c := range map[string]struct {
		event events.IntegrationEvent
		want  string
	}{
		"nil":           {nil, "the event is nil"},
		"typed nil":     {(*itemCreated)(nil), "the event is a nil"},
		"no envelope":   {&byPointer{}, "has no envelope"},
		"nil between":   {&byNestedPointer{}, "nil pointer embedded"},
		"NaN":           {&float{Value: math.NaN()}, "encode *events_test.float: json: unsupported value: NaN"},
		"year 10000":    {late, "year outside of range"},
		"not an object": {&stolen{}, "must not have or inherit MarshalJSON"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := events.AppendEncode([]byte("before"), c.event)
			require.ErrorContains(t, err, c.want)
			assert.Equal(t, "before", string(got))
		})
	}
}

// with returns a created body with its first text replaced.
func with(tb testing.TB, old, replacement string) []byte {
	tb.Helper()
	body := string(golden(tb, "item_created.json"))
	require.Contains(tb, body, old)
	return []byte(strings.Replace(body, old, replacement, 1))
}

func TestDecodeReadsWhatDotNetWrites(t *testing.T) {
	t.Parallel()
	want := guideEvents()["item_created.json"].(*itemCreated)
	require.NoError(t, events.Stamp(want))
	at := want.Timestamp
	for name, c := range map[string]struct {
		body   []byte
		change func(e *itemCreated)
	}{
		"seven digits": {with(t, "10:30:00Z", "10:30:00.1234567Z"), func(e *itemCreated) { e.Timestamp = at.Add(123456700) }},
		"+00:00":       {with(t, "10:30:00Z", "10:30:00+00:00"), nil},
		"both":         {with(t, "10:30:00Z", "10:30:00.1234567+00:00"), func(e *itemCreated) { e.Timestamp = at.Add(123456700) }},
		"other zone":   {with(t, "10:30:00Z", "12:30:00+02:00"), nil},
		"upper-case UUID": {
			with(t, "3fa85f64-5717-4562-b3fc-2c963f66afa6", "3FA85F64-5717-4562-B3FC-2C963F66AFA6"), nil,
		},
		"null correlation": {with(t, `"abc123-def456"`, "null"), func(e *itemCreated) { e.CorrelationID = "" }},
		"null causation":   {with(t, `"customItemId"`, `"causationId":null,"customItemId"`), nil},
		"null ID": {
			with(t, `"3fa85f64-5717-4562-b3fc-2c963f66afa6"`, "null"), func(e *itemCreated) { e.EventID = uuid.Nil },
		},
		"null time": {with(t, `"2025-11-30T10:30:00Z"`, "null"), func(e *itemCreated) { e.Timestamp = time.Time{} }},
		"absent":    {with(t, `"correlationId":"abc123-def456",`, ""), func(e *itemCreated) { e.CorrelationID = "" }},
		"unknown":   {with(t, `"name"`, `"added":{"eventId":1,"EVENTID":[{"a":2,"A":"}"}]},"name"`), nil},
		"escaped":   {with(t, "Sample Item", `\u003cb\u003e \u0026 \"\\`), func(e *itemCreated) { e.Name = `<b> & "\` }},
		"spaces":    {with(t, `{"eventId":`, " \r\n\t{\n  \"eventId\" : "), nil},
		"trailing":  {with(t, `"Active"}`, "\"Active\"}\r\n"), nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var got itemCreated
			require.NoError(t, events.Decode(c.body, &got))
			expect := *want
			if c.change != nil {
				c.change(&expect)
			}
			assert.Equal(t, expect, got)
		})
	}
}

func TestDecodeReadsPascalCase(t *testing.T) {
	t.Parallel()
	body := golden(t, "item_created.json")
	var fields map[string]any
	require.NoError(t, json.Unmarshal(body, &fields))
	pascal := make(map[string]any)
	for k, v := range fields {
		pascal[strings.ToUpper(k[:1])+k[1:]] = v
	}
	body, err := json.Marshal(pascal)
	require.NoError(t, err)
	require.Contains(t, string(body), `"EventId"`)
	var got itemCreated
	require.NoError(t, events.Decode(body, &got))
	want := guideEvents()["item_created.json"]
	require.NoError(t, events.Stamp(want))
	assert.Equal(t, want, &got)
}

func TestDecodeRefuses(t *testing.T) {
	t.Parallel()
	const other = `"00000000-0000-4000-8000-000000000001"`
	for name, c := range map[string]struct {
		body []byte
		want string
	}{
		"nothing":           {nil, "the body is empty"},
		"spaces":            {[]byte(" \n"), "the body is empty"},
		"null":              {[]byte("null"), "not a JSON object"},
		"array":             {[]byte("[]"), "not a JSON object"},
		"array of bodies":   {with(t, "{", "[{"), "not a JSON object"},
		"string":            {[]byte(`"{}"`), "not a JSON object"},
		"number":            {[]byte("1"), "not a JSON object"},
		"byte order mark":   {with(t, "{", "\ufeff{"), "not a JSON object"},
		"binary":            {[]byte{0, 0, 0, 0, 1, '{', '}'}, "not a JSON object"},
		"cut short":         {with(t, `"Active"}`, `"Act`), "unexpected end of JSON input"},
		"cut after key":     {[]byte(`{"eventId`), "unexpected end of JSON input"},
		"cut at backslash":  {[]byte(`{"eventId\`), "in string escape code"},
		"trailing garbage":  {with(t, `"Active"}`, `"Active"}x`), "after top-level value"},
		"second object":     {with(t, `"Active"}`, `"Active"}{}`), "after top-level value"},
		"one brace more":    {with(t, `"Active"}`, `"Active"}}`), "after top-level value"},
		"comma":             {with(t, `"Active"}`, `"Active",}`), "invalid character"},
		"single quotes":     {[]byte(`{'eventId':'x'}`), "invalid character"},
		"invalid UTF-8":     {with(t, "Sample", "S\xffmple"), "not valid UTF-8"},
		"UTF-8 in a key":    {with(t, `"name"`, "\"na\xc3me\":1,\"name\""), "not valid UTF-8"},
		"surrogate bytes":   {with(t, "Sample", "\xed\xa0\x80"), "not valid UTF-8"},
		"same key":          {with(t, `"name"`, `"eventId":`+other+`,"name"`), `the field "eventId" more than once`},
		"upper case":        {with(t, `"name"`, `"EVENTID":`+other+`,"name"`), `the field "EVENTID" more than once`},
		"Pascal case":       {with(t, `"name"`, `"EventId":`+other+`,"name"`), `the field "EventId" more than once`},
		"escaped key":       {with(t, `"name"`, `"\u0065vent\u0049d":`+other+`,"name"`), "more than once"},
		"long s":            {with(t, `"name"`, `"ſourceService":"x","name"`), "more than once"},
		"escaped long s":    {with(t, `"name"`, `"\u017fourceService":"x","name"`), "more than once"},
		"not ASCII":         {with(t, `"name"`, `"größe":1,"GRÖßE":2,"name"`), "more than once"},
		"after nested":      {with(t, `"name"`, `"n":{"a":[1,{"b":"}]"}]},"eventid":`+other+`,"name"`), "more than once"},
		"no zone":           {with(t, "10:30:00Z", "10:30:00"), "cannot parse"},
		"space in time":     {with(t, "T10:30:00Z", " 10:30:00Z"), "cannot parse"},
		"number as time":    {with(t, `"2025-11-30T10:30:00Z"`, "1764498600"), "Time.UnmarshalJSON"},
		"before year 0":     {with(t, "2025-11-30T10:30:00Z", "0000-01-01T00:00:00+05:00"), "outside the years"},
		"after year 9999":   {with(t, "2025-11-30T10:30:00Z", "9999-12-31T23:59:59-05:00"), "outside the years"},
		"broken UUID":       {with(t, "3fa85f64-", "3fa85f64"), "invalid UUID"},
		"number as ID":      {with(t, `"3fa85f64-5717-4562-b3fc-2c963f66afa6"`, "3"), "cannot unmarshal number"},
		"number as text":    {with(t, `"created"`, "3"), "cannot unmarshal number"},
		"nested too deeply": {with(t, `"name"`, `"x":`+strings.Repeat("[", 20000)+strings.Repeat("]", 20000)+`,"name"`), "max depth"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var e itemCreated
			err := events.Decode(c.body, &e)
			require.ErrorContains(t, err, c.want)
			require.ErrorContains(t, err, "events: decode *events_test.itemCreated: ")
			assert.Less(t, len(err.Error()), 300)
		})
	}
}

func TestDecodeRefusesTargets(t *testing.T) {
	t.Parallel()
	body := golden(t, "item_created.json")
	require.Error(t, events.Decode(body, nil))
	require.Error(t, events.Decode(body, (*itemCreated)(nil)))
	require.Error(t, events.Decode(body, byPointer{Base: &events.Base{}}), "not a pointer")
	require.ErrorContains(t, events.Decode([]byte(`{"name":"x"}`), &byPointer{}), "has no envelope")

	var e byPointer
	require.NoError(t, events.Decode(body, &e), "encoding/json makes the embedded struct")
	assert.Equal(t, "created", e.EventType)
}

// Many keys are looked up, not compared pair by pair.
func TestDecodeManyKeys(t *testing.T) {
	t.Parallel()
	var b strings.Builder
	b.WriteString(`{"eventType":"created"`)
	for i := range 20_000 {
		fmt.Fprintf(&b, `,"k%d":%d`, i, i)
	}
	var e itemCreated
	require.NoError(t, events.Decode([]byte(b.String()+"}"), &e))
	assert.Equal(t, "created", e.EventType)
	long := strings.Repeat("l", 600)
	fmt.Fprintf(&b, `,"%s":0`, long)
	for _, dup := range []string{"EVENTTYPE", "K7", "K19999", strings.ToUpper(long)} {
		require.ErrorContains(t, events.Decode(fmt.Appendf(nil, `%s,"%s":0}`, b.String(), dup), &e), dup[:2])
	}
	few := `{"` + long + `":0,"eventType":"created"`
	require.NoError(t, events.Decode([]byte(few+`}`), &e))
	require.ErrorContains(t, events.Decode([]byte(few+`,"`+strings.ToUpper(long)+`":0}`), &e), "LLL")
	require.ErrorContains(t, events.Decode([]byte(few+`,"eventtype":0}`), &e), `"eventtype"`)
}

func TestDecodeKeepsNothingOfTheBody(t *testing.T) {
	t.Parallel()
	body := golden(t, "item_created.json")
	var e itemCreated
	require.NoError(t, events.Decode(body, &e))
	clear(body)
	want := guideEvents()["item_created.json"]
	require.NoError(t, events.Stamp(want))
	assert.Equal(t, want, &e)
}

func FuzzDecode(f *testing.F) {
	for name := range guideEvents() {
		f.Add(golden(f, name))
	}
	f.Add([]byte(`{"EventId":"3FA85F64-5717-4562-B3FC-2C963F66AFA6","Timestamp":"2025-11-30T10:30:00.1234567+00:00"}`))
	f.Add([]byte(`{"eventId":"3fa85f64-5717-4562-b3fc-2c963f66afa6","\u0065ventid":null}`))
	f.Add([]byte(`{"a":[{"b":"\\\""}],"name":"\ud800","timestamp":"0000-01-01T00:00:00-23:59"}`))
	f.Add([]byte(`{"K":1,"\u212a":2}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		var e itemCreated
		if events.Decode(body, &e) != nil {
			return
		}
		// Whatever is accepted is an object without two keys for one field, by encoding/json's own account.
		var keys map[string]json.RawMessage
		require.NoError(t, json.Unmarshal(body, &keys))
		seen := make([]string, 0, len(keys))
		for k := range keys {
			for _, s := range seen {
				require.False(t, strings.EqualFold(k, s), "%q and %q", k, s)
			}
			seen = append(seen, k)
		}
		assert.Equal(t, time.UTC, e.Timestamp.Location())

		first, err := events.Encode(&e)
		require.NoError(t, err)
		var again itemCreated
		require.NoError(t, events.Decode(first, &again))
		assert.Equal(t, e, again)
		second, err := events.Encode(&again)
		require.NoError(t, err)
		assert.Equal(t, string(first), string(second))
	})
}

func BenchmarkEncode(b *testing.B) {
	e := guideEvents()["item_created.json"]
	require.NoError(b, events.Stamp(e))
	buf := make([]byte, 0, 1024)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := events.AppendEncode(buf, e); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkDecode(b *testing.B) {
	body := golden(b, "item_created.json")
	b.Run("strict", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			var e itemCreated
			if err := events.Decode(body, &e); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("encoding/json", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			var e itemCreated
			if err := json.Unmarshal(body, &e); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// Texts that share memory are as good as others, and long ones have their own.
func TestDecodeTextsOfAllLengths(t *testing.T) {
	t.Parallel()
	for n := range 200 {
		long, short := strings.Repeat("l", n), strings.Repeat("s", n%70)
		e := &itemCreated{Name: long, Description: short, Status: "Active"}
		e.CorrelationID = "c"
		require.NoError(t, events.Stamp(e))
		body, err := events.Encode(e)
		require.NoError(t, err)
		var got itemCreated
		require.NoError(t, events.Decode(body, &got))
		clear(body) // which Decode must not keep
		assert.Equal(t, []string{long, short, "Active", "c"}, []string{got.Name, got.Description, got.Status, got.CorrelationID})
	}
}
