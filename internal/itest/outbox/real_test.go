package outbox_test

import (
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/expensevault/sharedlibrary/messaging"
	"github.com/expensevault/sharedlibrary/messaging/outbox"
)

// TestRealKafka has a relay stand still behind the acknowledgement, on real Kafka, and another one take over: the batch is
// in the topic once, and so is everything else.
func TestRealKafka(t *testing.T) {
	t.Parallel()
	brokers := os.Getenv("KAFKA_BOOTSTRAP_SERVERS")
	if brokers == "" {
		absent(t, "real", "KAFKA_BOOTSTRAP_SERVERS is not set (.ci/kafka start prints it)")
	}
	eachDatabase(t, func(t *testing.T, db *database) {
		cfg := messaging.DefaultConfig()
		cfg.BootstrapServers = brokers
		topic := "itest.outbox." + uuid.NewString()
		cfg.Topics = map[string]string{topicName: topic}
		_, err := messaging.EnsureTopics(t.Context(), cfg, messaging.TopicSpec{Name: topicName, Partitions: 3, ReplicationFactor: 1})
		require.NoError(t, err)
		publisher := func() *messaging.KafkaPublisher {
			p, err := messaging.NewKafkaPublisher(cfg)
			require.NoError(t, err)
			t.Cleanup(func() { _ = p.Close() })
			return p
		}
		l := newLedger()
		publish := func(n int) {
			for i := range n {
				key := fmt.Sprint("k", i%10)
				require.NoError(t, db.outbox(outbox.WithEncode(cfg.Encode)).In(db).Publish(t.Context(), l.one(key)))
				l.committed(key)
			}
		}
		reader := publisher()
		check := func() {
			var all []messaging.Record
			for p := range 3 {
				recs, err := reader.Tail(t.Context(), topic, int32(p), 10_000)
				require.NoError(t, err)
				all = append(all, recs...)
			}
			l.check(t, all)
		}
		publish(50)
		for _, point := range []string{"marked", "sent", "acknowledged", "finished"} {
			f := newFreezer(t, point, 2)
			frozen := start(t, f.context(t), db, publisher(), outbox.WithLease(time.Hour), outbox.WithBatchRows(3))
			f.wait(t)
			expire(t, db)
			next := start(t, t.Context(), db, publisher())
			overtaken(t, db)
			check()
			f.thaw()
			publish(30)
			emptied(t, db)
			check()
			frozen.stop() // else it would take shards from the one that is to freeze next
			next.stop()
			publish(50)
		}
	})
}
