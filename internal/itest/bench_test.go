package itest

import (
	"sync/atomic"
	"testing"

	"github.com/segmentio/kafka-go"
	"github.com/stretchr/testify/require"

	"github.com/expensevault/sharedlibrary/messaging"
	"github.com/expensevault/sharedlibrary/messaging/embedded"
)

// BenchmarkPublisher is the whole way to the acknowledgement, with the embedded broker in the same process: good to
// compare two versions of the engine, while make bench-peers tells what a publisher costs on a real Kafka.
func BenchmarkPublisher(b *testing.B) {
	broker := embedded.Run(b, embedded.WithTopics(6, "bench"))
	cfg := messaging.DefaultConfig()
	cfg.BootstrapServers = broker.Addr()
	record := messaging.Record{Topic: "bench", Value: make([]byte, 430), Headers: []kafka.Header{{Key: "content-type", Value: []byte("application/json")}}}
	open := func(b *testing.B) *messaging.KafkaPublisher {
		b.Helper()
		p, err := messaging.NewKafkaPublisher(cfg)
		require.NoError(b, err)
		b.Cleanup(func() { require.NoError(b, p.Close()) })
		require.NoError(b, p.PublishRecords(b.Context(), record))
		return p
	}
	b.Run("records/1 caller", func(b *testing.B) {
		p := open(b)
		b.ReportAllocs()
		for b.Loop() {
			if err := p.PublishRecords(b.Context(), record); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("records/100 callers", func(b *testing.B) {
		p := open(b)
		b.ReportAllocs()
		b.SetParallelism(50)
		var failed atomic.Pointer[error]
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				if err := p.PublishRecords(b.Context(), record); err != nil {
					failed.Store(&err)
				}
			}
		})
		if err := failed.Load(); err != nil {
			b.Fatal(*err)
		}
	})
	b.Run("records/1000 a call", func(b *testing.B) {
		p := open(b)
		records := make([]messaging.Record, 1000)
		for i := range records {
			records[i] = record
		}
		b.ReportAllocs()
		for b.Loop() {
			if err := p.PublishRecords(b.Context(), records...); err != nil {
				b.Fatal(err)
			}
		}
	})
}
