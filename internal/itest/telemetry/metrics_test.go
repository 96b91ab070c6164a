package telemetry_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	"github.com/expensevault/sharedlibrary/messaging"
)

func TestMetrics(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, s *seen) {
		const n = 20
		release := make(chan struct{})
		done := make(chan struct{}, n)
		var mux messaging.Mux
		messaging.Handle(&mux, func(_ context.Context, e *happened) error {
			if e.Key == "slow" {
				<-release
			}
			done <- struct{}{}
			return nil
		})
		s.subscribe(t, &mux)
		pub := s.publisher(t)
		require.NoError(t, pub.Publish(t.Context(), &happened{Key: "slow"}))
		for range n - 1 {
			require.NoError(t, pub.Publish(t.Context(), &happened{Key: "quick"}))
		}
		for range n - 1 {
			<-done
		}
		const (
			of    = "messaging.consumer.group.name=GROUP messaging.destination.name=TOPIC messaging.system=kafka"
			sends = "messaging.destination.name=TOPIC messaging.operation.name=send messaging.operation.type=send messaging.system=kafka"
			runs  = "messaging.consumer.group.name=GROUP messaging.destination.name=TOPIC messaging.operation.name=process messaging.operation.type=process messaging.system=kafka"
		)
		eventually(t, "one is in a handler", func() bool { return s.points(t, "events.in_flight")[of] == 1 })
		eventually(t, "its offset stands still", func() bool {
			return s.points(t, "events.consumer.lag")[of] == n && s.points(t, "events.consumer.oldest.age")[of] > 0
		})
		assert.Equal(t, map[string]float64{of: 1}, s.points(t, "events.consumer.partitions"))
		close(release)
		eventually(t, "all are handled", func() bool { return s.points(t, "messaging.process.duration")[runs] == n })
		eventually(t, "nothing is in a handler", func() bool { return s.points(t, "events.in_flight")[of] == 0 })
		eventually(t, "no lag", func() bool {
			return s.points(t, "events.consumer.lag")[of] == 0 && s.points(t, "events.consumer.oldest.age")[of] == 0
		})

		assert.Equal(t, map[string]float64{sends: n}, s.points(t, "messaging.client.sent.messages"))
		assert.InDelta(t, n, s.points(t, "messaging.client.operation.duration")[sends], 0)
		assert.Equal(t, map[string]float64{runs: n}, s.points(t, "messaging.client.consumed.messages"))
		assert.NotZero(t, s.points(t, "events.publish.queue.duration")["messaging.destination.name=TOPIC messaging.system=kafka"])
		assert.NotZero(t, s.points(t, "events.produce.request.duration")["messaging.system=kafka"])
		assert.Equal(t, map[string]float64{"messaging.client.id=itest-client messaging.system=kafka": 0}, s.points(t, "events.publish.buffer.events"))
		assert.Equal(t, map[string]float64{"messaging.consumer.group.name=GROUP messaging.system=kafka": 1}, s.points(t, "events.consumer.rebalances"))
		eventually(t, "polls and commits are measured", func() bool {
			ops := s.points(t, "messaging.client.operation.duration")
			return ops["messaging.consumer.group.name=GROUP messaging.destination.name=TOPIC messaging.operation.name=poll messaging.operation.type=receive messaging.system=kafka"] > 0 &&
				ops["messaging.consumer.group.name=GROUP messaging.destination.name=TOPIC messaging.operation.name=commit messaging.operation.type=settle messaging.system=kafka"] > 0
		})
		for _, name := range []string{"messaging.client.operation.duration", "messaging.process.duration", "events.publish.queue.duration", "events.produce.request.duration"} {
			m, found := s.metric(t, name)
			require.True(t, found, name)
			assert.Equal(t, "s", m.Unit)
			h, ok := m.Data.(metricdata.Histogram[float64])
			require.True(t, ok)
			assert.Equal(t, []float64{0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10}, h.DataPoints[0].Bounds, name)
		}
	})
}
