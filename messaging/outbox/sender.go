package outbox

import (
	"context"

	"github.com/expensevault/sharedlibrary/messaging"
)

// Sender is what a [Relay] needs of a publisher.
type Sender interface {
	// NewIdentity returns a producer identity that nobody has, of epoch 0.
	NewIdentity(ctx context.Context) (messaging.Identity, error)
	// PartitionFor is the partition of a key; any for a nil key.
	PartitionFor(ctx context.Context, topic string, key []byte) (int32, error)
	// PublishSequenced writes recs as one batch, under this identity and this
	// sequence of the first record, and sends the same bytes again until that is
	// acknowledged. A batch that the broker has already is a success.
	PublishSequenced(ctx context.Context, id messaging.Identity, topic string, partition, firstSequence int32, recs []messaging.Record) (baseOffset int64, err error)
	// Tail returns the last n records of a partition, or all where there are fewer.
	Tail(ctx context.Context, topic string, partition int32, n int) ([]messaging.Record, error)
}

var _ Sender = (*messaging.KafkaPublisher)(nil)
