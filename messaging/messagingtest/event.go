package messagingtest

import (
	"bytes"
	"encoding"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/expensevault/sharedlibrary/events"
	"github.com/expensevault/sharedlibrary/messaging"
)

// EventOption is what [TestEvent] takes.
type EventOption func(*eventOptions)

type eventOptions struct{ unkeyed bool }

// Unkeyed declares that the events have no partition key, and so no order.
// TestEvent then fails where there is one.
func Unkeyed() EventOption { return func(o *eventOptions) { o.unkeyed = true } }

// TestEvent holds an event type against what the library asks of it, and
// reports each violation with what to do about it. Give an example with every
// field set: a field that is empty in it proves nothing.
//
//   - The topic is valid, and the zero value has the same one; likewise the
//     version of a [events.Versioned] type.
//   - The zero value has an envelope, and its PartitionKey does not panic.
//   - The key is not empty, nor the zero UUID; see [Unkeyed].
//   - No field of the event hides one of the envelope's in the JSON, and the
//     envelope comes first there.
//   - What is decoded from the JSON equals the example. Times are compared as
//     instants, an empty slice or map equals nil, and what a field of type any
//     held is compared as JSON.
//   - It can be published: its size, key and headers included, is below the limit.
//
// The example is not changed.
func TestEvent(t testing.TB, e events.IntegrationEvent, opts ...EventOption) {
	t.Helper()
	var o eventOptions
	for _, opt := range opts {
		opt(&o)
	}
	if e == nil || reflect.ValueOf(e).Kind() == reflect.Pointer && reflect.ValueOf(e).IsNil() {
		t.Errorf("messagingtest: the example is nil: give one with every field set")
		return
	}
	c := eventCheck{t: t, example: e, kind: fmt.Sprintf("%T", e)}
	sample, ok := c.stampedCopy()
	if !ok {
		return
	}
	c.zeroValue()
	c.key(o.unkeyed)
	body, err := events.Encode(sample)
	if err != nil {
		c.errorf("it cannot be encoded: %v", err)
		return
	}
	c.envelope(sample, body)
	c.roundTrip(sample, body)
	if _, err := messaging.Encode(t.Context(), sample); err != nil {
		c.errorf("the example cannot be published: %v", err)
	}
}

type eventCheck struct {
	t       testing.TB
	example events.IntegrationEvent
	kind    string
}

func (c *eventCheck) errorf(format string, args ...any) {
	c.t.Helper()
	c.t.Errorf("messagingtest: %s: %s", c.kind, fmt.Sprintf(format, args...))
}

// stampedCopy returns a copy of the example with a complete envelope, each field
// of which has a value that no other has.
func (c *eventCheck) stampedCopy() (events.IntegrationEvent, bool) {
	c.t.Helper()
	into, result := blank(c.example)
	src := reflect.ValueOf(c.example)
	if src.Kind() == reflect.Pointer {
		src = src.Elem()
	}
	reflect.ValueOf(into).Elem().Set(src)
	e := result()
	if v, ok := c.try("Metadata", func() any { return e.Metadata() }); !ok {
		return nil, false
	} else if b, _ := v.(*events.Base); b == nil {
		c.errorf("it has no envelope: embed events.Base itself, not a pointer to it")
		return nil, false
	}
	base := *e.Metadata()
	if base.CorrelationID == "" {
		base.CorrelationID = "correlation-of-the-example"
	}
	if base.CausationID == "" {
		base.CausationID = uuid.NewString()
	}
	*e.Metadata() = base
	if err := events.Stamp(e); err != nil {
		c.errorf("%v", err)
		return nil, false
	}
	if e.Metadata() == c.example.Metadata() {
		// Behind an embedded pointer the copy shares the envelope of the example.
		c.errorf("its envelope is embedded as a pointer: embed events.Base itself")
		return nil, false
	}
	return e, true
}

// try calls a method of the event and reports a panic.
func (c *eventCheck) try(method string, f func() any) (v any, ok bool) {
	c.t.Helper()
	defer func() {
		if r := recover(); r != nil {
			c.errorf("%s panics: %v", method, r)
		}
	}()
	return f(), true
}

func (c *eventCheck) zeroValue() {
	c.t.Helper()
	zero, _ := blank(c.example)
	if got, ok := c.try("Topic of the zero value", func() any { return zero.Topic() }); ok && got != any(c.example.Topic()) {
		c.errorf("the topic of the zero value is %q and that of the example %q: Topic must be a constant of the type,"+
			" because consumers ask the zero value", got, c.example.Topic())
	}
	if v, ok := c.example.(events.Versioned); ok {
		z, _ := zero.(events.Versioned)
		if got, ok := c.try("EventVersion of the zero value", func() any { return z.EventVersion() }); ok && got != any(v.EventVersion()) {
			c.errorf("the version of the zero value is %q and that of the example %q: EventVersion must be a constant of the type",
				got, v.EventVersion())
		}
	}
	c.try("PartitionKey of the zero value", func() any { return zero.PartitionKey() })
}

func (c *eventCheck) key(unkeyed bool) {
	c.t.Helper()
	v, ok := c.try("PartitionKey", func() any { return c.example.PartitionKey() })
	if !ok {
		return
	}
	switch key, _ := v.(string); {
	case unkeyed && key != "":
		c.errorf("the partition key is %q, but the type is declared Unkeyed", key)
	case !unkeyed && key == "":
		c.errorf("the partition key is empty: events without a key have no order;" +
			" set the field that it comes from, or declare the type Unkeyed")
	case !unkeyed && key == uuid.Nil.String():
		c.errorf("the partition key is the zero UUID: set the field that it comes from")
	}
}

// envelope checks that the JSON begins with the envelope, unchanged.
func (c *eventCheck) envelope(sample events.IntegrationEvent, body []byte) {
	c.t.Helper()
	want, err := json.Marshal(sample.Metadata())
	if err != nil {
		c.errorf("its envelope cannot be encoded: %v", err)
		return
	}
	wantFields, err := fields(want)
	if err != nil {
		c.errorf("its envelope: %v", err)
		return
	}
	gotFields, err := fields(body)
	if err != nil {
		c.errorf("its JSON: %v", err)
		return
	}
	inPlace := true
	for i, w := range wantFields {
		at := -1
		for j, g := range gotFields {
			if g.name == w.name {
				at = j
			}
		}
		switch {
		case at < 0:
			c.errorf("the JSON lacks the envelope's %q: %s", w.name, c.blame(w.name))
			return
		case !bytes.Equal(gotFields[at].value, w.value):
			c.errorf("the JSON's %q is not the envelope's: %s", w.name, c.blame(w.name))
			return
		case at != i:
			inPlace = false
		}
	}
	if !inPlace {
		c.errorf("the envelope is not first in the JSON: embed events.Base as the first field, and without a tag")
	}
}

// blame names the fields that take the place of one of the envelope's.
func (c *eventCheck) blame(name string) string {
	t := reflect.TypeOf(c.example)
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if t.Kind() != reflect.Struct {
		return "the event is not a struct"
	}
	var found []string
	for _, f := range allFields(t, "", nil) {
		if f.jsonName == name && f.owner != reflect.TypeFor[events.Base]() {
			found = append(found, f.path)
		}
	}
	if len(found) == 0 {
		return "embed events.Base without a tag, and let the event have no MarshalJSON"
	}
	return fmt.Sprintf("the field %s has the same name in JSON; give it another", strings.Join(found, " and the field "))
}

type structField struct {
	path, jsonName string
	owner          reflect.Type
}

// allFields lists the fields that encoding/json may write at the top level,
// those that it drops for a conflict included.
func allFields(t reflect.Type, prefix string, above []reflect.Type) []structField {
	var out []structField
	if slices.Contains(above, t) {
		return nil
	}
	above = append(above, t)
	for f := range t.Fields() {
		tag, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		ft := f.Type
		if ft.Kind() == reflect.Pointer {
			ft = ft.Elem()
		}
		if f.Anonymous && tag == "" && ft.Kind() == reflect.Struct {
			out = append(out, allFields(ft, prefix+f.Name+".", above)...)
			continue
		}
		if tag == "" {
			tag = f.Name
		}
		out = append(out, structField{prefix + f.Name, tag, t})
	}
	return out
}

type jsonField struct {
	name  string
	value json.RawMessage
}

// fields returns the top-level fields of a JSON object, in order.
func fields(body []byte) ([]jsonField, error) {
	dec := json.NewDecoder(bytes.NewReader(body))
	if tok, err := dec.Token(); err != nil || tok != json.Delim('{') {
		return nil, fmt.Errorf("not an object: %v %w", tok, err)
	}
	var out []jsonField
	for dec.More() {
		tok, err := dec.Token()
		if err != nil {
			return nil, err
		}
		name, _ := tok.(string)
		var value json.RawMessage
		if err := dec.Decode(&value); err != nil {
			return nil, err
		}
		out = append(out, jsonField{name, value})
	}
	return out, nil
}

func (c *eventCheck) roundTrip(sample events.IntegrationEvent, body []byte) {
	c.t.Helper()
	got, err := decodeLike(sample, body)
	if err != nil {
		c.errorf("its JSON cannot be decoded again: %v", err)
		return
	}
	if path := difference(reflect.ValueOf(sample), reflect.ValueOf(got), ""); path != "" {
		c.errorf("%s is not the same after encoding and decoding:"+
			" a consumer will not see what was set; export the field, check its json tag and its UnmarshalJSON", strings.TrimPrefix(path, "."))
	}
}

// difference returns the path to the first difference between two values of one type, or "".
func difference(a, b reflect.Value, path string) string {
	if a.IsValid() != b.IsValid() || a.IsValid() && a.Type() != b.Type() {
		return orSelf(path)
	}
	if !a.IsValid() {
		return ""
	}
	if at, ok := interfaceOf(a).(time.Time); ok {
		bt, _ := interfaceOf(b).(time.Time)
		return differ(!at.Equal(bt), path)
	}
	if marshals(a) {
		return differ(!sameJSON(a, b), path)
	}
	switch a.Kind() {
	case reflect.Pointer:
		if a.IsNil() || b.IsNil() {
			return differ(a.IsNil() != b.IsNil(), path)
		}
		return difference(a.Elem(), b.Elem(), path)
	case reflect.Interface:
		return differ(!sameJSON(a, b), path)
	case reflect.Struct:
		for i := range a.NumField() {
			if p := difference(a.Field(i), b.Field(i), path+"."+a.Type().Field(i).Name); p != "" {
				return p
			}
		}
		return ""
	case reflect.Slice, reflect.Array:
		if a.Len() != b.Len() {
			return orSelf(path)
		}
		for i := range a.Len() {
			if p := difference(a.Index(i), b.Index(i), fmt.Sprintf("%s[%d]", path, i)); p != "" {
				return p
			}
		}
		return ""
	case reflect.Map:
		if a.Len() != b.Len() {
			return orSelf(path)
		}
		for _, k := range a.MapKeys() {
			if p := difference(a.MapIndex(k), b.MapIndex(k), fmt.Sprintf("%s[%v]", path, k)); p != "" {
				return p
			}
		}
		return ""
	case reflect.Chan, reflect.Func, reflect.UnsafePointer:
		return differ(a.Pointer() != b.Pointer(), path)
	default:
		return differ(!a.Equal(b), path)
	}
}

func differ(yes bool, path string) string {
	if yes {
		return orSelf(path)
	}
	return ""
}

func orSelf(path string) string {
	if path == "" {
		return "it"
	}
	return path
}

// interfaceOf is v's value, nil where it came from an unexported field.
func interfaceOf(v reflect.Value) any {
	if !v.CanInterface() {
		return nil
	}
	return v.Interface()
}

// marshals reports whether the value writes its own JSON, so that its parts say
// nothing. The event itself does not, whatever an embedded struct promotes to it.
func marshals(v reflect.Value) bool {
	if v.Kind() <= reflect.Complex128 || v.Kind() == reflect.String {
		return false // it has no parts
	}
	if v.Kind() != reflect.Pointer && v.CanAddr() {
		v = v.Addr() // has the methods of both
	}
	switch interfaceOf(v).(type) {
	case events.IntegrationEvent:
		return false
	case json.Marshaler, encoding.TextMarshaler:
		return true
	}
	return false
}

func sameJSON(a, b reflect.Value) bool {
	if !a.CanInterface() {
		return a.IsZero() == b.IsZero()
	}
	x, errX := json.Marshal(a.Interface())
	y, errY := json.Marshal(b.Interface())
	return errX == nil && errY == nil && bytes.Equal(x, y)
}
