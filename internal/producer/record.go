package producer

import (
	"errors"
	"fmt"
	"time"

	"github.com/segmentio/kafka-go/protocol"
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

// Record is what is produced. Key, Value and Headers must not change until it is settled.
type Record struct {
	Topic     string
	Key       []byte
	Value     []byte
	Headers   []protocol.Header
	Timestamp time.Time
}

// size is the record's in a batch, give or take its varints.
func (r *Record) size() int {
	n := len(r.Key) + len(r.Value) + 16
	for _, h := range r.Headers {
		n += len(h.Key) + len(h.Value) + 4
	}
	return n
}

// Result says where an acknowledged record stands.
type Result struct {
	Partition int32
	Offset    int64 // -1 when the broker did not say: acks 0, or a duplicate whose offset it has forgotten
}

// entry is a record on its way.
type entry struct {
	rec      Record
	size     int
	deadline time.Time
	flush    *flushGroup
	done     func(Result, error)
	batch    *batch // that is, or was, under way: the entry is no longer to be taken back; nil in a queue
	maybe    bool   // an earlier batch with it may have been written
	settled  bool
}

// settlement is a call to be made once the mutex is free.
type settlement struct {
	done  func(Result, error)
	res   Result
	err   error
	flush *flushGroup
}

func run(ss []settlement) {
	for _, s := range ss {
		s.done(s.res, s.err)
		s.flush.remove()
	}
}
