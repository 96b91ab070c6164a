package main

import (
	"bytes"
	"errors"
	"strings"
	"unicode/utf8"

	"github.com/expensevault/sharedlibrary/events"
)

// verified is the event that is published; its topic is mapped to the one that was asked for.
type verified struct {
	events.Base
	ID      string `json:"id"`
	Key     string `json:"key"`
	Padding string `json:"padding,omitempty"`
}

func (*verified) Topic() events.Topic    { return events.NewTopic("verifydriver", "event", "published") }
func (e *verified) PartitionKey() string { return e.Key }

// envelope is about what the JSON of an event without id, key and padding takes.
const envelope = 330

func newVerified(id, key string, size int) *verified {
	return &verified{ID: id, Key: key, Padding: strings.Repeat("x", max(0, size-envelope-len(id)-len(key)))}
}

var errNoID = errors.New("the value is neither \"<id> <padding>\" nor an event with an id")

// idOf reads a value of either form.
func idOf(value []byte) (string, error) {
	if bytes.HasPrefix(bytes.TrimLeft(value, " \t\r\n"), []byte("{")) {
		var e verified
		if err := events.Decode(value, &e); err != nil {
			return "", err
		}
		if e.ID == "" {
			return "", errNoID
		}
		return e.ID, nil
	}
	id, _, _ := bytes.Cut(value, []byte(" "))
	if len(id) == 0 || !utf8.Valid(id) || bytes.ContainsAny(id, "\r\n\x00") {
		return "", errNoID
	}
	return string(id), nil
}
