package outbox_test

import (
	"context"
	"database/sql"
	"fmt"
	"log/slog"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/expensevault/sharedlibrary/messaging/outbox"
)

// BenchmarkOutbox compares a transaction that writes a row with one that publishes an event beside it, with a relay at work, and
// measures the relay by itself. The broker is in memory: what is measured is the database and we. cpu-ns/op is of this process.
func BenchmarkOutbox(b *testing.B) {
	for _, kind := range []string{"sqlite", "postgres"} {
		open := map[string]func(testing.TB) *database{"sqlite": openSQLite, "postgres": openPostgres}[kind]
		b.Run(kind+"/row", func(b *testing.B) { benchWrite(b, open(b), 0) })
		b.Run(kind+"/row and event", func(b *testing.B) { benchWrite(b, open(b), 1) })
		b.Run(kind+"/row and 10 events", func(b *testing.B) { benchWrite(b, open(b), 10) })
		b.Run(kind+"/relay", func(b *testing.B) { benchRelay(b, open(b)) })
		b.Run(kind+"/commit to ack", func(b *testing.B) { benchLatency(b, open(b)) })
	}
}

func cpu() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u) // of ourselves it always succeeds
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func quiet(more ...outbox.Option) []outbox.Option {
	return append([]outbox.Option{outbox.WithLogger(slog.New(slog.DiscardHandler)), outbox.WithoutNotify()}, more...)
}

func items(b *testing.B, db *database) {
	b.Helper()
	db.exec(b, "CREATE TABLE "+db.table+"_items (name text)")
	b.Cleanup(func() { _, _ = db.ExecContext(context.Background(), "DROP TABLE "+db.table+"_items") })
}

// relaying runs a relay until the benchmark ends.
func relaying(b *testing.B, db *database, k *kafka, opts ...outbox.Option) {
	b.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- outbox.NewRelay(db.DB, db.dialect, k, db.options(quiet(opts...)...)...).Run(ctx) }()
	b.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			b.Error(err)
		}
	})
}

func benchWrite(b *testing.B, db *database, events int) {
	b.Helper()
	items(b, db)
	k := newKafka()
	var signal outbox.Signal
	if events > 0 {
		relaying(b, db, k, outbox.WithSignal(&signal))
	}
	box := db.outbox(quiet(outbox.WithSignal(&signal))...)
	insert := db.bind("INSERT INTO " + db.table + "_items (name) VALUES (?)")
	b.ReportAllocs()
	before, n := cpu(), 0
	for b.Loop() {
		n++
		err := box.Do(b.Context(), db.DB, func(tx *sql.Tx) error {
			if _, err := tx.ExecContext(b.Context(), insert, "a lamp"); err != nil {
				return err
			}
			for i := range events {
				if err := box.In(tx).Publish(b.Context(), &thing{Key: fmt.Sprint("k", (n+i)%50), N: n}); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			b.Fatal(err)
		}
	}
	for events > 0 && len(k.records(topicName)) < n*events {
		<-k.arrivals
	}
	b.ReportMetric(float64(cpu()-before)/float64(n), "cpu-ns/op")
	if events > 0 {
		b.ReportMetric(float64(n*events)/b.Elapsed().Seconds(), "events/s")
	}
}

// benchRelay empties an outbox of b.N rows.
func benchRelay(b *testing.B, db *database) {
	b.Helper()
	box := db.outbox(quiet()...)
	k := newKafka()
	for from := 0; from < b.N; from += 500 {
		err := box.Do(b.Context(), db.DB, func(tx *sql.Tx) error {
			for n := from; n < min(from+500, b.N); n++ {
				if err := box.In(tx).Publish(b.Context(), &thing{Key: fmt.Sprint("k", n%50), N: n}); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			b.Fatal(err)
		}
	}
	b.ReportAllocs()
	b.ResetTimer()
	before := cpu()
	relaying(b, db, k)
	for len(k.records(topicName)) < b.N {
		<-k.arrivals
	}
	b.StopTimer()
	b.ReportMetric(float64(cpu()-before)/float64(b.N), "cpu-ns/op")
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "events/s")
}

// benchLatency is of one event at a time, from the commit to the broker.
func benchLatency(b *testing.B, db *database) {
	b.Helper()
	k := newKafka()
	var signal outbox.Signal
	relaying(b, db, k, outbox.WithSignal(&signal))
	box := db.outbox(quiet(outbox.WithSignal(&signal))...)
	var took []time.Duration
	n := 0
	for b.Loop() {
		n++
		if err := box.Do(b.Context(), db.DB, func(tx *sql.Tx) error { return box.In(tx).Publish(b.Context(), &thing{Key: "k", N: n}) }); err != nil {
			b.Fatal(err)
		}
		committed := time.Now()
		for len(k.records(topicName)) < n {
			<-k.arrivals
		}
		took = append(took, time.Since(committed))
	}
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Microseconds()), "p50-µs")
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "p99-µs")
}
