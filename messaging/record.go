package messaging

import (
	"context"
	"encoding/hex"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"github.com/segmentio/kafka-go/protocol"
	"go.opentelemetry.io/otel/trace"

	"github.com/expensevault/sharedlibrary/events"
	"github.com/expensevault/sharedlibrary/internal/producer"
	"github.com/expensevault/sharedlibrary/internal/recordbatch"
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
	return (&encoder{}).record(ctx, e)
}

// Encode is [Encode] by these settings: with the names of topics and the set of
// headers that they give. It is what a [KafkaPublisher] with them writes.
func (c Config) Encode(ctx context.Context, e events.IntegrationEvent) (Record, error) {
	return (&encoder{headers: c.Headers, topics: c.Topics}).record(ctx, e)
}

func (enc *encoder) record(ctx context.Context, e events.IntegrationEvent) (Record, error) {
	var s scratch
	r, err := enc.encode(ctx, &s, e)
	if err != nil {
		return Record{}, err
	}
	return Record{
		Topic: r.Topic, Key: r.Key, Value: r.Value, Headers: r.Headers.List(),
		Timestamp: e.Metadata().Timestamp,
	}, nil
}

// encoder is what of Config the form of a record depends on; its zero value has the defaults.
type encoder struct {
	headers string
	topics  map[string]string
	codec   Codec // nil: the default
	names   topicNames
	watch   *observed // nil: no spans
}

// scratch is memory that records are encoded in. What is encoded stays as it is when the memory grows.
type scratch struct {
	body, heads []byte
	span        trace.Span // of the event that was encoded last; nil: none
}

func (s *scratch) reset() { s.body, s.heads, s.span = s.body[:0], s.heads[:0], nil }

func (enc *encoder) encode(ctx context.Context, s *scratch, e events.IntegrationEvent) (producer.Record, error) {
	s.span = nil
	if err := events.Stamp(e); err != nil {
		return producer.Record{}, &PublishError{Err: fmt.Errorf("%w: %w", ErrInvalidEvent, err)}
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
	name := enc.names.of(enc, e.Topic())
	r := producer.Record{Topic: name.broker, Millis: b.Timestamp.UnixMilli()}
	fail := func(err error) (producer.Record, error) {
		return producer.Record{}, &PublishError{Topic: r.Topic, EventID: b.EventID, Err: err}
	}
	if name.err != nil {
		return fail(fmt.Errorf("%w: %w", ErrInvalidEvent, name.err))
	}
	start := len(s.body)
	body, err := appendBody(enc.codec, s.body, e)
	if err != nil {
		return fail(fmt.Errorf("%w: %w", ErrInvalidEvent, err))
	}
	r.Value = body[start:len(body):len(body)]
	key := e.PartitionKey()
	if key != "" {
		body = append(body, key...)
		r.Key = body[len(body)-len(key) : len(body) : len(body)]
	}
	s.body = body
	if enc.watch != nil {
		ctx, s.span = enc.watch.beginSend(ctx, r.Topic, r.Key, b)
	}
	r.Headers = enc.appendHeaders(ctx, s, b, name.event, key)
	if err := checkSize(len(r.Key) + len(r.Value) + len(r.Headers.Bytes)); err != nil {
		if s.span != nil {
			endSpan(s.span, err, errorType(err))
		}
		return fail(err)
	}
	return r, nil
}

// topicNames remembers what the names of topics are on the broker.
type topicNames struct {
	last  atomic.Pointer[topicName] // mostly it is the same again
	mu    sync.RWMutex
	known map[events.Topic]*topicName
}

type topicName struct {
	of            events.Topic
	event, broker string
	err           error
}

// mostTopicNames bounds what is remembered, should a service invent topics as it goes.
const mostTopicNames = 1000

func (n *topicNames) of(enc *encoder, t events.Topic) *topicName {
	if last := n.last.Load(); last != nil && last.of == t {
		return last
	}
	n.mu.RLock()
	out := n.known[t]
	n.mu.RUnlock()
	if out == nil {
		out = n.add(enc, t)
	}
	n.last.Store(out)
	return out
}

func (n *topicNames) add(enc *encoder, t events.Topic) *topicName {
	out := &topicName{of: t, event: t.String()}
	out.broker = out.event
	if custom := enc.topics[out.event]; custom != "" {
		out.broker = custom
	}
	out.err = checkTopicName(out.broker)
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.known == nil {
		n.known = make(map[events.Topic]*topicName)
	}
	if len(n.known) < mostTopicNames {
		n.known[t] = out
	}
	return out
}

// plain makes a record as it is the engine's.
func (r *Record) plain(now time.Time) producer.Record {
	at := r.Timestamp
	if at.IsZero() {
		at = now
	}
	return producer.Record{
		Topic: r.Topic, Key: r.Key, Value: r.Value, Millis: at.UnixMilli(),
		Headers: recordbatch.Headers{Plain: r.Headers}, //nolint:exhaustruct // none of the others
	}
}

// check refuses what Kafka would refuse.
func (r *Record) check() error {
	if err := checkTopicName(r.Topic); err != nil {
		return fmt.Errorf("%w: %w", ErrInvalidEvent, err)
	}
	return checkSize(r.Size())
}

func checkSize(n int) error {
	if n > maxRecordBytes {
		return fmt.Errorf("%w: %d bytes, the limit is %d", ErrTooLarge, n, maxRecordBytes)
	}
	return nil
}

// maxRecordBytes is librdkafka's default of message.max.bytes; brokers accept a little more.
const maxRecordBytes = 1_000_000

// Size is what counts for the limit of 1,000,000 bytes: key, value and headers with a little for their framing.
func (r *Record) Size() int {
	n := len(r.Key) + len(r.Value) + 16
	for _, h := range r.Headers {
		n += len(h.Key) + len(h.Value) + 4
	}
	return n
}

func (enc *encoder) appendHeaders(ctx context.Context, s *scratch, b *events.Base, topic, key string) recordbatch.Headers {
	if enc.headers == HeadersNone {
		return recordbatch.Headers{}
	}
	start := len(s.heads)
	hs := recordbatch.Headers{Bytes: s.heads}
	add := func(name, value string) {
		if value != "" {
			hs.AddString(name, value)
		}
	}
	add("content-type", contentType(enc.codec))
	if enc.headers == HeadersBasic {
		add("correlation-id", b.CorrelationID)
		add("causation-id", b.CausationID)
	} else {
		var text [64]byte // an ID has 36 bytes, a time up to 35
		add("ce_specversion", "1.0")
		hs.Add("ce_id", appendID(text[:0], b.EventID))
		hs.Add("ce_source", append(append(text[:0], '/'), b.SourceService...))
		add("ce_type", ceType(topic, b.EventVersion))
		hs.Add("ce_time", b.Timestamp.AppendFormat(text[:0], time.RFC3339Nano))
		add("ce_eventversion", b.EventVersion)
		add("ce_correlationid", b.CorrelationID)
		add("ce_causationid", b.CausationID)
		add("ce_partitionkey", key)
	}
	var carried []Header
	tracing.Inject(ctx, &carried)
	for _, h := range carried {
		hs.Add(h.Key, h.Value)
	}
	s.heads = hs.Bytes
	hs.Bytes = hs.Bytes[start:]
	return hs
}

// appendID is id.String without its allocation.
func appendID(dst []byte, id uuid.UUID) []byte {
	for i, part := range [][]byte{id[0:4], id[4:6], id[6:8], id[8:10], id[10:16]} {
		if i > 0 {
			dst = append(dst, '-')
		}
		dst = hex.AppendEncode(dst, part)
	}
	return dst
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
