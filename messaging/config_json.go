package messaging

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"
)

// entry is one member of an object, such as the "Kafka" section.
type entry struct {
	name      string
	line      int // of the name in its file
	value     json.RawMessage
	valueLine int // where value begins
}

func (e entry) isNull() bool { return string(e.value) == "null" }

// text is the value as a layer of strings would have it.
func (e entry) text() (string, bool) {
	switch e.value[0] {
	case '{', '[':
		return "", false
	case '"':
		var s string
		err := json.Unmarshal(e.value, &s)
		return s, err == nil
	default:
		return string(e.value), true
	}
}

// topics is the value of Topics; a name that is mapped to null is mapped to "".
func (e entry) topics() (map[string]string, error) {
	if e.value[0] == '"' {
		if s, _ := e.text(); strings.TrimSpace(s) == "" {
			return nil, nil
		}
	}
	if e.value[0] != '{' {
		return nil, errors.New(`must be an object, {"default-name": "name"}`)
	}
	out := map[string]string{}
	entries, err := members(e.value, e.valueLine)
	if err != nil {
		return nil, err
	}
	for _, m := range entries {
		if _, ok := out[m.name]; ok {
			return nil, fmt.Errorf("%s is in it twice", shorten(m.name))
		}
		if m.isNull() {
			out[m.name] = ""
			continue
		}
		if m.value[0] != '"' {
			return nil, fmt.Errorf("the name for %s must be a string", shorten(m.name))
		}
		out[m.name], _ = m.text()
	}
	return out, nil
}

// positionError is what is wrong in a line of a file.
type positionError struct {
	line int
	err  error
}

func (e *positionError) Error() string { return e.err.Error() }
func (e *positionError) Unwrap() error { return e.err }

func lineOf(b []byte, offset int64) int {
	offset = max(0, min(offset, int64(len(b))))
	return 1 + bytes.Count(b[:offset], []byte("\n"))
}

// kafkaSection returns the members of the object under "Kafka" in a settings
// file, none when the file has no such section.
func kafkaSection(file []byte) ([]entry, error) {
	file = bytes.TrimPrefix(file, []byte("\xef\xbb\xbf"))
	if bytes.HasPrefix(file, []byte("\xff\xfe")) || bytes.HasPrefix(file, []byte("\xfe\xff")) {
		return nil, errors.New("the file is in UTF-16: save it in UTF-8")
	}
	if !utf8.Valid(file) {
		return nil, &positionError{lineOf(file, invalidUTF8(file)), errors.New("not UTF-8: save the file in UTF-8")}
	}
	file = stripJSON(file)
	var whole json.RawMessage
	if err := json.Unmarshal(file, &whole); err != nil {
		if syntax, ok := errors.AsType[*json.SyntaxError](err); ok {
			// Offset is behind the byte that is wrong.
			return nil, &positionError{lineOf(file, syntax.Offset-1), err}
		}
		return nil, err
	}
	if bytes.TrimSpace(file)[0] != '{' {
		return nil, errors.New("must be a JSON object")
	}
	sections, err := members(file, 1)
	if err != nil {
		return nil, err
	}
	var found *entry
	for i, s := range sections {
		if !strings.EqualFold(s.name, "Kafka") {
			continue
		}
		if found != nil {
			return nil, &positionError{s.line, errors.New(`there are two "Kafka" sections: make them one`)}
		}
		found = &sections[i]
	}
	if found == nil || found.isNull() {
		return nil, nil
	}
	if found.value[0] != '{' {
		return nil, &positionError{found.line, errors.New(`"Kafka" must be an object`)}
	}
	return members(found.value, found.valueLine)
}

func invalidUTF8(b []byte) int64 {
	for i := 0; i < len(b); {
		r, n := utf8.DecodeRune(b[i:])
		if r == utf8.RuneError && n == 1 {
			return int64(i)
		}
		i += n
	}
	return int64(len(b))
}

// members lists the members of an object, in valid JSON whose first line is counted as firstLine.
func members(object []byte, firstLine int) ([]entry, error) {
	dec := json.NewDecoder(bytes.NewReader(object))
	if _, err := dec.Token(); err != nil {
		return nil, err
	}
	line := func(offset int64) int { return firstLine - 1 + lineOf(object, offset) }
	var out []entry
	for dec.More() {
		key, err := dec.Token()
		if err != nil {
			return nil, err
		}
		e := entry{line: line(dec.InputOffset())}
		e.name, _ = key.(string)
		if err := dec.Decode(&e.value); err != nil {
			return nil, err
		}
		e.valueLine = line(dec.InputOffset() - int64(len(e.value)))
		out = append(out, e)
	}
	return out, nil
}

// stripJSON returns b with blanks in place of comments and of the commas
// before a closing bracket, so that every byte that stays keeps its place.
// Valid JSON stays as it is, and what is not JSON does not become it by anything else.
func stripJSON(b []byte) []byte {
	out := bytes.Clone(b)
	comma := -1    // a comma that only blanks have followed so far
	value := false // the last byte that counts ended a value
	blank := func(from, to int) {
		for i := from; i < to; i++ {
			if out[i] != '\n' && out[i] != '\r' {
				out[i] = ' '
			}
		}
	}
	for i := 0; i < len(b); i++ {
		switch c := b[i]; c {
		case ' ', '\t', '\r', '\n':
		case '/':
			end := commentEnd(b, i)
			if end < 0 {
				return out // the rest is not JSON, and is refused as that
			}
			blank(i, end)
			i = end - 1
		case ',':
			comma = -1
			if value {
				comma = i
			}
			value = false
		case '"':
			i = stringEnd(b, i)
			comma, value = -1, true
		case ']', '}':
			if comma >= 0 {
				blank(comma, comma+1)
			}
			comma, value = -1, true
		default:
			comma, value = -1, c != '[' && c != '{' && c != ':'
		}
	}
	return out
}

// commentEnd is the index behind the comment that begins at i, -1 when none does, or when it has no end.
func commentEnd(b []byte, i int) int {
	switch rest := b[i:]; {
	case bytes.HasPrefix(rest, []byte("//")):
		if n := bytes.IndexAny(rest, "\r\n"); n >= 0 {
			return i + n
		}
		return len(b)
	case bytes.HasPrefix(rest, []byte("/*")):
		if n := bytes.Index(rest[2:], []byte("*/")); n >= 0 {
			return i + 2 + n + 2
		}
	}
	return -1
}

// stringEnd is the index of the quote that ends the string which begins at i, or the last index.
func stringEnd(b []byte, i int) int {
	for i++; i < len(b); i++ {
		switch b[i] {
		case '\\':
			i++
		case '"':
			return i
		}
	}
	return len(b) - 1
}
