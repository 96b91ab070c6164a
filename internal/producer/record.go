package producer

import (
	"errors"
	"fmt"

	"github.com/expensevault/sharedlibrary/internal/recordbatch"
)

// Why a record was not acknowledged, beside what the broker and the connection say.
var (
	ErrClosed     = errors.New("producer: closed")
	ErrTimeout    = errors.New("producer: not acknowledged in time")
	ErrBufferFull = errors.New("producer: the buffer is full")
)

// Error is why one record was not acknowledged.
type Error struct {
	Err          error
	MaybeWritten bool
}

func (e *Error) Error() string {
	if e.MaybeWritten {
		return fmt.Sprintf("possibly written: %v", e.Err)
	}
	return e.Err.Error()
}

func (e *Error) Unwrap() error { return e.Err }

// Record is what is produced. Nothing of it is kept once Produce has returned.
type Record struct {
	Topic   string
	Key     []byte
	Value   []byte
	Headers recordbatch.Headers
	Millis  int64 // the timestamp, in milliseconds since the epoch
}

// size is the record's in a batch, give or take its varints.
func (r *Record) size() int { return len(r.Key) + len(r.Value) + r.Headers.Size() + 16 }

// Result says where an acknowledged record stands.
type Result struct {
	Partition int32
	Offset    int64 // -1 when the broker did not say: acks 0, or a duplicate whose offset it has forgotten
}

// Completion hears of records.
type Completion interface {
	// Settled is called exactly once for each record that was taken, with the number that
	// Produce was given, on another goroutine as a rule. It must not block.
	Settled(n int, res Result, err error)
}

// Ticket is a record under way; its zero value is of one that was not taken.
type Ticket struct {
	topic *topic
	seq   uint64
}
