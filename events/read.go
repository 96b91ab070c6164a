package events

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
)

// read fills v, whose plan p is, from data, which is valid UTF-8. It reports false where encoding/json has to read it
// instead: into the same v, for what was stored until then is what encoding/json stores again.
func (p *plan) read(data []byte, v reflect.Value) (ok bool, err error) {
	var room [24]member
	members, ok := p.scan(data, room[:0])
	if !ok {
		return false, nil
	}
	var structs [mostGroups]reflect.Value
	for i := range p.groups {
		structs[i] = p.groups[i].of(v)
	}
	others, short := 0, shortTexts{}
	for i := range members {
		m := &members[i]
		if m.field < 0 {
			continue
		}
		f := &p.fields[m.field]
		if f.kind == text && !m.escaped && data[m.value.from] == '"' {
			short.expect(len(m.value.of(data)) - len(`""`))
		}
	}
	for i := range members {
		m := &members[i]
		if m.field < 0 {
			continue
		}
		f := &p.fields[m.field]
		if f.kind == other {
			others++
			continue
		}
		value := m.value.of(data)
		if value[0] == 'n' {
			continue // null
		}
		if !f.read(value, m.escaped, structs[f.group].Field(f.index), p.hints[f.hint], &short) {
			return false, nil
		}
	}
	if others == 0 {
		return true, nil
	}
	// The types' own methods come last, and once: they may do anything.
	for i := range members {
		m := &members[i]
		if m.field < 0 || p.fields[m.field].kind != other {
			continue
		}
		f := &p.fields[m.field]
		if err := json.Unmarshal(m.value.of(data), structs[f.group].Field(f.index).Addr().Interface()); err != nil {
			return true, fmt.Errorf("the field %q: %w", f.name, err)
		}
	}
	return true, nil
}

// read stores a value that is not null. It reports false where it cannot.
func (f *field) read(value []byte, escaped bool, into reflect.Value, hint string, short *shortTexts) bool {
	isText := value[0] == '"'
	switch f.kind {
	case text:
		return isText && readText(value, escaped, into, hint, short)
	case identity:
		if !isText || escaped {
			return false
		}
		id, ok := parseIdentity(value[1 : len(value)-1])
		if ok {
			copy(into.Bytes(), id[:])
		}
		return ok
	case instant:
		return isText && addr[time.Time](into).UnmarshalJSON(value) == nil
	case boolean:
		if c := value[0]; c != 't' && c != 'f' {
			return false
		}
		into.SetBool(value[0] == 't')
		return true
	case integer:
		n, err := strconv.ParseInt(string(value), 10, f.bits)
		if err != nil {
			return false
		}
		into.SetInt(n)
		return true
	case unsigned:
		n, err := strconv.ParseUint(string(value), 10, f.bits)
		if err != nil {
			return false
		}
		into.SetUint(n)
		return true
	case float:
		n, err := strconv.ParseFloat(string(value), f.bits)
		if err != nil {
			return false
		}
		into.SetFloat(n)
		return true
	case other:
	}
	return false
}

// parseIdentity reads a UUID as uuid.ParseBytes does, at a third of its time where it is written as usual.
func parseIdentity(text []byte) (id uuid.UUID, ok bool) {
	if len(text) != 36 || text[8] != '-' || text[13] != '-' || text[18] != '-' || text[23] != '-' {
		id, err := uuid.ParseBytes(text)
		return id, err == nil
	}
	var bad byte
	for i, at := range identityAt {
		high, low := hexValues[text[at]], hexValues[text[at+1]]
		bad |= high | low
		id[i] = high<<4 | low
	}
	return id, bad <= 0xf
}

// hexValues are the values of hexadecimal digits, 0xff of everything else.
var hexValues = func() (values [256]byte) { //nolint:gochecknoglobals // a table
	for c := range values {
		values[c] = 0xff
	}
	for i, c := range "0123456789abcdef" {
		values[c] = byte(i)
	}
	for i, c := range "ABCDEF" {
		values[c] = byte(10 + i)
	}
	return values
}()

func readText(value []byte, escaped bool, into reflect.Value, hint string, short *shortTexts) bool {
	if escaped {
		var s string
		if json.Unmarshal(value, &s) != nil {
			return false
		}
		into.SetString(s)
		return true
	}
	if value = value[1 : len(value)-1]; string(value) == hint {
		into.SetString(hint)
		return true
	}
	into.SetString(short.string(value))
	return true
}

// shortTexts has the short texts of an event share one allocation. Whoever keeps one of them keeps all, which are not much.
type shortTexts struct {
	room  strings.Builder
	bytes int
}

const (
	mostOfShort = 64  // bytes of a text that shares
	mostShorts  = 512 // bytes that are shared
)

// expect says that a text of n bytes may come.
func (s *shortTexts) expect(n int) {
	if n <= mostOfShort && s.bytes+n <= mostShorts {
		s.bytes += n
	}
}

func (s *shortTexts) string(text []byte) string {
	from := s.room.Len()
	if len(text) > mostOfShort || from+len(text) > s.bytes {
		return string(text)
	}
	if from == 0 {
		s.room.Grow(s.bytes)
	}
	s.room.Write(text)
	return s.room.String()[from:]
}
