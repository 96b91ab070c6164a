package events

import (
	"encoding/hex"
	"encoding/json"
	"math"
	"reflect"
	"strconv"
	"time"
	"unicode/utf8"
)

// append writes v, whose plan p is, as encoding/json would. An error is a reason to have encoding/json say what is wrong.
func (p *plan) append(dst []byte, v reflect.Value) (_ []byte, err error) {
	start := len(dst)
	for i := range p.groups {
		g := &p.groups[i]
		gv := g.of(v)
		if g.base {
			if dst, err = appendBase(dst, addr[Base](gv)); err != nil {
				return dst, err
			}
			continue
		}
		for j := g.from; j < g.to; j++ {
			f := &p.fields[j]
			fv := gv.Field(f.index)
			if (f.empty || f.zero) && f.omitted(fv) {
				continue
			}
			dst = append(dst, f.key...)
			if dst, err = f.append(dst, fv); err != nil {
				return dst, err
			}
		}
	}
	if len(dst) == start {
		return append(dst, "{}"...), nil
	}
	dst[start] = '{' // the first key's comma
	return append(dst, '}'), nil
}

// appendBase is what each event begins with, and so without reflection.
func appendBase(dst []byte, b *Base) (_ []byte, err error) {
	dst = appendIdentity(append(dst, `,"eventId":`...), b.EventID[:])
	if dst, err = appendInstant(append(dst, `,"timestamp":`...), &b.Timestamp); err != nil {
		return dst, err
	}
	if dst, err = appendText(append(dst, `,"eventType":`...), b.EventType); err != nil {
		return dst, err
	}
	if dst, err = appendText(append(dst, `,"eventVersion":`...), b.EventVersion); err != nil {
		return dst, err
	}
	if dst, err = appendText(append(dst, `,"sourceService":`...), b.SourceService); err != nil {
		return dst, err
	}
	if b.CorrelationID != "" {
		if dst, err = appendText(append(dst, `,"correlationId":`...), b.CorrelationID); err != nil {
			return dst, err
		}
	}
	if b.CausationID != "" {
		return appendText(append(dst, `,"causationId":`...), b.CausationID)
	}
	return dst, nil
}

func (f *field) omitted(v reflect.Value) bool {
	if f.empty {
		switch v.Kind() {
		case reflect.String, reflect.Map, reflect.Slice, reflect.Array:
			if v.Len() == 0 {
				return true
			}
		case reflect.Struct:
		default:
			if v.IsZero() {
				return true
			}
		}
	}
	switch {
	case !f.zero:
		return false
	case f.kind == instant:
		return addr[time.Time](v).IsZero()
	default:
		return v.IsZero()
	}
}

// addr returns where v is, which is a T and can be addressed. It does not allocate.
func addr[T any](v reflect.Value) *T {
	p, _ := reflect.TypeAssert[*T](v.Addr())
	return p
}

func (f *field) append(dst []byte, v reflect.Value) ([]byte, error) {
	switch f.kind {
	case text:
		return appendText(dst, v.String())
	case identity:
		return appendIdentity(dst, v.Bytes()), nil
	case instant:
		return appendInstant(dst, addr[time.Time](v))
	case boolean:
		return strconv.AppendBool(dst, v.Bool()), nil
	case integer:
		return strconv.AppendInt(dst, v.Int(), 10), nil
	case unsigned:
		return strconv.AppendUint(dst, v.Uint(), 10), nil
	case float:
		if n := math.Abs(v.Float()); n == 0 || n > 1e-5 && n < 1e20 {
			return strconv.AppendFloat(dst, v.Float(), 'f', -1, f.bits), nil
		}
	case other:
	}
	return appendOther(dst, v.Addr().Interface())
}

// appendOther appends what encoding/json makes of v.
func appendOther(dst []byte, v any) ([]byte, error) {
	w := appender(dst)
	enc := json.NewEncoder(&w)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return dst, err
	}
	return w[:len(w)-1], nil // without the encoder's newline
}

type appender []byte

func (a *appender) Write(p []byte) (int, error) {
	*a = append(*a, p...)
	return len(p), nil
}

// appendText quotes s. What is not valid UTF-8, and characters that nobody writes, are left to encoding/json, whose ways
// with them have changed between versions.
func appendText(dst []byte, s string) ([]byte, error) {
	start := len(dst)
	dst = append(dst, '"')
	from := 0
	for i := 0; i < len(s); {
		c := s[i]
		if c >= ' ' && c < utf8.RuneSelf && c != '"' && c != '\\' {
			i++
			continue
		}
		var short byte
		switch c {
		case '"', '\\':
			short = c
		case '\n':
			short = 'n'
		case '\r':
			short = 'r'
		case '\t':
			short = 't'
		default:
			r, n := utf8.DecodeRuneInString(s[i:])
			if c < ' ' || r == utf8.RuneError || r == '\u2028' || r == '\u2029' {
				return appendOther(dst[:start], s)
			}
			i += n
			continue
		}
		dst = append(append(dst, s[from:i]...), '\\', short)
		i++
		from = i
	}
	return append(append(dst, s[from:]...), '"'), nil
}

func appendIdentity(dst, id []byte) []byte {
	b := [38]byte{0: '"', 9: '-', 14: '-', 19: '-', 24: '-', 37: '"'}
	hex.Encode(b[1:], id[:4])
	hex.Encode(b[10:], id[4:6])
	hex.Encode(b[15:], id[6:8])
	hex.Encode(b[20:], id[8:10])
	hex.Encode(b[25:], id[10:16])
	return append(dst, b[:]...)
}

func appendInstant(dst []byte, t *time.Time) ([]byte, error) {
	dst, err := t.AppendText(append(dst, '"'))
	return append(dst, '"'), err
}
