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

// Builder makes one batch. Its zero value is ready; it is not for concurrent use.
type Builder struct {
	buf       []byte
	count     int32
	firstTime int64
	maxTime   int64
}

// Len is the size of the batch so far, uncompressed; 0 before the first record.
func (b *Builder) Len() int { return len(b.buf) }

// Count is the number of records so far.
func (b *Builder) Count() int { return int(b.count) }

// Append adds a record; ms is its timestamp in milliseconds since the epoch.
// Nothing that is passed is kept.
func (b *Builder) Append(ms int64, key, value []byte, headers []protocol.Header) {
	if b.count == 0 {
		b.buf = append(b.buf[:0], make([]byte, headerBytes)...)
		b.firstTime, b.maxTime = ms, ms
	}
	b.maxTime = max(b.maxTime, ms)
	timeDelta, offsetDelta := ms-b.firstTime, int64(b.count)

	size := 1 + varintLen(timeDelta) + varintLen(offsetDelta) + bytesLen(key) + bytesLen(value) + varintLen(int64(len(headers)))
	for _, h := range headers {
		size += varintLen(int64(len(h.Key))) + len(h.Key) + bytesLen(h.Value)
	}
	buf := binary.AppendVarint(b.buf, int64(size))
	buf = append(buf, 0) // attributes: none are defined
	buf = binary.AppendVarint(buf, timeDelta)
	buf = binary.AppendVarint(buf, offsetDelta)
	buf = appendBytes(buf, key)
	buf = appendBytes(buf, value)
	buf = binary.AppendVarint(buf, int64(len(headers)))
	for _, h := range headers {
		buf = binary.AppendVarint(buf, int64(len(h.Key)))
		buf = append(buf, h.Key...)
		buf = appendBytes(buf, h.Value)
	}
	b.buf = buf
	b.count++
}

// Finish compresses the records and returns the batch, without a producer; see
// [Stamp]. The builder is then empty, and its memory the caller's.
func (b *Builder) Finish(codec compress.Compression) ([]byte, error) {
	buf := b.buf
	if codec != compress.None {
		var out bytes.Buffer
		out.Grow(headerBytes + (len(buf)-headerBytes)/2)
		out.Write(buf[:headerBytes])
		w := codec.Codec().NewWriter(&out)
		if _, err := w.Write(buf[headerBytes:]); err != nil {
			return nil, fmt.Errorf("recordbatch: %s: %w", codec, err)
		}
		if err := w.Close(); err != nil {
			return nil, fmt.Errorf("recordbatch: %s: %w", codec, err)
		}
		buf = out.Bytes()
	}
	be := binary.BigEndian
	be.PutUint32(buf[atLength:], uint32(len(buf)-atEpoch))
	be.PutUint32(buf[atEpoch:], ^uint32(0)) // the leader's to fill
	buf[atMagic] = magicV2
	be.PutUint16(buf[atAttributes:], uint16(codec))
	be.PutUint32(buf[atLastDelta:], uint32(b.count-1))
	be.PutUint64(buf[atFirstTime:], uint64(b.firstTime))
	be.PutUint64(buf[atMaxTime:], uint64(b.maxTime))
	be.PutUint32(buf[atCount:], uint32(b.count))
	Stamp(buf, NoProducer, NoProducer, NoProducer)
	*b = Builder{}
	return buf, nil
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
