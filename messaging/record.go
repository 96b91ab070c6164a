package messaging

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/segmentio/kafka-go/protocol"

	"github.com/expensevault/sharedlibrary/events"
	"github.com/expensevault/sharedlibrary/tracing"
)

// Header is a header of a Kafka record; kafka-go's own type.
type Header = protocol.Header

// Record is an event, or anything else, as the topic holds it.
type Record struct {
	Topic     string
	Key       []byte // nil: no key, and so no order
	Value     []byte // nil: a tombstone
	Headers   []Header
	Timestamp time.Time // milliseconds are kept, and the topic's retention counts from it; zero: the moment of publishing
}

// The sets of headers that Config.Headers names.
const (
	HeadersCloudEvents = "cloudevents" // content-type, ce_*, trace context: the default
	HeadersBasic       = "basic"       // content-type, correlation-id, causation-id, trace context
	HeadersNone        = "none"
)

// Encode stamps e and returns it as the record that a Publisher with default
// settings writes: the JSON of e, its partition key, and headers by the
// CloudEvents Kafka binding in binary mode with W3C trace context. Correlation
// and causation ID are ctx's where e has none of its own; an event that begins
// a story gets its own ID for correlation. The error wraps [ErrInvalidEvent] or [ErrTooLarge].
//
// Source: https://github.com/cloudevents/spec/blob/main/cloudevents/bindings/kafka-protocol-binding.md
func Encode(ctx context.Context, e events.IntegrationEvent) (Record, error) {
	return encoder{}.encode(ctx, e)
}

// encoder is what of Config the form of a record depends on; its zero value has the defaults.
type encoder struct {
	headers string
	topics  map[string]string
	codec   Codec // nil: the default
}

func (enc encoder) encode(ctx context.Context, e events.IntegrationEvent) (Record, error) {
	if err := events.Stamp(e); err != nil {
		return Record{}, &PublishError{Err: fmt.Errorf("%w: %w", ErrInvalidEvent, err)}
	}
	b := e.Metadata()
	if b.CorrelationID == "" {
		b.CorrelationID = tracing.CorrelationID(ctx)
	}
	if b.CorrelationID == "" {
		b.CorrelationID = b.EventID.String()
	}
	if b.CausationID == "" {
		b.CausationID = tracing.CausationID(ctx)
	}
	name := e.Topic().String()
	r := Record{Topic: name, Timestamp: b.Timestamp}
	if custom := enc.topics[name]; custom != "" {
		r.Topic = custom
	}
	fail := func(err error) (Record, error) {
		return Record{}, &PublishError{Topic: r.Topic, EventID: b.EventID, Err: err}
	}
	value, err := appendBody(enc.codec, nil, e)
	if err != nil {
		return fail(fmt.Errorf("%w: %w", ErrInvalidEvent, err))
	}
	r.Value = value
	key := e.PartitionKey()
	if key != "" {
		r.Key = []byte(key)
	}
	r.Headers = enc.appendHeaders(ctx, b, name, key)
	if err := r.check(); err != nil {
		return fail(err)
	}
	return r, nil
}

// check refuses what Kafka would refuse.
func (r *Record) check() error {
	if err := checkTopicName(r.Topic); err != nil {
		return fmt.Errorf("%w: %w", ErrInvalidEvent, err)
	}
	if n := r.size(); n > maxRecordBytes {
		return fmt.Errorf("%w: %d bytes, the limit is %d", ErrTooLarge, n, maxRecordBytes)
	}
	return nil
}

// maxRecordBytes is librdkafka's default of message.max.bytes; brokers accept a little more.
const maxRecordBytes = 1_000_000

// size is the record's own, in a batch, give or take its varints.
func (r *Record) size() int {
	n := len(r.Key) + len(r.Value) + 16
	for _, h := range r.Headers {
		n += len(h.Key) + len(h.Value) + 4
	}
	return n
}

func (enc encoder) appendHeaders(ctx context.Context, b *events.Base, topic, key string) []Header {
	if enc.headers == HeadersNone {
		return nil
	}
	hs := make([]Header, 0, 12)
	add := func(name, value string) {
		if value != "" {
			hs = append(hs, Header{Key: name, Value: []byte(value)})
		}
	}
	add("content-type", contentType(enc.codec))
	if enc.headers == HeadersBasic {
		add("correlation-id", b.CorrelationID)
		add("causation-id", b.CausationID)
	} else {
		add("ce_specversion", "1.0")
		add("ce_id", b.EventID.String())
		add("ce_source", "/"+b.SourceService)
		add("ce_type", ceType(topic, b.EventVersion))
		add("ce_time", b.Timestamp.Format(time.RFC3339Nano))
		add("ce_eventversion", b.EventVersion)
		add("ce_correlationid", b.CorrelationID)
		add("ce_causationid", b.CausationID)
		add("ce_partitionkey", key)
	}
	tracing.Inject(ctx, &hs)
	return hs
}

// ceType changes with the major version, as the CloudEvents primer asks of an incompatible change.
func ceType(topic, version string) string {
	major, _, _ := strings.Cut(version, ".")
	if major == "1" || major == "" {
		return topic
	}
	return topic + ".v" + major
}

// eventID finds the ID that the headers name, for error messages.
func (r *Record) eventID() uuid.UUID {
	for _, h := range r.Headers {
		if h.Key == "ce_id" {
			id, _ := uuid.ParseBytes(h.Value)
			return id
		}
	}
	return uuid.Nil
}
