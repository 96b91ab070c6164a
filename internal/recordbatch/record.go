// Package recordbatch encodes and decodes Kafka's record batch, format v2.
package recordbatch

import (
	"bytes"
	"slices"
	"time"

	"github.com/segmentio/kafka-go/protocol"
)

// Record is one record as the log holds it. Key, Value and header values are
// views into the batch's memory, which nobody writes to afterwards.
type Record struct {
	Topic       string
	Partition   int32
	LeaderEpoch int32 // of the batch; -1 when the broker did not say
	Offset      int64
	Timestamp   time.Time
	Key         []byte // nil: no key
	Value       []byte // nil: a tombstone
	Headers     []protocol.Header
}

// Clone returns the record with memory of its own.
func (r *Record) Clone() Record {
	c := *r
	c.Key, c.Value = bytes.Clone(r.Key), bytes.Clone(r.Value)
	c.Headers = slices.Clone(r.Headers)
	for i := range c.Headers {
		c.Headers[i].Value = bytes.Clone(c.Headers[i].Value)
	}
	return c
}

// Size is about how much memory the record refers to.
func (r *Record) Size() int {
	n := len(r.Key) + len(r.Value)
	for i := range r.Headers {
		n += 40 + len(r.Headers[i].Value)
	}
	return n
}
