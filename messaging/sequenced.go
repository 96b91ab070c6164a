package messaging

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/google/uuid"

	"github.com/expensevault/sharedlibrary/internal/consumer"
	"github.com/expensevault/sharedlibrary/internal/producer"
	"github.com/expensevault/sharedlibrary/internal/telemetry"
)

// MaxBatchBytes bounds the records of one [KafkaPublisher.PublishSequenced] together, by [Record.Size].
const MaxBatchBytes = maxRecordBytes

// Identity is an idempotent producer's identity that its holder keeps, in a
// database for instance, so that another process can send a batch again
// without doubling it. The holder numbers the records of each partition itself:
// the first batch of an epoch begins at 0, the next at the number behind its last record,
// and behind 2147483647 comes 0.
//
// With Epoch+1 and sequence 0 brokers take the next batch unasked, and from
// then on refuse those of the old epoch in that partition: this is how a new holder fences the
// one before it. At epoch 32767 a new identity is due.
//
// Brokers forget an identity that has written nothing for a while
// (producer.id.expiration.ms, one day by default), and then take any sequence;
// see [KafkaPublisher.Tail].
type Identity struct {
	ProducerID int64
	Epoch      int16
}

// NewIdentity returns an identity that nobody has used, from the cluster. It
// waits for Config.MessageTimeout at most, and its errors are those of Publish.
func (p *KafkaPublisher) NewIdentity(ctx context.Context) (Identity, error) {
	id, epoch, err := p.engine.NewID(ctx)
	if err != nil {
		return Identity{}, publishError("", uuid.Nil, err)
	}
	return Identity{id, epoch}, nil
}

// PartitionFor is the partition that Publish would choose for a record with this
// key: any one for a record without a key. topic is a name on the broker. When a topic's partitions
// grow, keys move, and it is noticed within five minutes.
func (p *KafkaPublisher) PartitionFor(ctx context.Context, topic string, key []byte) (int32, error) {
	n, err := p.engine.PartitionFor(ctx, topic, key)
	if err != nil {
		return 0, publishError(topic, uuid.Nil, err)
	}
	return n, nil
}

// PublishSequenced sends recs as one batch, to one partition, under an identity
// and with the sequence number of the first record. topic is a name on the broker;
// the records' own topics do not count. It sends the same bytes again until they
// are acknowledged by all replicas in sync, whatever Config.Acks says, until ctx
// ends, or until Config.MessageTimeout has passed. Equal arguments make equal bytes,
// also in another process with the same version and Config.CompressionType: that is why every record needs a Timestamp.
//
// A batch that the partition has already, among the last five of the identity,
// is acknowledged with the offset that it got then. The offset is -1 where the broker has forgotten it.
//
// The error is a [*PublishError]. [ErrFenced] says that a newer epoch has
// written to the partition: somebody has taken over. [ErrSequence] says that the
// number does not follow what the broker knows. For all others see
// [SafeToRetry]; what it says is about this call alone, not about earlier ones with the same batch.
//
// Any number of goroutines may call it; one identity's batches for one partition go one at a time.
func (p *KafkaPublisher) PublishSequenced(
	ctx context.Context, id Identity, topic string, partition, firstSequence int32, recs []Record,
) (baseOffset int64, err error) {
	s := producer.Sequenced{
		ID: id.ProducerID, Epoch: id.Epoch, Sequence: firstSequence, Topic: topic, Partition: partition,
		Records: make([]producer.Record, len(recs)),
	}
	fail := func(n int, err error) (int64, error) {
		var event uuid.UUID
		if n < len(recs) {
			event = recs[n].eventID()
		}
		return 0, &PublishError{Topic: topic, EventID: event, Err: err}
	}
	if err := checkTopicName(topic); err != nil {
		return fail(0, fmt.Errorf("%w: %w", ErrInvalidEvent, err))
	}
	if len(recs) == 0 || id.ProducerID < 0 || id.Epoch < 0 || firstSequence < 0 || partition < 0 {
		return fail(0, fmt.Errorf("%w: a batch needs records, and an identity, sequence and partition that are not negative", ErrInvalidEvent))
	}
	size := 0
	for i := range recs {
		if recs[i].Timestamp.IsZero() {
			return fail(i, fmt.Errorf("%w: a record without a timestamp would be another one when it is sent again", ErrInvalidEvent))
		}
		if size += recs[i].Size(); size > MaxBatchBytes {
			return fail(i, fmt.Errorf("%w: a batch of over %d bytes", ErrTooLarge, MaxBatchBytes))
		}
		s.Records[i] = recs[i].plain(recs[i].Timestamp)
	}
	start := time.Now()
	ctx, span := p.watch.beginBatch(ctx, topic, recs)
	offset, err := p.engine.ProduceSequenced(ctx, &s)
	var failed *PublishError
	var kind string
	if err != nil {
		failed = publishError(topic, recs[0].eventID(), err)
		kind = failed.ErrorType()
	}
	if span != nil {
		span.SetAttributes(telemetry.Partition.String(strconv.Itoa(int(partition))))
		endSpan(span, err, kind)
	}
	p.watch.count(ctx, topic, len(recs), time.Since(start), kind)
	if failed != nil {
		return 0, failed
	}
	return offset, nil
}

// Tail reads the end of a partition: the records of its last n offsets, oldest
// first; fewer where transactions' markers or compaction have left gaps. It is for
// the holder of an [Identity] whose unacknowledged batch is older than the brokers' memory of
// producers: whether its records are there only the log can tell. topic is a
// name on the broker. It needs the right to read the topic.
func (p *KafkaPublisher) Tail(ctx context.Context, topic string, partition int32, n int) ([]Record, error) {
	if n <= 0 {
		return nil, nil
	}
	leader, err := p.engine.Leader(ctx, topic, partition)
	if err != nil {
		return nil, publishError(topic, uuid.Nil, err)
	}
	found, err := consumer.Tail(ctx, p.cluster, leader, topic, partition, n)
	if err != nil {
		return nil, publishError(topic, uuid.Nil, fmt.Errorf("read the end of partition %d: %w", partition, err))
	}
	out := make([]Record, len(found))
	for i, r := range found {
		out[i] = Record{Topic: r.Topic, Key: r.Key, Value: r.Value, Headers: r.Headers, Timestamp: r.Timestamp}
	}
	return out, nil
}
