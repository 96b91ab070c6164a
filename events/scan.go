package events

import (
	"encoding/binary"
	"math"
	"math/bits"
)

// span is a part of a body. It is small because an array of members is cleared for each body.
type span struct{ from, to int32 }

// between is the span of indices that fit: scan looks at the body's length.
func between(from, to int) span { return span{int32(from), int32(to)} } //nolint:gosec // as it says

func (s span) of(data []byte) []byte { return data[s.from:s.to] }

// member is a key of the event's object with its value.
type member struct {
	field   int8 // in plan.fields, -1: none
	escaped bool // the value is a text with escapes
	key     span // with its quotes; empty where it is the one that was expected
	value   span // all of it
}

// scan finds the members of the object that data holds, without looking into their values, and checks the grammar of the
// whole, so that nothing is stored of a body that is not JSON. ok is false for whatever a publisher would not write:
// encoding/json then says what is wrong, or reads it.
func (p *plan) scan(data []byte, members []member) (_ []member, ok bool) {
	i := skipSpace(data, 0)
	if i == len(data) || data[i] != '{' || len(data) > math.MaxInt32 {
		return nil, false
	}
	var (
		seen    uint64 // a bit for each field
		guess   int    // the next field in the type's order
		strange int    // keys of no field
	)
	for {
		var m member
		field, value := guess, p.expected(data, i+1, guess)
		if value < 0 {
			key := skipSpace(data, i+1)
			end := endOfKey(data, key)
			if end < 0 {
				return nil, false // an empty object too
			}
			if field = p.find(data[key+1:end-1], guess); field < 0 {
				strange++
			}
			m.key = between(key, end)
			if i = skipSpace(data, end); i == len(data) || data[i] != ':' {
				return nil, false
			}
			value = i + 1
		}
		if field >= 0 {
			if seen&(1<<field) != 0 {
				return nil, false
			}
			seen |= 1 << field
			guess = field + 1
		}
		m.field = int8(field) // of mostFields
		value = skipSpace(data, value)
		end, escaped := endOfValue(data, value, 0)
		if end < 0 {
			return nil, false
		}
		m.value, m.escaped = between(value, end), escaped
		members = append(members, m)
		if i = skipSpace(data, end); i == len(data) {
			return nil, false
		}
		if data[i] == '}' {
			break
		}
		if data[i] != ',' {
			return nil, false
		}
	}
	if skipSpace(data, i+1) != len(data) {
		return nil, false
	}
	return members, strange < 2 || strangersDiffer(data, members)
}

// expected returns the index behind the colon if the key at i is that of field guess, written as Encode does; else -1.
func (p *plan) expected(data []byte, i, guess int) int {
	if guess == len(p.fields) {
		return -1
	}
	key := p.fields[guess].key[1:] // without the comma
	if end := i + len(key); end <= len(data) && string(data[i:end]) == key {
		return end
	}
	return -1
}

// find returns the index of the field that encoding/json takes key for, or -1. Letter case does not matter; key is ASCII.
func (p *plan) find(key []byte, guess int) int {
	for ; guess < len(p.fields); guess++ {
		f := &p.fields[guess]
		if f.name == string(key) {
			return guess
		}
		if !f.empty && !f.zero {
			break // it is not left out
		}
	}
	var buf [64]byte
	folded := buf[:0]
	for _, c := range key {
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		folded = append(folded, c)
	}
	if i, ok := p.byName[string(folded)]; ok {
		return i
	}
	return -1
}

// strangersDiffer reports whether the keys of no field, which are ASCII, differ in more than their case.
func strangersDiffer(data []byte, members []member) bool {
	var seen keySet
	for _, m := range members {
		if m.field < 0 && !seen.add(m.key.of(data), false) {
			return false
		}
	}
	return true
}

func skipSpace(data []byte, i int) int {
	for i < len(data) && (data[i] == ' ' || data[i] == '\n' || data[i] == '\r' || data[i] == '\t') {
		i++
	}
	return i
}

// endOfKey returns where the text at i ends, behind its quote, or -1. It knows ASCII without escapes only.
func endOfKey(data []byte, i int) int {
	if i >= len(data) || data[i] != '"' {
		return -1
	}
	for i++; i < len(data); i++ {
		switch c := data[i]; {
		case c == '"':
			return i + 1
		case c < ' ' || c >= 0x80 || c == '\\':
			return -1
		}
	}
	return -1
}

// endOfText returns where the text at i, which is a quote, ends behind the other one, or -1.
func endOfText(data []byte, i int) (end int, escaped bool) {
	for i++; i < len(data); i++ {
		if i = plainUpTo(data, i); i == len(data) {
			break
		}
		switch c := data[i]; {
		case c == '"':
			return i + 1, escaped
		case c == '\\':
			escaped = true
			n := lenOfEscape(data[i+1:])
			if n == 0 {
				return -1, false
			}
			i += n
		case c < ' ':
			return -1, false
		}
	}
	return -1, false
}

// plainUpTo returns an index from i on, before which nothing ends a text or is special in it. It looks at eight bytes at a
// time, and so may stop early near the end.
func plainUpTo(data []byte, i int) int {
	for ; i+8 <= len(data); i += 8 {
		if found := special(binary.LittleEndian.Uint64(data[i:])); found != 0 {
			return i + bits.TrailingZeros64(found)/8
		}
	}
	return i
}

// special sets the top bit of the first byte of w, as it stands in memory, that is a quote, a backslash or below a space;
// and perhaps of bytes behind that one.
func special(w uint64) uint64 {
	const each, top = 0x0101010101010101, 0x8080808080808080
	quote, backslash := w^each*'"', w^each*'\\'
	return ((quote-each)&^quote | (backslash-each)&^backslash | (w-each*' ')&^w) & top
}

// lenOfEscape returns how many bytes behind a backslash belong to it, 0 where that is no escape of JSON.
func lenOfEscape(b []byte) int {
	if len(b) == 0 {
		return 0
	}
	switch b[0] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		return 1
	case 'u':
		if len(b) < 5 {
			return 0
		}
		for _, c := range b[1:5] {
			if !isDigit(c) && (c|0x20 < 'a' || c|0x20 > 'f') {
				return 0
			}
		}
		return 5
	}
	return 0
}

// deepest is how deep values may be nested here; encoding/json allows more.
const deepest = 100

// endOfValue returns where the value at i ends, or -1.
func endOfValue(data []byte, i, depth int) (end int, escaped bool) {
	if i == len(data) {
		return -1, false
	}
	switch data[i] {
	case '"':
		return endOfText(data, i)
	case '{', '[':
		if depth == deepest {
			return -1, false
		}
		return endOfNest(data, i, depth+1), false
	case 't':
		return endOfWord(data, i, "true"), false
	case 'f':
		return endOfWord(data, i, "false"), false
	case 'n':
		return endOfWord(data, i, "null"), false
	default:
		return endOfNumber(data, i), false
	}
}

// endOfNest is endOfValue for objects and arrays.
func endOfNest(data []byte, i, depth int) int {
	opening := data[i]
	closing := opening + 2 // in ASCII, for both
	if i = skipSpace(data, i+1); i < len(data) && data[i] == closing {
		return i + 1
	}
	for {
		if opening == '{' {
			if i == len(data) || data[i] != '"' {
				return -1
			}
			end, _ := endOfText(data, i)
			if end < 0 {
				return -1
			}
			if i = skipSpace(data, end); i == len(data) || data[i] != ':' {
				return -1
			}
			i = skipSpace(data, i+1)
		}
		end, _ := endOfValue(data, i, depth)
		if end < 0 {
			return -1
		}
		if i = skipSpace(data, end); i == len(data) {
			return -1
		}
		switch data[i] {
		case closing:
			return i + 1
		case ',':
			i = skipSpace(data, i+1)
		default:
			return -1
		}
	}
}

func endOfWord(data []byte, i int, word string) int {
	if end := i + len(word); end <= len(data) && string(data[i:end]) == word {
		return end
	}
	return -1
}

func endOfNumber(data []byte, i int) int {
	if i < len(data) && data[i] == '-' {
		i++
	}
	from := i
	if i = endOfDigits(data, i); i == from || data[from] == '0' && i > from+1 {
		return -1
	}
	if i < len(data) && data[i] == '.' {
		from = i + 1
		if i = endOfDigits(data, from); i == from {
			return -1
		}
	}
	if i < len(data) && data[i]|0x20 == 'e' {
		if i++; i < len(data) && (data[i] == '+' || data[i] == '-') {
			i++
		}
		from = i
		if i = endOfDigits(data, from); i == from {
			return -1
		}
	}
	return i
}

func endOfDigits(data []byte, i int) int {
	for i < len(data) && isDigit(data[i]) {
		i++
	}
	return i
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }
