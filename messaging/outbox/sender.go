package outbox

import (
	"context"
	"errors"

	"github.com/expensevault/sharedlibrary/messaging"
)

// Sender is what a [Relay] needs of a publisher.
type Sender interface {
	// NewIdentity returns a producer identity that nobody has, of epoch 0.
	NewIdentity(ctx context.Context) (Identity, error)
	// PartitionFor is the partition of a key; any for a nil key.
	PartitionFor(ctx context.Context, topic string, key []byte) (int32, error)
	// PublishSequenced writes recs as one batch, under this identity and this
	// sequence of the first record, and sends the same bytes again until that is
	// acknowledged. A batch that the broker has already is a success.
	PublishSequenced(ctx context.Context, id Identity, topic string, partition, firstSequence int32, recs []messaging.Record) (baseOffset int64, err error)
	// Tail returns the last n records of a partition, or all where there are fewer.
	Tail(ctx context.Context, topic string, partition int32, n int) ([]messaging.Record, error)
}

// Identity is a producer's, for brokers.
type Identity struct {
	ProducerID int64
	Epoch      int16
}

// What a Sender's errors unwrap to.
var (
	ErrFenced   = errors.New("outbox: fenced")
	ErrSequence = errors.New("outbox: out of sequence")
)
