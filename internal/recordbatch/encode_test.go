package recordbatch

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/segmentio/kafka-go/compress"
	"github.com/segmentio/kafka-go/protocol"
	"github.com/stretchr/testify/require"
)

// readAll decodes a batch with kafka-go, the independent reader.
func readAll(t testing.TB, batch []byte) []protocol.Record {
	t.Helper()
	framed := binary.BigEndian.AppendUint32(nil, uint32(len(batch)))
	var set protocol.RecordSet
	_, err := set.ReadFrom(bytes.NewReader(append(framed, batch...)))
	require.NoError(t, err)
	var out []protocol.Record
	for {
		r, err := set.Records.ReadRecord()
		if errors.Is(err, io.EOF) {
			return out
		}
		require.NoError(t, err)
		out = append(out, *r)
	}
}

func content(t testing.TB, b protocol.Bytes) []byte {
	t.Helper()
	if b == nil {
		return nil
	}
	out, err := protocol.ReadAll(b)
	require.NoError(t, err)
	return out
}

func TestBuilderIsReadByKafkaGo(t *testing.T) {
	t.Parallel()
	begin := time.Date(2025, 11, 30, 10, 30, 0, 0, time.UTC)
	for _, codec := range []compress.Compression{compress.None, compress.Gzip, compress.Snappy, compress.Lz4, compress.Zstd} {
		t.Run(codec.String(), func(t *testing.T) {
			t.Parallel()
			var b Builder
			for i := range 300 {
				var key []byte
				if i%3 != 0 {
					key = []byte(fmt.Sprint("key-", i))
				}
				value := bytes.Repeat([]byte{byte(i)}, i)
				if i%7 == 0 {
					value = nil
				}
				// Out of order on purpose: deltas may be negative.
				ms := begin.Add(time.Duration(i%5-2) * time.Hour).UnixMilli()
				var hs Headers
				hs.Add("h", strconv.AppendInt(nil, int64(i), 10))
				hs.AddString("empty", "")
				b.Append(ms, key, value, hs)
			}
			require.Equal(t, 300, b.Count())
			batch, err := b.Finish(codec)
			require.NoError(t, err)
			Stamp(batch, 7, 3, 42)
			got := readAll(t, batch)
			require.Len(t, got, 300)
			for i, r := range got {
				require.EqualValues(t, i, r.Offset)
				require.Equal(t, begin.Add(time.Duration(i%5-2)*time.Hour).UnixMilli(), r.Time.UnixMilli())
				if i%3 == 0 {
					require.Nil(t, content(t, r.Key))
				} else {
					require.Equal(t, fmt.Sprint("key-", i), string(content(t, r.Key)))
				}
				if i%7 == 0 {
					require.Nil(t, content(t, r.Value))
				} else {
					require.Equal(t, bytes.Repeat([]byte{byte(i)}, i), append([]byte{}, content(t, r.Value)...))
				}
				require.Equal(t, strconv.Itoa(i), string(r.Headers[0].Value))
			}
		})
	}
}

func TestStampChangesIdentityAndCRCAlone(t *testing.T) {
	t.Parallel()
	var b Builder
	b.Append(1, []byte("k"), []byte("v"), Headers{})
	one, err := b.Finish(compress.None)
	require.NoError(t, err)
	Stamp(one, NoProducer, NoProducer, NoProducer)
	two := bytes.Clone(one)
	Stamp(two, 1<<40, 32767, 1<<31-1)
	Stamp(two, NoProducer, NoProducer, NoProducer)
	require.Equal(t, one, two)
}

// FuzzBuilder holds that kafka-go reads back what was appended.
func FuzzBuilder(f *testing.F) {
	f.Add(int64(0), []byte("key"), []byte("value"), "name", []byte("header"), uint8(1))
	f.Add(int64(-1), []byte(nil), []byte(nil), "", []byte(nil), uint8(0))
	f.Fuzz(func(t *testing.T, ms int64, key, value []byte, name string, header []byte, more uint8) {
		if ms < -1<<50 || ms > 1<<50 {
			return
		}
		var hs Headers
		hs.Add(name, header)
		src := Builder{Pool: new(Pool)}
		src.Start(int(more))
		at := []int{src.Next()}
		src.Append(ms+int64(len(key)), []byte("first"), nil, Headers{})
		for range int(more) + 1 {
			at = append(at, src.Next())
			src.Append(ms, key, value, hs)
		}
		var b Builder // the same records without the first
		for _, n := range at[1:] {
			require.Equal(t, key, src.Key(n))
			b.AppendFrom(&src, n)
		}
		batch, err := b.Finish(compress.None)
		require.NoError(t, err)
		Stamp(batch, NoProducer, NoProducer, NoProducer)
		got := readAll(t, batch)
		require.Len(t, got, int(more)+1)
		for _, r := range got {
			require.True(t, bytes.Equal(key, content(t, r.Key)))
			require.True(t, bytes.Equal(value, content(t, r.Value)))
			require.Equal(t, name, r.Headers[0].Key)
			require.True(t, bytes.Equal(header, r.Headers[0].Value))
		}
	})
}

// Headers are the same to a batch whether they were encoded before or not.
func TestPlainHeaders(t *testing.T) {
	t.Parallel()
	all := []protocol.Header{{Key: "a", Value: []byte("1")}, {Key: "", Value: []byte{}}, {Key: strings.Repeat("k", 200), Value: nil}, {Key: "a", Value: bytes.Repeat([]byte("v"), 9000)}}
	var want []byte
	for encoded := range len(all) + 1 {
		h := Headers{Plain: all[encoded:]}
		for _, one := range all[:encoded] {
			h.Add(one.Key, one.Value)
		}
		require.Equal(t, all, h.List())
		var b Builder
		b.Append(1, []byte("k"), []byte("v"), h)
		data, err := b.Finish(compress.None)
		require.NoError(t, err)
		if encoded == 0 {
			want = bytes.Clone(data)
			recs, _, err := Decode(stamped(bytes.Clone(data)), DecodeParams{})
			require.NoError(t, err)
			require.Equal(t, all, recs[0].Headers)
			require.Equal(t, h.Size(), len(data)-headerBytes-len("\x00\x00\x00\x02k\x02v\x08")-3, "three bytes for the record's length")
		}
		require.True(t, bytes.Equal(want, data), "%d of them encoded", encoded)
	}
}

func stamped(batch []byte) []byte {
	Stamp(batch, NoProducer, NoProducer, NoProducer)
	return batch
}
