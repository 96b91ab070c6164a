package messaging

import (
	"fmt"
	"io"
	"log/slog"
	"strconv"
)

// redacted stands for a secret wherever one would be shown.
const redacted = "***"

// Secret is a string that package fmt, encoding/json and every other encoder
// that honours [encoding.TextMarshaler], and log/slog show as "***", under each
// verb and inside of other values. An empty Secret shows as empty, so that one
// sees whether it is set. string(s) is the plain text; nothing else reveals it.
//
// Package fmt calls no methods on what an unexported struct field holds: keep
// a Config in such a field by pointer when the struct may be printed.
type Secret string

// String is "***", or empty for an empty s.
func (s Secret) String() string {
	if s == "" {
		return ""
	}
	return redacted
}

// GoString is what %#v prints.
func (s Secret) GoString() string { return "messaging.Secret(" + strconv.Quote(s.String()) + ")" }

// Format writes the same for every verb, so that %x and %d reveal nothing either.
func (s Secret) Format(f fmt.State, verb rune) {
	out := s.String()
	switch {
	case verb == 'v' && f.Flag('#'):
		out = s.GoString()
	case verb == 'q':
		out = strconv.Quote(out)
	}
	_, _ = io.WriteString(f, out)
}

// MarshalText keeps the secret out of JSON, XML and the like: what is written can't be read back.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// LogValue keeps the secret out of slog's records.
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.String()) }
