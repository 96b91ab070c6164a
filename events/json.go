package events

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"
	"unicode/utf8"
)

// Encode returns the event's body: compact JSON as [json.Marshal] writes it,
// the envelope flat and first, but with <, > and & as themselves, since the
// body is not for HTML pages (.NET escapes them; either reads the other).
// It does not fill the envelope: call [Stamp] first.
//
// The error is that of [Stamp] for a nil event or envelope, or what
// encoding/json cannot write: a NaN, a channel, a year beyond 9999. An event
// whose JSON is not an object, because it has or inherits a MarshalJSON of
// its own, is an error too.
//
// Invalid UTF-8 in a string is written as U+FFFD, as encoding/json does. A panic
// of a method of the event's own types is not recovered, neither here nor in
// Decode; publishing and handling make errors of it.
func Encode(e IntegrationEvent) ([]byte, error) {
	return AppendEncode(nil, e)
}

// AppendEncode appends what [Encode] returns to dst. With an error it returns
// dst as it was; of the room behind it something may then be overwritten.
// Where dst has room, an event of strings, numbers, UUIDs and times costs no
// allocation.
func AppendEncode(dst []byte, e IntegrationEvent) ([]byte, error) {
	if _, err := envelope(e); err != nil {
		return dst, err
	}
	if p, v := planOf(e); p != nil {
		const usual = 512 // most bodies are smaller
		if body, err := p.append(slices.Grow(dst, usual), v); err == nil {
			return body, nil
		}
	}
	body, err := appendOther(dst, e)
	if err != nil {
		return dst, fmt.Errorf("events: encode %T: %w", e, err)
	}
	if body[len(dst)] != '{' {
		return dst, fmt.Errorf("events: encode %T: its JSON is not an object: it must not have or inherit MarshalJSON or MarshalText", e)
	}
	return body, nil
}

// Decode reads an event's body into e, a pointer to the zero value of its type,
// and moves the timestamp to UTC. It keeps nothing of data.
//
// The body is one JSON object, read as [json.Unmarshal] reads it: names match in
// any case, so that .NET's EventId is read as eventId; null stands for absent;
// unknown fields are ignored. What .NET writes is read: seven fraction digits,
// +00:00 for Z, upper-case UUIDs. Beyond that Decode is strict. It refuses
//
//   - a body with two fields, at its top level, that are the same but for their
//     case: else the second, be it EVENTID, would overwrite eventId;
//   - invalid UTF-8, an empty body, null, and anything after the object;
//   - a timestamp without a zone, or outside the years 0 to 9999 in UTC.
//
// A field that the body lacks stays as it is in e, also in the envelope: that an
// eventId is there is for the caller to ask. After an error e may be half filled.
// Nothing of data is kept; short texts of an event may share memory, 512 bytes at most.
func Decode(data []byte, e IntegrationEvent) error {
	if err := decode(data, e); err != nil {
		return fmt.Errorf("events: decode %T: %w", e, err)
	}
	return nil
}

func decode(data []byte, e IntegrationEvent) error {
	begin := skipSpace(data, 0)
	if begin == len(data) {
		return errors.New("the body is empty")
	}
	if data[begin] != '{' {
		return fmt.Errorf("the body is not a JSON object: it begins with %q", data[begin:begin+1])
	}
	if !utf8.Valid(data) {
		return errors.New("the body is not valid UTF-8")
	}
	if err := unmarshal(data, e); err != nil {
		return err
	}
	b, err := envelope(e)
	if err != nil {
		return err
	}
	return toUTC(&b.Timestamp)
}

func unmarshal(data []byte, e IntegrationEvent) error {
	if p, v := planOf(e); p != nil {
		if ok, err := p.read(data, v); ok {
			return err
		}
	}
	if err := checkKeys(data); err != nil {
		return err
	}
	return json.Unmarshal(data, e)
}

// toUTC refuses what could not be encoded again.
func toUTC(t *time.Time) error {
	utc := t.UTC()
	if y := utc.Year(); y < 0 || y > 9999 {
		return fmt.Errorf("the timestamp %s is outside the years 0 to 9999 in UTC", t.Format(time.RFC3339))
	}
	*t = utc
	return nil
}
