package recordbatch

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"

	"github.com/segmentio/kafka-go/compress"
	"github.com/segmentio/kafka-go/protocol"
)

// Offsets of a batch's fields.
//
// Source: https://kafka.apache.org/documentation/#recordbatch
const (
	atLength     = 8
	atEpoch      = 12
	atMagic      = 16
	atCRC        = 17
	atAttributes = 21
	atLastDelta  = 23
	atFirstTime  = 27
	atMaxTime    = 35
	atProducerID = 43
	atProdEpoch  = 51
	atSequence   = 53
	atCount      = 57
	headerBytes  = 61

	magicV2 = 2
)

// NoProducer is the producer ID, epoch and sequence of a batch without idempotence.
const NoProducer = -1

// Headers are a record's headers. The zero value is none.
type Headers struct {
	Count int               // of those in Bytes
	Bytes []byte            // as a batch holds them
	Plain []protocol.Header // behind those; a batch gets them without a copy between
}

// Size is how many bytes they take in a batch, their number aside.
func (h *Headers) Size() int {
	n := len(h.Bytes)
	for i := range h.Plain {
		n += varintLen(int64(len(h.Plain[i].Key))) + len(h.Plain[i].Key) + bytesLen(h.Plain[i].Value)
	}
	return n
}

// Add appends a header; a nil value is Kafka's null.
func (h *Headers) Add(key string, value []byte) {
	h.Bytes = binary.AppendVarint(h.Bytes, int64(len(key)))
	h.Bytes = append(h.Bytes, key...)
	h.Bytes = appendBytes(h.Bytes, value)
	h.Count++
}

// AddString is Add with a value that is not null.
func (h *Headers) AddString(key, value string) {
	h.Bytes = binary.AppendVarint(h.Bytes, int64(len(key)))
	h.Bytes = append(h.Bytes, key...)
	h.Bytes = binary.AppendVarint(h.Bytes, int64(len(value)))
	h.Bytes = append(h.Bytes, value...)
	h.Count++
}

// List is the headers one by one, views all of them; nil when there are none.
func (h *Headers) List() []protocol.Header {
	if h.Count == 0 {
		return h.Plain
	}
	out := make([]protocol.Header, 0, h.Count+len(h.Plain))
	for b := h.Bytes; len(out) < h.Count; {
		var key, value []byte
		key, b = takeBytes(b)
		value, b = takeBytes(b)
		out = append(out, protocol.Header{Key: string(key), Value: value})
	}
	return append(out, h.Plain...)
}

// takeBytes reads what appendBytes has written.
func takeBytes(b []byte) (field, rest []byte) {
	size, n := binary.Varint(b)
	if size < 0 {
		return nil, b[n:]
	}
	b = b[n:]
	return b[:size:size], b[size:]
}

// Builder makes one batch. Its zero value is ready; it is not for concurrent use.
type Builder struct {
	Pool *Pool // where its memory comes from; nil: made anew

	buf       []byte
	count     int32
	firstTime int64
	maxTime   int64
}

// Start empties the builder, which gets memory for a batch of about size bytes.
func (b *Builder) Start(size int) {
	b.Free()
	b.buf = b.Pool.Get(size)
}

// Free empties the builder, and gives its memory back.
func (b *Builder) Free() {
	if b.buf != nil {
		b.Pool.Put(b.buf)
	}
	*b = Builder{Pool: b.Pool}
}

// Len is the size of the batch so far, uncompressed; 0 before the first record.
func (b *Builder) Len() int { return len(b.buf) }

// Count is the number of records so far.
func (b *Builder) Count() int { return int(b.count) }

// Append adds a record; ms is its timestamp in milliseconds since the epoch.
// Nothing that is passed is kept.
func (b *Builder) Append(ms int64, key, value []byte, headers Headers) {
	b.begin(ms)
	timeDelta, offsetDelta := ms-b.firstTime, int64(b.count)
	count := int64(headers.Count + len(headers.Plain))
	size := 1 + varintLen(timeDelta) + varintLen(offsetDelta) + bytesLen(key) + bytesLen(value) + varintLen(count) + headers.Size()
	b.grow(binary.MaxVarintLen64 + size)
	buf := binary.AppendVarint(b.buf, int64(size))
	buf = append(buf, 0) // attributes: none are defined
	buf = binary.AppendVarint(buf, timeDelta)
	buf = binary.AppendVarint(buf, offsetDelta)
	buf = appendBytes(buf, key)
	buf = appendBytes(buf, value)
	buf = binary.AppendVarint(buf, count)
	buf = append(buf, headers.Bytes...)
	for i := range headers.Plain {
		buf = binary.AppendVarint(buf, int64(len(headers.Plain[i].Key)))
		buf = append(buf, headers.Plain[i].Key...)
		buf = appendBytes(buf, headers.Plain[i].Value)
	}
	b.buf = buf
	b.count++
}

// AppendFrom adds the record of another builder that stands there from at on.
func (b *Builder) AppendFrom(src *Builder, at int) {
	rec := src.record(at)
	delta, n := binary.Varint(rec[1:])
	rest := rec[1+n:]
	_, n = binary.Varint(rest) // the offset delta
	rest = rest[n:]

	ms := src.firstTime + delta
	b.begin(ms)
	timeDelta, offsetDelta := ms-b.firstTime, int64(b.count)
	size := 1 + varintLen(timeDelta) + varintLen(offsetDelta) + len(rest)
	b.grow(binary.MaxVarintLen64 + size)
	buf := binary.AppendVarint(b.buf, int64(size))
	buf = append(buf, 0)
	buf = binary.AppendVarint(buf, timeDelta)
	buf = binary.AppendVarint(buf, offsetDelta)
	buf = append(buf, rest...)
	b.buf = buf
	b.count++
}

// Key is the key of the record that stands from at on: a view, nil where it has none.
func (b *Builder) Key(at int) []byte {
	rec := b.record(at)
	rec = rec[1:]
	for range 2 { // the deltas
		_, n := binary.Varint(rec)
		rec = rec[n:]
	}
	key, _ := takeBytes(rec)
	return key
}

// record is the body of the record that stands from at on. What a builder holds is well-formed.
func (b *Builder) record(at int) []byte {
	size, n := binary.Varint(b.buf[at:])
	return b.buf[at+n : at+n+int(size)]
}

// Next is where the next record will stand.
func (b *Builder) Next() int { return max(len(b.buf), headerBytes) }

func (b *Builder) begin(ms int64) {
	if b.count == 0 {
		b.grow(headerBytes)
		b.buf = b.buf[:headerBytes]
		b.firstTime, b.maxTime = ms, ms
	}
	b.maxTime = max(b.maxTime, ms)
}

// grow makes room for n more bytes.
func (b *Builder) grow(n int) {
	if len(b.buf)+n <= cap(b.buf) {
		return
	}
	next := append(b.Pool.Get(len(b.buf)+n), b.buf...)
	if b.buf != nil {
		b.Pool.Put(b.buf)
	}
	b.buf = next
}

// Finish returns the batch, compressed, still to be stamped; see [Stamp]. Without
// compression it is the builder's own memory, valid until Start, Free or the next record.
// The builder keeps its records, and may be finished again.
func (b *Builder) Finish(codec compress.Compression) ([]byte, error) {
	buf := b.buf
	if codec != compress.None {
		var err error
		if buf, err = b.compress(codec); err != nil {
			return nil, fmt.Errorf("recordbatch: %s: %w", codec, err)
		}
	}
	be := binary.BigEndian
	be.PutUint64(buf, 0) // the first offset is the leader's to choose
	be.PutUint32(buf[atLength:], uint32(len(buf)-atEpoch))
	be.PutUint32(buf[atEpoch:], ^uint32(0)) // the leader's to fill
	buf[atMagic] = magicV2
	be.PutUint16(buf[atAttributes:], uint16(codec))
	be.PutUint32(buf[atLastDelta:], uint32(b.count-1))
	be.PutUint64(buf[atFirstTime:], uint64(b.firstTime))
	be.PutUint64(buf[atMaxTime:], uint64(b.maxTime))
	be.PutUint32(buf[atCount:], uint32(b.count))
	return buf, nil
}

func (b *Builder) compress(codec compress.Compression) ([]byte, error) {
	var out bytes.Buffer
	out.Grow(headerBytes + (len(b.buf)-headerBytes)/2)
	out.Write(b.buf[:headerBytes])
	w := codec.Codec().NewWriter(&out)
	if _, err := w.Write(b.buf[headerBytes:]); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}

// Stamp writes a producer's identity and the batch's first sequence into a batch, and the CRC that follows from them.
func Stamp(batch []byte, producerID int64, epoch int16, sequence int32) {
	be := binary.BigEndian
	be.PutUint64(batch[atProducerID:], uint64(producerID))
	be.PutUint16(batch[atProdEpoch:], uint16(epoch))
	be.PutUint32(batch[atSequence:], uint32(sequence))
	be.PutUint32(batch[atCRC:], crc32.Checksum(batch[atAttributes:], crc32.MakeTable(crc32.Castagnoli)))
}

func bytesLen(b []byte) int {
	if b == nil {
		return 1
	}
	return varintLen(int64(len(b))) + len(b)
}

func appendBytes(dst, b []byte) []byte {
	if b == nil {
		return binary.AppendVarint(dst, -1)
	}
	dst = binary.AppendVarint(dst, int64(len(b)))
	return append(dst, b...)
}

// varintLen is the length of v in zigzag encoding.
func varintLen(v int64) int {
	u := uint64(v<<1) ^ uint64(v>>63)
	n := 1
	for u >= 0x80 {
		u >>= 7
		n++
	}
	return n
}
