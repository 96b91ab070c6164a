package recordbatch

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math"
	"time"

	"github.com/segmentio/kafka-go/protocol"
)

// What can be wrong with a batch; see [BatchError].
var (
	// ErrChecksum: the CRC32C does not match. The bytes were damaged on their way or on the broker's disk.
	ErrChecksum = errors.New("checksum mismatch")
	// ErrMalformed: the bytes are no record batch, although their checksum holds where they have one.
	ErrMalformed = errors.New("malformed record batch")
	// ErrOldFormat: message format v0 or v1, which brokers wrote before Kafka 0.11, or when told to before Kafka 4.
	ErrOldFormat = errors.New("message format older than v2")
	// ErrBatchTooLarge: the batch decompresses to more than DecodeParams.MaxBatchBytes.
	ErrBatchTooLarge = errors.New("batch too large when decompressed")
)

// BatchError says where in the log an error lies.
type BatchError struct {
	Topic     string
	Partition int32
	Offset    int64 // of the batch's beginning
	Err       error
}

func (e *BatchError) Error() string {
	return fmt.Sprintf("record batch at offset %d of %s/%d: %v", e.Offset, e.Topic, e.Partition, e.Err)
}

func (e *BatchError) Unwrap() error { return e.Err }

// Aborted is one aborted transaction, as a fetch response lists them.
type Aborted struct{ ProducerID, FirstOffset int64 }

// DecodeParams says what a record set is part of.
type DecodeParams struct {
	Topic         string
	Partition     int32
	Offset        int64     // the fetch offset; records below it are dropped
	Aborted       []Aborted // sorted by FirstOffset, as brokers send them; none of their records is delivered
	MaxBatchBytes int       // of one batch when decompressed; zero for 16 MiB
}

// A Reader yields the records of a fetched record set one by one, decompressing
// one batch at a time. It is not safe for concurrent use.
type Reader struct {
	params  DecodeParams
	rest    []byte // whole batches, checked by Open
	end     int64
	pos     int64
	room    []protocol.Header // for those to come
	names   []string          // of the last record's headers
	count   int
	aborted []Aborted
	active  map[int64]struct{} // producers in the middle of an aborted transaction

	head  header // of the batch that is being read
	body  []byte // its records that were not read yet
	left  int32  // how many those are
	delta int32  // offset delta of the last record read, -1 before the first
	err   error
}

const (
	attrCodec         = 0x07
	attrLogAppendTime = 0x08
	attrTransactional = 0x10
	attrControl       = 0x20

	minRecordLen    = 7       // length, attributes, two deltas, key, value, header count
	maxHeaders      = 1 << 16 // of one record: 2 bytes on the wire become 40 in memory
	defaultMaxBatch = 16 << 20
	abortMarker     = 0

	headersAtOnce = 256 // that are allocated
	namesKept     = 16
)

// header is a batch's header.
type header struct {
	base       int64
	epoch      int32
	attributes int16
	lastDelta  int32
	baseTime   int64
	maxTime    int64
	producer   int64
	count      int32
	records    []byte // as on the wire
}

func (h *header) last() int64 { return h.base + int64(h.lastDelta) }

// Open checks the structure and the checksums of a record set: batches of
// format v2, the last of them possibly cut short, which is left out. What it
// found wrong is a [*BatchError]; the reader, which is never nil, then yields what lies before.
func Open(set []byte, p DecodeParams) (*Reader, error) {
	if p.MaxBatchBytes <= 0 {
		p.MaxBatchBytes = defaultMaxBatch
	}
	r := &Reader{params: p, end: p.Offset, pos: p.Offset, aborted: p.Aborted}
	table := crc32.MakeTable(crc32.Castagnoli)
	n := 0
	for {
		h, size, err := next(set[n:], table)
		if err != nil {
			at := r.end
			if h != nil {
				at = h.base
			}
			r.rest = set[:n]
			return r, r.fail(at, err)
		}
		if h == nil {
			r.rest = set[:n]
			if n > 0 && r.end == p.Offset {
				return r, r.fail(p.Offset, fmt.Errorf("%w: only batches below the fetch offset", ErrMalformed))
			}
			return r, nil
		}
		r.end = max(r.end, h.last()+1)
		if h.attributes&attrControl == 0 {
			r.count += int(h.count)
		}
		n += size
	}
}

// next reads the batch at the beginning of b; nil when there is none, or not all of it.
func next(b []byte, table *crc32.Table) (h *header, size int, err error) {
	if len(b) <= atMagic {
		return nil, 0, nil
	}
	switch magic := b[atMagic]; {
	case magic < 2:
		return nil, 0, fmt.Errorf("%w: v%d", ErrOldFormat, magic)
	case magic > 2:
		return nil, 0, fmt.Errorf("%w: format v%d", ErrMalformed, magic)
	}
	length := int32(binary.BigEndian.Uint32(b[atLength:]))
	if length < headerBytes-atEpoch {
		return nil, 0, fmt.Errorf("%w: length %d", ErrMalformed, length)
	}
	if int(length) > len(b)-atEpoch {
		return nil, 0, nil
	}
	size = atEpoch + int(length)
	b = b[:size]
	h = parseHeader(b)
	if table != nil && crc32.Checksum(b[atAttributes:], table) != binary.BigEndian.Uint32(b[atCRC:]) {
		return h, 0, ErrChecksum
	}
	if h.base < 0 || h.lastDelta < 0 || h.count < 0 || h.base > math.MaxInt64-math.MaxInt32-1 {
		return h, 0, fmt.Errorf("%w: base offset %d, last delta %d, %d records", ErrMalformed, h.base, h.lastDelta, h.count)
	}
	return h, size, nil
}

func parseHeader(b []byte) *header {
	return &header{
		base:       int64(binary.BigEndian.Uint64(b)),
		epoch:      int32(binary.BigEndian.Uint32(b[atEpoch:])),
		attributes: int16(binary.BigEndian.Uint16(b[atAttributes:])),
		lastDelta:  int32(binary.BigEndian.Uint32(b[atLastDelta:])),
		baseTime:   int64(binary.BigEndian.Uint64(b[atFirstTime:])),
		maxTime:    int64(binary.BigEndian.Uint64(b[atMaxTime:])),
		producer:   int64(binary.BigEndian.Uint64(b[atProducerID:])),
		count:      int32(binary.BigEndian.Uint32(b[atCount:])),
		records:    b[headerBytes:],
	}
}

// Count is how many records the batches say that they hold, those below the
// fetch offset and of aborted transactions included, markers not.
func (r *Reader) Count() int { return r.count }

// End is the offset behind the last whole batch, where the next fetch begins.
func (r *Reader) End() int64 { return r.end }

// Position is the offset below which nothing is left to be delivered: behind
// the record that Next returned last, and behind what was skipped. After io.EOF it is End.
func (r *Reader) Position() int64 { return r.pos }

// Next returns the next record, io.EOF behind the last one, or a [*BatchError],
// which it then repeats.
func (r *Reader) Next() (*Record, error) {
	rec := new(Record)
	if err := r.Read(rec); err != nil {
		return nil, err
	}
	return rec, nil
}

// Read is Next into rec, which it overwrites.
func (r *Reader) Read(rec *Record) error {
	for r.err == nil {
		if r.left > 0 {
			found, err := r.record(rec)
			if err != nil {
				r.err = r.fail(r.head.base, err)
				break
			}
			r.left--
			if found {
				r.pos = rec.Offset + 1
			}
			if r.left == 0 && len(r.body) == 0 {
				r.pos = max(r.pos, r.head.last()+1)
			}
			if !found { // below the position
				continue
			}
			return nil
		}
		if len(r.body) > 0 {
			r.err = r.fail(r.head.base, fmt.Errorf("%w: %d bytes behind the last record", ErrMalformed, len(r.body)))
			break
		}
		r.err = r.batch()
	}
	return r.err
}

// batch goes on to the next batch that has something to deliver.
func (r *Reader) batch() error {
	for {
		h, size, err := next(r.rest, nil)
		if err != nil {
			return r.fail(r.pos, err) // Open has seen it: not reached
		}
		if h == nil {
			r.pos = max(r.pos, r.end)
			return io.EOF
		}
		r.rest = r.rest[size:]
		if r.skips(h) || h.last() < r.params.Offset || h.count == 0 {
			r.pos = max(r.pos, h.last()+1)
			continue
		}
		body, err := decompress(h.records, int(h.attributes&attrCodec), r.params.MaxBatchBytes)
		if err != nil {
			return r.fail(h.base, err)
		}
		if int(h.count) > len(body)/minRecordLen {
			return r.fail(h.base, fmt.Errorf("%w: %d records in %d bytes", ErrMalformed, h.count, len(body)))
		}
		r.head, r.body, r.left, r.delta = *h, body, h.count, -1
		return nil
	}
}

// skips reports whether a batch is not for the application: a control batch,
// or part of an aborted transaction, which lasts until the producer's next abort marker.
func (r *Reader) skips(h *header) bool {
	for len(r.aborted) > 0 && r.aborted[0].FirstOffset <= h.last() {
		if r.active == nil {
			r.active = map[int64]struct{}{}
		}
		r.active[r.aborted[0].ProducerID] = struct{}{}
		r.aborted = r.aborted[1:]
	}
	if h.attributes&attrControl != 0 {
		if isAbortMarker(h) {
			delete(r.active, h.producer)
		}
		return true
	}
	_, aborted := r.active[h.producer]
	return aborted && h.attributes&attrTransactional != 0
}

// isAbortMarker looks at a control batch: one record, whose key is a version and a type.
func isAbortMarker(h *header) bool {
	if h.count != 1 || h.attributes&attrCodec != 0 {
		return false
	}
	f := fields{b: h.records}
	f.length()
	f.byte()
	f.varint()
	f.varint()
	key := f.bytes()
	return !f.bad && len(key) >= 4 && binary.BigEndian.Uint16(key[2:]) == abortMarker
}

// record reads one record; false when it lies below the fetch offset, or, as it must not, below what was delivered before.
func (r *Reader) record(rec *Record) (bool, error) {
	f := fields{b: r.body}
	size := f.length()
	if f.bad || size > len(f.b) {
		return false, fmt.Errorf("%w: a record ends behind the batch", ErrMalformed)
	}
	r.body = f.b[size:]
	f.b = f.b[:size:size]
	f.byte() // attributes: none are defined
	timeDelta := f.varint()
	delta := f.varint()
	if f.bad || delta <= int64(r.delta) || delta > int64(r.head.lastDelta) {
		return false, fmt.Errorf("%w: offset delta %d after %d, last %d", ErrMalformed, delta, r.delta, r.head.lastDelta)
	}
	r.delta = int32(delta)
	offset := r.head.base + delta
	if offset < r.pos {
		return false, nil
	}
	*rec = Record{
		Topic: r.params.Topic, Partition: r.params.Partition, LeaderEpoch: r.head.epoch, Offset: offset,
		Timestamp: r.time(timeDelta), Key: f.bytes(), Value: f.bytes(), Headers: r.headers(&f),
	}
	if f.bad || len(f.b) > 0 {
		return false, fmt.Errorf("%w: record at offset %d", ErrMalformed, offset)
	}
	return true, nil
}

func (r *Reader) time(delta int64) time.Time {
	ms := r.head.baseTime + delta
	if r.head.attributes&attrLogAppendTime != 0 {
		ms = r.head.maxTime
	}
	if ms < 0 { // -1: none
		return time.Time{}
	}
	return time.UnixMilli(ms)
}

func (r *Reader) fail(offset int64, err error) error {
	return &BatchError{Topic: r.params.Topic, Partition: r.params.Partition, Offset: offset, Err: err}
}

// Decode is Open and Next until the end: the records, and the offset where the next fetch begins.
// With an error come the records before it.
func Decode(set []byte, p DecodeParams) (recs []*Record, next int64, err error) {
	r, broken := Open(set, p)
	for {
		rec, err := r.Next()
		if errors.Is(err, io.EOF) {
			return recs, r.Position(), broken
		}
		if err != nil {
			return recs, r.Position(), err
		}
		recs = append(recs, rec)
	}
}

// fields reads a record; bad is set, and stays, once something does not fit.
type fields struct {
	b   []byte
	bad bool
}

func (f *fields) varint() int64 {
	if len(f.b) > 0 && f.b[0] < 0x80 { // nearly all of them
		c := f.b[0]
		f.b = f.b[1:]
		return int64(c>>1) ^ -int64(c&1)
	}
	v, n := binary.Varint(f.b)
	if n <= 0 {
		f.bad, f.b = true, nil
		return 0
	}
	f.b = f.b[n:]
	return v
}

func (f *fields) byte() {
	if len(f.b) == 0 {
		f.bad = true
		return
	}
	f.b = f.b[1:]
}

// length is a length that is never absent; what it counts may still be missing.
func (f *fields) length() int {
	n := f.varint()
	if n < 0 || n > math.MaxInt32 {
		f.bad = true
		return 0
	}
	return int(n)
}

// bytes is a view of bytes with their length before them, nil where that is -1.
func (f *fields) bytes() []byte {
	n := f.varint()
	if n == -1 {
		return nil
	}
	if n < 0 || n > int64(len(f.b)) {
		f.bad, f.b = true, nil
		return nil
	}
	v := f.b[:n:n]
	f.b = f.b[n:]
	return v
}

// headers reads a record's headers. Successive records share the memory of their headers, and the names, which are mostly the same.
func (r *Reader) headers(f *fields) []protocol.Header {
	n := f.varint()
	if f.bad || n < 0 || n > maxHeaders || n > int64(len(f.b)/2) {
		f.bad = true
		return nil
	}
	if n == 0 {
		return nil
	}
	if int(n) > len(r.room) {
		r.room = make([]protocol.Header, max(int(n), min(headersAtOnce, int(n)*(int(r.left)+1))))
	}
	hs := r.room[:n:n]
	r.room = r.room[n:]
	for i := range hs {
		key := f.bytes()
		if key == nil { // a header has a key, be it empty
			f.bad = true
		}
		hs[i] = protocol.Header{Key: r.name(i, key), Value: f.bytes()}
	}
	return hs
}

// name is a string of a header's name: the one that the record before has in the same place, if that is the same.
func (r *Reader) name(place int, key []byte) string {
	if place >= namesKept {
		return string(key)
	}
	for len(r.names) <= place {
		r.names = append(r.names, "")
	}
	if r.names[place] != string(key) {
		r.names[place] = string(key)
	}
	return r.names[place]
}
