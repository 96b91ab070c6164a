// Package recordbatch encodes and decodes Kafka's record batch, format v2.
package recordbatch

import (
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
