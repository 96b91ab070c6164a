package messaging_test

import (
	"bytes"
	"context"
	"log/slog"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/expensevault/sharedlibrary/events"
	"github.com/expensevault/sharedlibrary/messaging"
)

// byValue has its methods on the value, so that they panic on a nil pointer.
type byValue struct{ events.Base }

func (byValue) Topic() events.Topic  { return events.NewTopic("a", "b", "c") }
func (byValue) PartitionKey() string { return "" }

// TestBestEffortNeverFails, not even by an event that can't be published at all.
func TestBestEffortNeverFails(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	p := messaging.BestEffort(messaging.PublisherFunc(func(ctx context.Context, evs ...events.IntegrationEvent) error {
		_, err := messaging.Encode(ctx, evs[0])
		return err
	}), slog.New(slog.NewTextHandler(&out, nil)))
	require.NoError(t, p.Publish(t.Context(), (*byValue)(nil)))
	require.NoError(t, p.Publish(t.Context(), events.IntegrationEvent(nil)))
	require.Contains(t, out.String(), "Failed to publish")
	require.Contains(t, out.String(), "error.type=invalid_event")
}
