package recordbatch_test

import (
	"bytes"
	"testing"

	"github.com/segmentio/kafka-go/compress"

	"github.com/expensevault/sharedlibrary/internal/recordbatch"
)

// BenchmarkBuilder makes batches of 100 records as big as an event is; one operation is one record, its share of the
// checksum included.
func BenchmarkBuilder(b *testing.B) {
	const records = 100
	key, value := bytes.Repeat([]byte("k"), 36), bytes.Repeat([]byte("value "), 72)
	var headers recordbatch.Headers
	headers.AddString("content-type", "application/json")
	headers.Add("correlation-id", key)
	headers.Add("causation-id", key)
	for name, codec := range map[string]compress.Compression{"none": compress.None, "lz4": compress.Lz4} {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(value)))
			b.ReportAllocs()
			batch := recordbatch.Builder{Pool: new(recordbatch.Pool)}
			for n := 1; b.Loop(); n++ {
				batch.Append(1_700_000_000_000+int64(n), key, value, headers)
				if n%records != 0 {
					continue
				}
				out, err := batch.Finish(codec)
				if err != nil {
					b.Fatal(err)
				}
				recordbatch.Stamp(out, 1, 0, 0)
				batch.Start(len(out))
			}
		})
	}
}
