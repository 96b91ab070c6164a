package recordbatch

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math"
	"runtime"
	"testing"
	"time"

	"github.com/segmentio/kafka-go/compress"
	"github.com/segmentio/kafka-go/protocol"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// batch is a batch as a test wants it.
type batch struct {
	base       int64
	lastDelta  int32 // 0: of the last record
	attributes int16 // compression aside
	codec      compress.Compression
	producer   int64
	epoch      int32
	firstTime  int64
	values     []string
	deltas     []int64 // 0, 1, … when nil
	records    []byte  // instead of values
	count      int32   // with records
}

func (b batch) bytes(t testing.TB) []byte {
	t.Helper()
	body, count, last := b.records, b.count, b.lastDelta
	if body == nil {
		for i, v := range b.values {
			d := int64(i)
			if b.deltas != nil {
				d = b.deltas[i]
			}
			r := []byte{0}
			r = binary.AppendVarint(r, 0)
			r = binary.AppendVarint(r, d)
			r = appendBytes(r, nil)
			r = appendBytes(r, []byte(v))
			r = binary.AppendVarint(r, 0)
			body = append(binary.AppendVarint(body, int64(len(r))), r...)
			if b.lastDelta == 0 {
				last = int32(d)
			}
			count++
		}
	}
	if b.codec != compress.None {
		body = compressed(t, b.codec, body)
	}
	buf := make([]byte, headerBytes, headerBytes+len(body))
	be := binary.BigEndian
	be.PutUint64(buf, uint64(b.base))
	be.PutUint32(buf[atLength:], uint32(headerBytes+len(body)-atEpoch))
	be.PutUint32(buf[atEpoch:], uint32(b.epoch))
	buf[atMagic] = magicV2
	be.PutUint16(buf[atAttributes:], uint16(b.attributes)|uint16(b.codec))
	be.PutUint32(buf[atLastDelta:], uint32(last))
	be.PutUint64(buf[atFirstTime:], uint64(b.firstTime))
	be.PutUint64(buf[atMaxTime:], uint64(b.firstTime+1000))
	be.PutUint32(buf[atCount:], uint32(count))
	buf = append(buf, body...)
	Stamp(buf, b.producer, 0, 0)
	return buf
}

func compressed(t testing.TB, codec compress.Compression, b []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	w := codec.Codec().NewWriter(&out)
	_, err := w.Write(b)
	require.NoError(t, err)
	require.NoError(t, w.Close())
	return out.Bytes()
}

func set(t testing.TB, batches ...batch) []byte {
	t.Helper()
	var out []byte
	for _, b := range batches {
		out = append(out, b.bytes(t)...)
	}
	return out
}

// marker is a control batch of one transaction's end.
func marker(offset, producer int64, commit bool) batch {
	typ := byte(0)
	if commit {
		typ = 1
	}
	r := []byte{0, 0, 0}
	r = appendBytes(r, []byte{0, 0, 0, typ})
	r = appendBytes(r, []byte{0, 0, 0, 0, 0, 0})
	r = binary.AppendVarint(r, 0)
	return batch{base: offset, attributes: attrControl | attrTransactional, producer: producer, count: 1, records: append(binary.AppendVarint(nil, int64(len(r))), r...)}
}

func txn(offset, producer int64, values ...string) batch {
	return batch{base: offset, attributes: attrTransactional, producer: producer, values: values}
}

func values(recs []*Record) []string {
	out := []string{}
	for _, r := range recs {
		out = append(out, fmt.Sprintf("%d=%s", r.Offset, r.Value))
	}
	return out
}

func TestDecodeReadsWhatKafkaGoEncodes(t *testing.T) {
	t.Parallel()
	for _, codec := range []compress.Compression{compress.None, compress.Gzip, compress.Snappy, compress.Lz4, compress.Zstd} {
		t.Run(codec.String(), func(t *testing.T) {
			t.Parallel()
			begin := time.UnixMilli(1_764_498_600_000)
			var in []protocol.Record
			for i := range 500 {
				r := protocol.Record{
					Time: begin.Add(time.Duration(i*i%97) * time.Millisecond), Key: protocol.NewBytes([]byte(fmt.Sprint("key", i))),
					Value: protocol.NewBytes(bytes.Repeat([]byte("value "), i)),
				}
				if i%5 == 0 {
					r.Key = nil
				}
				if i%7 == 0 {
					r.Value = nil
				}
				if i%3 == 0 {
					r.Headers = []protocol.Header{{Key: "a", Value: []byte("1")}, {Key: "", Value: nil}, {Key: "é", Value: []byte{}}}
				}
				in = append(in, r)
			}
			rs := protocol.RecordSet{Version: 2, Attributes: protocol.Attributes(codec), Records: protocol.NewRecordReader(in...)}
			var b bytes.Buffer
			_, err := rs.WriteTo(&b)
			require.NoError(t, err)

			recs, next, err := Decode(b.Bytes()[4:], DecodeParams{Topic: "t", Partition: 3})
			require.NoError(t, err)
			require.Len(t, recs, len(in))
			assert.EqualValues(t, len(in), next)
			for i, r := range recs {
				assert.EqualValues(t, i, r.Offset)
				assert.Equal(t, "t", r.Topic)
				assert.EqualValues(t, 3, r.Partition)
				assert.EqualValues(t, -1, r.LeaderEpoch)
				assert.True(t, r.Timestamp.Equal(in[i].Time), "%v, want %v", r.Timestamp, in[i].Time)
				if i%5 == 0 {
					assert.Nil(t, r.Key)
				} else {
					assert.Equal(t, fmt.Sprint("key", i), string(r.Key))
				}
				if i%7 == 0 {
					assert.Nil(t, r.Value)
				} else {
					assert.Equal(t, bytes.Repeat([]byte("value "), i), append([]byte(nil), r.Value...))
					assert.NotNil(t, r.Value)
				}
				if i%3 != 0 {
					assert.Empty(t, r.Headers)
					continue
				}
				require.Len(t, r.Headers, 3)
				assert.Equal(t, protocol.Header{Key: "a", Value: []byte("1")}, r.Headers[0])
				assert.Nil(t, r.Headers[1].Value)
				assert.NotNil(t, r.Headers[2].Value)
				assert.Equal(t, "é", r.Headers[2].Key)
			}
		})
	}
}

// Unframed snappy is what librdkafka writes.
func TestDecodeReadsUnframedSnappy(t *testing.T) {
	t.Parallel()
	body := []byte{0, 0, 0}
	body = appendBytes(body, nil)
	body = appendBytes(body, []byte("a literal"))
	body = binary.AppendVarint(body, 0)
	body = append(binary.AppendVarint(nil, int64(len(body))), body...)
	block := binary.AppendUvarint(nil, uint64(len(body)))
	block = append(block, byte(len(body)-1)<<2)
	block = append(block, body...)

	raw := batch{records: block, count: 1, attributes: int16(compress.Snappy)}.bytes(t)
	recs, _, err := Decode(raw, DecodeParams{})
	require.NoError(t, err)
	assert.Equal(t, []string{"0=a literal"}, values(recs))
}

func TestDecode(t *testing.T) {
	t.Parallel()
	three := batch{base: 10, values: []string{"a", "b", "c"}, epoch: 7}
	for _, tc := range []struct {
		name   string
		set    []byte
		params DecodeParams
		want   []string
		next   int64
	}{
		{"nothing", nil, DecodeParams{Offset: 4}, []string{}, 4},
		{"several batches", set(t, three, batch{base: 13, values: []string{"d"}}), DecodeParams{Offset: 10}, []string{"10=a", "11=b", "12=c", "13=d"}, 14},
		{"from the middle of a batch", set(t, three), DecodeParams{Offset: 12}, []string{"12=c"}, 13},
		{"from the middle of a compressed batch", set(t, batch{base: 10, codec: compress.Zstd, values: []string{"a", "b"}}), DecodeParams{Offset: 11}, []string{"11=b"}, 12},
		{"a whole batch below the offset", set(t, three, batch{base: 13, values: []string{"d"}}), DecodeParams{Offset: 13}, []string{"13=d"}, 14},
		{"the last batch cut in its records", set(t, three, batch{base: 13, values: []string{"d"}})[:150], DecodeParams{Offset: 10}, []string{"10=a", "11=b", "12=c"}, 13},
		{"the last batch cut in its length", append(set(t, three), 0, 0, 0, 0, 0, 0, 0, 13, 0, 0), DecodeParams{Offset: 10}, []string{"10=a", "11=b", "12=c"}, 13},
		{"compacted: holes between and at the end", set(t, batch{base: 10, lastDelta: 9, values: []string{"a", "b"}, deltas: []int64{2, 5}}), DecodeParams{Offset: 10}, []string{"12=a", "15=b"}, 20},
		{"compacted: empty batches", set(t, batch{base: 10, lastDelta: 4}, batch{base: 15}, batch{base: 16, lastDelta: 9, codec: compress.Gzip}), DecodeParams{Offset: 10}, []string{}, 26},
		{"compacted: empty batches, then a record", set(t, batch{base: 10, lastDelta: 4}, batch{base: 15}, batch{base: 16, values: []string{"x"}}), DecodeParams{Offset: 10}, []string{"16=x"}, 17},
		{"markers alone", set(t, marker(10, 1, true), marker(11, 2, false)), DecodeParams{Offset: 10}, []string{}, 12},
		{"a committed transaction", set(t, txn(10, 1, "a", "b"), marker(12, 1, true), batch{base: 13, values: []string{"c"}}), DecodeParams{Offset: 10}, []string{"10=a", "11=b", "13=c"}, 14},
		{
			"an aborted transaction among others",
			set(t, txn(10, 1, "no"), txn(11, 2, "yes"), batch{base: 12, producer: 1, values: []string{"not transactional"}}, txn(13, 1, "no"), marker(14, 1, false), txn(15, 1, "yes"), marker(16, 1, true), marker(17, 2, true)),
			DecodeParams{Offset: 10, Aborted: []Aborted{{1, 10}}},
			[]string{"11=yes", "12=not transactional", "15=yes"},
			18,
		},
		{
			"two aborted transactions of one producer",
			set(t, txn(10, 1, "no"), marker(11, 1, false), txn(12, 1, "yes"), marker(13, 1, true), txn(14, 1, "no"), marker(15, 1, false)),
			DecodeParams{Offset: 10, Aborted: []Aborted{{1, 10}, {1, 14}}},
			[]string{"12=yes"},
			16,
		},
		{"an aborted transaction that began before the fetch", set(t, txn(20, 1, "no"), marker(21, 1, false), txn(22, 1, "yes")), DecodeParams{Offset: 20, Aborted: []Aborted{{1, 3}}}, []string{"22=yes"}, 23},
		{"the marker of another producer ends nothing", set(t, txn(10, 1, "no"), marker(11, 2, false), txn(12, 1, "no")), DecodeParams{Offset: 10, Aborted: []Aborted{{1, 10}}}, []string{}, 13},
		{"a commit marker ends no aborted transaction", set(t, txn(10, 1, "no"), marker(11, 1, true), txn(12, 1, "no")), DecodeParams{Offset: 10, Aborted: []Aborted{{1, 10}}}, []string{}, 13},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			recs, next, err := Decode(tc.set, tc.params)
			require.NoError(t, err)
			assert.Equal(t, tc.want, values(recs))
			assert.Equal(t, tc.next, next)
		})
	}
}

func TestDecodeTimestamps(t *testing.T) {
	t.Parallel()
	recs, _, err := Decode(set(t,
		batch{base: 0, firstTime: 5000, values: []string{"create time"}},
		batch{base: 1, firstTime: 5000, attributes: attrLogAppendTime, values: []string{"log append time"}},
		batch{base: 2, firstTime: -1, values: []string{"none"}},
	), DecodeParams{})
	require.NoError(t, err)
	assert.Equal(t, time.UnixMilli(5000), recs[0].Timestamp)
	assert.Equal(t, time.UnixMilli(6000), recs[1].Timestamp)
	assert.True(t, recs[2].Timestamp.IsZero())
}

func TestDecodePositionFollowsTheRecords(t *testing.T) {
	t.Parallel()
	r, err := Open(set(t, batch{base: 0, values: []string{"a", "b"}}, marker(2, 1, true), batch{base: 3, lastDelta: 6, values: []string{"c"}}), DecodeParams{})
	require.NoError(t, err)
	assert.EqualValues(t, 10, r.End())
	assert.EqualValues(t, 0, r.Position())
	for _, want := range []int64{1, 2, 10} { // behind the last record of a compacted batch lies nothing
		_, err := r.Next()
		require.NoError(t, err)
		assert.Equal(t, want, r.Position())
	}
	_, err = r.Next()
	require.ErrorIs(t, err, io.EOF)
	assert.EqualValues(t, 10, r.Position())
}

func TestDecodeErrors(t *testing.T) {
	t.Parallel()
	good := batch{base: 7, values: []string{"a"}}
	change := func(at int, v ...byte) []byte {
		b := good.bytes(t)
		copy(b[at:], v)
		return b
	}
	resum := func(b []byte) []byte {
		binary.BigEndian.PutUint32(b[atCRC:], crc32.Checksum(b[atAttributes:], crc32.MakeTable(crc32.Castagnoli)))
		return b
	}
	body := func(b ...byte) []byte { return batch{base: 7, records: b, count: 1}.bytes(t) }
	for _, tc := range []struct {
		name string
		set  []byte
		want error
	}{
		{"a flipped bit", change(headerBytes+2, 0xff), ErrChecksum},
		{"message format v0", change(atMagic, 0), ErrOldFormat},
		{"message format v1", change(atMagic, 1), ErrOldFormat},
		{"a format to come", change(atMagic, 3), ErrMalformed},
		{"negative length", change(atLength, 0xff, 0xff, 0xff, 0xff), ErrMalformed},
		{"length below the header's", change(atLength, 0, 0, 0, 48), ErrMalformed},
		{"negative offset", resum(change(0, 0xff)), ErrMalformed},
		{"offset near the maximum", resum(change(0, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff)), ErrMalformed},
		{"negative count", resum(change(atCount, 0xff)), ErrMalformed},
		{"count beyond the bytes", resum(change(atCount, 0x7f, 0xff, 0xff, 0xff)), ErrMalformed},
		{"count below the records", func() []byte {
			b := batch{base: 7, values: []string{"a", "b"}}.bytes(t)
			binary.BigEndian.PutUint32(b[atCount:], 1)
			return resum(b)
		}(), ErrMalformed},
		{"negative last delta", resum(change(atLastDelta, 0xff)), ErrMalformed},
		{"unknown compression", resum(change(atAttributes, 0, 7)), ErrMalformed},
		{"gzip that is none", resum(change(atAttributes, 0, 1)), ErrMalformed},
		{"snappy that is none", resum(change(atAttributes, 0, 2)), ErrMalformed},
		{"lz4 that is none", resum(change(atAttributes, 0, 3)), ErrMalformed},
		{"zstd that is none", resum(change(atAttributes, 0, 4)), ErrMalformed},
		{"record length beyond the batch", body(200, 1, 0, 0, 0, 1, 1, 0), ErrMalformed},
		{"negative record length", body(1, 0, 0, 0, 1, 1, 0), ErrMalformed},
		{"key beyond the record", body(12, 0, 0, 0, 100, 1, 0), ErrMalformed},
		{"offset delta beyond the last", body(12, 0, 0, 2, 1, 1, 0), ErrMalformed},
		{"header count beyond the record", body(12, 0, 0, 0, 1, 1, 100), ErrMalformed},
		{"varint without an end", body(0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80), ErrMalformed},
		{"offset deltas that go back", set(t, batch{base: 7, lastDelta: 3, values: []string{"a", "b"}, deltas: []int64{2, 1}}), ErrMalformed},
		{"bytes behind the last record of a record", body(14, 0, 0, 0, 1, 1, 0, 9), ErrMalformed},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			_, _, err := Decode(tc.set, DecodeParams{Topic: "t", Partition: 1, Offset: 7})
			require.ErrorIs(t, err, tc.want)
			var be *BatchError
			require.ErrorAs(t, err, &be)
			assert.Equal(t, "t", be.Topic)
		})
	}

	t.Run("what lies before the fault is delivered", func(t *testing.T) {
		t.Parallel()
		b := append(good.bytes(t), change(headerBytes+2, 0xff)...)
		binary.BigEndian.PutUint64(b[len(good.bytes(t)):], 8)
		recs, next, err := Decode(b, DecodeParams{Offset: 7})
		require.ErrorIs(t, err, ErrChecksum)
		assert.Equal(t, []string{"7=a"}, values(recs))
		assert.EqualValues(t, 8, next)
		var be *BatchError
		require.ErrorAs(t, err, &be)
		assert.EqualValues(t, 8, be.Offset)
	})
	t.Run("only batches below the fetch offset", func(t *testing.T) {
		t.Parallel()
		_, _, err := Decode(good.bytes(t), DecodeParams{Offset: 8})
		require.ErrorIs(t, err, ErrMalformed)
	})
}

// allocated is how much f allocates.
func allocated(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

// Not parallel with others: it measures allocations.
func TestDecodeBomb(t *testing.T) { //nolint:paralleltest // see above
	const limit = 1 << 20
	zeros := make([]byte, 64<<20)
	window := []byte{0x28, 0xB5, 0x2F, 0xFD, 0x00, (29 - 10) << 3, 1, 0, 0} // 512 MiB, then an empty last block
	sneaky := compressed(t, compress.Zstd, []byte("first a harmless frame"))
	for name, b := range map[string]batch{
		"gzip":                            {codec: compress.Gzip, records: zeros, count: 1},
		"snappy":                          {codec: compress.Snappy, records: zeros, count: 1},
		"lz4":                             {codec: compress.Lz4, records: zeros, count: 1},
		"zstd":                            {codec: compress.Zstd, records: zeros, count: 1},
		"snappy that declares 4 GiB":      {attributes: int16(compress.Snappy), records: binary.AppendUvarint(nil, math.MaxUint32), count: 1},
		"zstd window":                     {attributes: int16(compress.Zstd), records: window, count: 1},
		"zstd window in the second frame": {attributes: int16(compress.Zstd), records: append(sneaky, window...), count: 1},
	} {
		t.Run(name, func(t *testing.T) {
			raw := b.bytes(t)
			var err error
			n := allocated(func() { _, _, err = Decode(raw, DecodeParams{MaxBatchBytes: limit}) })
			require.ErrorIs(t, err, ErrBatchTooLarge)
			assert.Less(t, n, uint64(24<<20), "bytes allocated")
		})
	}
	t.Run("many headers", func(t *testing.T) {
		r := []byte{0, 0, 0, 1, 1}
		r = binary.AppendVarint(r, 8<<20)
		r = append(r, make([]byte, 16<<20)...)
		raw := batch{records: append(binary.AppendVarint(nil, int64(len(r))), r...), count: 1}.bytes(t)
		var err error
		n := allocated(func() { _, _, err = Decode(raw, DecodeParams{MaxBatchBytes: limit}) })
		require.ErrorIs(t, err, ErrMalformed)
		assert.Less(t, n, uint64(1<<20), "bytes allocated")
	})
	t.Run("a batch at the limit passes", func(t *testing.T) {
		b := batch{codec: compress.Zstd, values: []string{string(make([]byte, limit-20))}}
		recs, _, err := Decode(b.bytes(t), DecodeParams{MaxBatchBytes: limit})
		require.NoError(t, err)
		require.Len(t, recs, 1)
	})
}

func FuzzDecode(f *testing.F) {
	for _, codec := range []compress.Compression{compress.None, compress.Gzip, compress.Snappy, compress.Lz4, compress.Zstd} {
		f.Add(set(f, batch{codec: codec, values: []string{"a", "b"}}, batch{base: 2, lastDelta: 4}), int64(0))
	}
	f.Add(set(f, txn(0, 1, "x"), marker(1, 1, false), txn(2, 2, "y"), marker(3, 2, true)), int64(1))
	f.Fuzz(func(t *testing.T, b []byte, from int64) {
		b = bytes.Clone(b)
		if from < 0 {
			from = 0
		}
		// With right checksums the fuzzer gets behind them.
		for at := 0; at+headerBytes <= len(b) && b[at+atMagic] == magicV2; {
			n := int(int32(binary.BigEndian.Uint32(b[at+atLength:]))) + atEpoch
			if n < headerBytes || n > len(b)-at {
				break
			}
			Stamp(b[at:at+n], 1, 0, 0)
			at += n
		}
		p := DecodeParams{Offset: from, Aborted: []Aborted{{1, 0}}, MaxBatchBytes: 1 << 16}
		recs, next, err := Decode(b, p)
		var be *BatchError
		if err != nil && !errors.As(err, &be) {
			t.Fatalf("untyped error %v", err)
		}
		last := from - 1
		for _, r := range recs {
			if r.Offset <= last {
				t.Fatalf("offset %d after %d", r.Offset, last)
			}
			last = r.Offset
		}
		if next <= last {
			t.Fatalf("next %d, last %d", next, last)
		}
	})
}
