package events

import (
	"encoding/binary"
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
			if dst, err = p.appendBase(dst, addr[Base](gv)); err != nil {
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
func (p *plan) appendBase(dst []byte, b *Base) (_ []byte, err error) {
	dst = appendIdentity(append(dst, `,"eventId":`...), b.EventID[:])
	if dst, err = appendInstant(append(dst, `,"timestamp":`...), &b.Timestamp); err != nil {
		return dst, err
	}
	if p.usual != "" && b.EventType == p.hints[1] && b.EventVersion == p.hints[2] && b.SourceService == p.hints[3] {
		dst = append(dst, p.usual...)
	} else if dst, err = appendKind(dst, b.EventType, b.EventVersion, b.SourceService); err != nil {
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

// appendKind appends what all events of a type mostly have in common.
func appendKind(dst []byte, eventType, version, service string) (_ []byte, err error) {
	if dst, err = appendText(append(dst, `,"eventType":`...), eventType); err != nil {
		return dst, err
	}
	if dst, err = appendText(append(dst, `,"eventVersion":`...), version); err != nil {
		return dst, err
	}
	return appendText(append(dst, `,"sourceService":`...), service)
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
	dst = append(append(dst, '"'), s...)
	from, i := 0, plainASCII(dst[start+1:])
	if i == len(s) {
		return append(dst, '"'), nil
	}
	dst = dst[:start+1]
	for i < len(s) {
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

// plainASCII returns how many bytes from the first on are ASCII that stands for itself. It looks at eight at a time.
func plainASCII(b []byte) int {
	const top = 0x8080808080808080
	i := 0
	for ; i+8 <= len(b); i += 8 {
		if w := binary.LittleEndian.Uint64(b[i:]); special(w)|w&top != 0 {
			break
		}
	}
	for i < len(b) && b[i] >= ' ' && b[i] < utf8.RuneSelf && b[i] != '"' && b[i] != '\\' {
		i++
	}
	return i
}

// digit is the last one of n.
func digit(n int) byte { return byte('0' + n%10) }

// identityAt is where the bytes of a UUID stand in its text.
var identityAt = [16]int{0, 2, 4, 6, 9, 11, 14, 16, 19, 21, 24, 26, 28, 30, 32, 34} //nolint:gochecknoglobals // a table

func appendIdentity(dst, id []byte) []byte {
	const digits = "0123456789abcdef"
	b := [38]byte{0: '"', 9: '-', 14: '-', 19: '-', 24: '-', 37: '"'}
	for i, at := range identityAt {
		b[1+at], b[2+at] = digits[id[i]>>4], digits[id[i]&0xf]
	}
	return append(dst, b[:]...)
}

// appendInstant appends what t's own method does, at a third of its time where t is in UTC, as stamped events are.
func appendInstant(dst []byte, t *time.Time) ([]byte, error) {
	if year, month, day := t.Date(); t.Location() == time.UTC && 0 <= year && year <= 9999 {
		hour, minute, second := t.Clock()
		b := [...]byte{
			'"', digit(year / 1000), digit(year / 100), digit(year / 10), digit(year), '-', digit(int(month) / 10), digit(int(month)), '-',
			digit(day / 10), digit(day), 'T', digit(hour / 10), digit(hour), ':', digit(minute / 10), digit(minute), ':', digit(second / 10), digit(second),
		}
		dst = append(dst, b[:]...)
		if ns := t.Nanosecond(); ns != 0 {
			dst = append(dst, '.')
			for unit := 100_000_000; ns != 0; unit /= 10 { // as many digits as it takes
				dst = append(dst, digit(ns/unit))
				ns %= unit
			}
		}
		return append(dst, 'Z', '"'), nil
	}
	dst, err := t.AppendText(append(dst, '"'))
	return append(dst, '"'), err
}
