package main

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"time"

	"github.com/google/uuid"

	"github.com/expensevault/sharedlibrary/events"
)

const users = 10_000

// ItemCreated is the event that everybody publishes.
type ItemCreated struct {
	events.Base
	CustomItemID uuid.UUID `json:"customItemId"`
	Name         string    `json:"name"`
	Description  string    `json:"description"`
	UserID       uuid.UUID `json:"userId"`
	CategoryID   uuid.UUID `json:"categoryId"`
	Status       string    `json:"status"`
}

// Topic is mapped to the run's own by Config.Topics.
func (*ItemCreated) Topic() events.Topic { return events.NewTopic("customservice", "item", "created") }

// PartitionKey is the user.
func (e *ItemCreated) PartitionKey() string { return e.UserID.String() }

// source hands out the events of one goroutine: fresh as a service has them
// before it publishes, without an envelope but for whose story they belong to.
// The structs are used again, since every client encodes before it returns.
type source struct {
	events []ItemCreated
	next   int
}

// newSource returns the first-th of n parts of the users.
func newSource(first, n int) *source {
	s := &source{}
	for u := first; u < users; u += n {
		s.events = append(s.events, ItemCreated{
			CustomItemID: id("item", u), Name: fmt.Sprintf("Sample Item %05d", u), Description: "Item description",
			UserID: id("user", u), CategoryID: id("category", u%50), Status: "Active",
			Base: events.Base{CorrelationID: fmt.Sprintf("abc123-%06d", u)},
		})
	}
	return s
}

func id(kind string, n int) uuid.UUID {
	var b [4]byte
	binary.BigEndian.PutUint32(b[:], uint32(n)) //nolint:gosec // a few thousand
	return uuid.NewSHA1(uuid.NameSpaceOID, append([]byte(kind), b[:]...))
}

func (s *source) event() *ItemCreated {
	e := &s.events[s.next]
	if s.next++; s.next == len(s.events) {
		s.next = 0
	}
	e.Base = events.Base{CorrelationID: e.CorrelationID, CausationID: e.CorrelationID}
	return e
}

// encode is what the users of a client without events write.
func encode(e *ItemCreated) (key string, value []byte, err error) {
	e.EventID = uuid.New()
	e.Timestamp = time.Now().UTC().Truncate(time.Millisecond)
	e.EventType = "created"
	e.EventVersion = "1.0"
	e.SourceService = "customservice"
	value, err = json.Marshal(e)
	return e.UserID.String(), value, err
}

// The headers of every record.
const (
	headerType        = "content-type"
	headerCorrelation = "correlation-id"
	headerCausation   = "causation-id"
	contentType       = "application/json"
)

// ready is a record whose bytes lie there already.
type ready struct{ key, value, correlation, causation []byte }

func newReady(s *source) ([]ready, error) {
	out := make([]ready, len(s.events))
	for i := range out {
		e := s.event()
		key, value, err := encode(e)
		if err != nil {
			return nil, err
		}
		out[i] = ready{[]byte(key), value, []byte(e.CorrelationID), []byte(e.CausationID)}
	}
	return out, nil
}
