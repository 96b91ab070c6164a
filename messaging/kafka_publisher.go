package messaging

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/segmentio/kafka-go/compress"

	"github.com/expensevault/sharedlibrary/events"
	"github.com/expensevault/sharedlibrary/internal/backoff"
	"github.com/expensevault/sharedlibrary/internal/cluster"
	"github.com/expensevault/sharedlibrary/internal/consumer"
	"github.com/expensevault/sharedlibrary/internal/kerr"
	"github.com/expensevault/sharedlibrary/internal/producer"
	"github.com/expensevault/sharedlibrary/internal/wire"
)

const (
	// defaultBufferBytes bounds what is not settled.
	defaultBufferBytes = 32 << 20
	// firstBackoff grows to Config.RetryBackoff.
	firstBackoff = 50 * time.Millisecond
)

// KafkaPublisher is the [Publisher] that writes to Kafka. It is safe for
// concurrent use; one of them serves a whole process. Close it at the end.
type KafkaPublisher struct {
	enc     encoder
	engine  *producer.Producer
	cluster *cluster.Cluster // closed by the engine
	bound   time.Duration    // of Close
	calls   sync.Pool        // of *call
	asyncs  sync.Pool        // of *asyncEvent
	cancels cancels
	watch   *observed
	unwatch func()
	probe   probe
}

var _ Publisher = (*KafkaPublisher)(nil)

// Receipt says where an acknowledged event stands.
type Receipt struct {
	Topic     string
	Partition int
	Offset    int64 // -1 when the broker did not say, as with AcksNone
}

// NewKafkaPublisher returns a publisher for the cluster that cfg names. It
// fails for settings that [Config.Validate] refuses or files that can't be
// read; it does not connect yet, so a cluster that is away is no error here.
func NewKafkaPublisher(cfg Config, opts ...PublisherOption) (*KafkaPublisher, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	o := publisherOptions{bufferBytes: defaultBufferBytes}
	for _, opt := range opts {
		opt.applyPublisher(&o)
	}
	if o.bufferBytes <= 0 {
		return nil, fmt.Errorf("messaging: WithBufferBytes(%d): the buffer must have room", o.bufferBytes)
	}
	log := o.logger()
	params, err := cfg.clusterParams(log)
	if err != nil {
		return nil, err
	}
	params.Wire.Dial = o.dial
	conns := cluster.New(params)
	watch := o.observed(cfg.ClientID)
	p := producer.Params{
		Cluster:        conns,
		Logger:         log,
		Acks:           int16(cfg.Acks),
		Idempotent:     cfg.EnableIdempotence,
		MaxInFlight:    cfg.MaxInFlight,
		MessageTimeout: cfg.MessageTimeout,
		RequestTimeout: cfg.RequestTimeout,
		Backoff:        backoff.Policy{Min: min(firstBackoff, cfg.RetryBackoff), Max: cfg.RetryBackoff},
		Partitioner:    producer.CRC32,
		Compression:    compressionOf(cfg.Compression),
		BufferBytes:    o.bufferBytes,
		Linger:         cfg.Linger,
		Observer:       &watch,
	}
	if cfg.Partitioner == PartitionerMurmur2 {
		p.Partitioner = producer.Murmur2
	}
	engine := producer.New(p)
	return &KafkaPublisher{
		cancels: cancels{engine: engine},
		enc:     encoder{headers: cfg.Headers, topics: cfg.Topics, codec: o.codec, watch: &watch},
		engine:  engine, cluster: conns,
		bound: cfg.MessageTimeout,
		watch: &watch, unwatch: watch.watchBuffer(engine),
	}, nil
}

func compressionOf(name string) compress.Compression {
	switch name {
	case "gzip":
		return compress.Gzip
	case "snappy":
		return compress.Snappy
	case "lz4":
		return compress.Lz4
	case "zstd":
		return compress.Zstd
	default:
		return compress.None
	}
}

// Publish writes events and waits until each of them is settled; see
// [Publisher]. It takes Config.MessageTimeout at most. The error is a
// [*PublishError], or unwraps to one per event that failed. When ctx ends,
// what was not sent is taken back, and what was sent is reported as possibly
// written, while its outcome is still settled behind the scenes.
func (p *KafkaPublisher) Publish(ctx context.Context, evs ...events.IntegrationEvent) error {
	c := p.call()
	defer p.calls.Put(c)
	for _, e := range evs {
		r, err := p.enc.encode(ctx, &c.scratch, e)
		if err != nil {
			c.unsent(err)
			return err
		}
		c.add(r, e.Metadata().EventID)
	}
	return c.publish(ctx, p.engine)
}

// PublishRecords writes records as they are, without a stamp or further
// headers, and waits as [KafkaPublisher.Publish] does. Topics are names on the
// broker: Config.Topics is not applied. It is for what is encoded already: an
// outbox, dead letters, other formats.
func (p *KafkaPublisher) PublishRecords(ctx context.Context, recs ...Record) error {
	for i := range recs {
		if err := recs[i].check(); err != nil {
			return &PublishError{Topic: recs[i].Topic, EventID: recs[i].eventID(), Err: err}
		}
	}
	return p.publish(ctx, recs...)
}

// publish is PublishRecords without a look at the records: what one broker has
// taken may be larger than what we would send as our own.
func (p *KafkaPublisher) publish(ctx context.Context, recs ...Record) error {
	c := p.call()
	defer p.calls.Put(c)
	now := time.Now()
	for i := range recs {
		c.add(recs[i].plain(now), recs[i].eventID())
	}
	_, span := p.watch.beginBatch(ctx, "", recs)
	err := c.publish(ctx, p.engine)
	if span != nil {
		endSpan(span, err, errorType(err))
	}
	return err
}

// PublishAsync takes an event, and calls done exactly once when it is settled.
// It blocks only while the buffer is full, and fails with [ErrBufferFull] when
// half of Config.MessageTimeout has passed that way. Events of one goroutine keep their
// order within a partition. done must not block; a nil done is for who does not
// want to know. ctx counts until the event is settled: a request's context
// takes the event back when the request ends, so detach it by
// [context.WithoutCancel] where the event is to outlive the request.
func (p *KafkaPublisher) PublishAsync(ctx context.Context, e events.IntegrationEvent, done func(Receipt, error)) {
	if done == nil {
		done = func(Receipt, error) {}
	}
	c := p.call()
	defer p.calls.Put(c)
	r, err := p.enc.encode(ctx, &c.scratch, e)
	if err != nil {
		done(Receipt{}, err)
		return
	}
	a := p.asyncEvent()
	a.topic, a.id, a.done, a.start, a.span = r.Topic, e.Metadata().EventID, done, time.Now(), c.scratch.span
	a.group = p.cancels.join(ctx)
	if _, err := p.engine.Produce(ctx, &r, a.start, a, 0); err != nil {
		a.Settled(0, producer.Result{}, err) //nolint:contextcheck // it has one of its own
	}
}

// Flush waits until everything that was taken before it is settled. Its error is ctx's.
func (p *KafkaPublisher) Flush(ctx context.Context) error { return p.engine.Flush(ctx) }

// Close refuses new events, waits until the others are settled, for
// Config.MessageTimeout at most, and frees everything. Its error says how many
// were given up; each of them got its own. A second Close returns [ErrClosed].
// It must not be called from a function given to PublishAsync.
func (p *KafkaPublisher) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), p.bound)
	defer cancel()
	left, err := p.engine.Close(ctx)
	if err == nil {
		p.unwatch()
		p.cancels.close()
	}
	switch {
	case err != nil:
		return ErrClosed
	case left > 0:
		return fmt.Errorf("messaging: %d events were not acknowledged in time and are given up", left)
	}
	return nil
}

// publishError makes the engine's error one of ours.
func publishError(topic string, id uuid.UUID, err error) *PublishError {
	out := &PublishError{Topic: topic, EventID: id}
	if e, ok := errors.AsType[*producer.Error](err); ok {
		out.MaybeWritten = e.MaybeWritten
		err = e.Err
	}
	out.Err = classify(err)
	return out
}

// classify puts the error of this package that fits before an engine's error.
func classify(err error) error {
	kind := kindOf(err)
	if kind == nil {
		return err
	}
	return &classified{kind: kind, cause: err}
}

func kindOf(err error) error {
	// The engine's own verdicts come first: the last try's trouble stands behind them in the chain.
	switch {
	case errors.Is(err, producer.ErrClosed):
		return ErrClosed
	case errors.Is(err, producer.ErrBufferFull):
		return ErrBufferFull
	case errors.Is(err, producer.ErrTimeout), errors.Is(err, consumer.ErrUnanswered):
		return ErrTimeout
	case errors.Is(err, producer.ErrFenced):
		return ErrFenced
	case errors.Is(err, producer.ErrSequence):
		return ErrSequence
	}
	if _, ok := errors.AsType[*wire.AuthError](err); ok {
		return ErrAuthentication
	}
	var code kerr.Code
	if !errors.As(err, &code) {
		return nil
	}
	switch code { //nolint:exhaustive // the others stand for themselves
	case kerr.UnknownTopicOrPartition:
		return ErrUnknownTopic
	case kerr.TopicAuthorizationFailed, kerr.ClusterAuthorizationFailed, kerr.GroupAuthorizationFailed:
		return ErrNotAuthorized
	case kerr.SaslAuthenticationFailed:
		return ErrAuthentication
	case kerr.MessageTooLarge, kerr.RecordListTooLarge:
		return ErrTooLarge
	}
	return nil
}

// classified says what kind of error its cause is.
type classified struct{ kind, cause error }

func (c *classified) Error() string { return c.kind.Error() + ": " + c.cause.Error() }

func (c *classified) Unwrap() []error { return []error{c.kind, c.cause} }

func (o *commonOptions) logger() *slog.Logger {
	if o.log == nil {
		return slog.Default()
	}
	return o.log
}
