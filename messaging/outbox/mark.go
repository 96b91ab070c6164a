package outbox

import (
	"encoding/json"
	"fmt"
	"math"
	"time"

	"github.com/expensevault/sharedlibrary/messaging"
)

// mark is a batch that was begun: what it takes to send it again as it was, by
// whichever process.
type mark struct {
	Topic      string  `json:"topic"`
	Partition  int32   `json:"partition"`
	ProducerID int64   `json:"producerId"`
	Epoch      int16   `json:"epoch"`
	Sequence   int32   `json:"sequence"` // of its first record
	Millis     int64   `json:"at"`       // when, by the database's clock
	IDs        []int64 `json:"ids"`      // its rows, in order
}

// encodeMarks returns the value of the column; NULL for none.
func encodeMarks(marks []mark) any {
	if len(marks) == 0 {
		return nil
	}
	out, err := json.Marshal(marks)
	if err != nil {
		return nil // it can't be: numbers and text
	}
	return string(out)
}

func decodeMarks(text string) ([]mark, error) {
	if text == "" {
		return nil, nil
	}
	var marks []mark
	if err := json.Unmarshal([]byte(text), &marks); err != nil {
		return nil, fmt.Errorf("outbox: the shard's marks cannot be read: %w", err)
	}
	for _, m := range marks {
		if len(m.IDs) == 0 || m.ProducerID < 0 || m.Epoch < 0 || m.Sequence < 0 || m.Partition < 0 || m.Topic == "" {
			return nil, fmt.Errorf("outbox: the shard's marks cannot be read: a batch for %q, partition %d, is not complete", m.Topic, m.Partition)
		}
	}
	return marks, nil
}

// nextSequence is the sequence n records after s; behind the largest comes 0.
func nextSequence(s int32, n int) int32 {
	const all = int64(math.MaxInt32) + 1
	return int32((int64(s) + int64(n)) % all)
}

// stream is a partition of a topic.
type stream struct {
	topic     string
	partition int32
}

// topicKey is whose order is kept.
type topicKey struct{ topic, key string }

// batch is a mark with its records.
type batch struct {
	mark
	recs []messaging.Record
	// maybe: it may be in the topic, by a try whose outcome is not known.
	maybe   bool
	attempt int
	tried   time.Time // the last one began
	again   time.Time // when to try again; zero while it is being tried
}

func (b *batch) stream() stream { return stream{b.Topic, b.Partition} }
