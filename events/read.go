package events

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strconv"
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
	others := 0
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
		value := data[m.value.from:m.value.to]
		if value[0] == 'n' {
			continue // null
		}
		if !f.read(value, m.escaped, structs[f.group].Field(f.index), p.hints[f.hint]) {
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
		if err := json.Unmarshal(data[m.value.from:m.value.to], structs[f.group].Field(f.index).Addr().Interface()); err != nil {
			return true, fmt.Errorf("the field %q: %w", f.name, err)
		}
	}
	return true, nil
}

// read stores a value that is not null. It reports false where it cannot.
func (f *field) read(value []byte, escaped bool, into reflect.Value, hint string) bool {
	isText := value[0] == '"'
	switch f.kind {
	case text:
		return isText && readText(value, escaped, into, hint)
	case identity:
		if !isText || escaped {
			return false
		}
		id, err := uuid.ParseBytes(value[1 : len(value)-1])
		if err != nil {
			return false
		}
		copy(into.Bytes(), id[:])
		return true
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

func readText(value []byte, escaped bool, into reflect.Value, hint string) bool {
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
	into.SetString(string(value))
	return true
}
