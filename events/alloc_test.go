package events_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/expensevault/sharedlibrary/events"
)

// What every event costs. Not parallel: others' allocations would be counted.
func TestAllocations(t *testing.T) {
	e := &itemCreated{}
	assert.Zero(t, testing.AllocsPerRun(100, func() {
		e.Base = events.Base{CorrelationID: "abc123-def456"}
		require.NoError(t, events.Stamp(e))
	}), "Stamp")

	full := guideEvents()["item_created.json"]
	require.NoError(t, events.Stamp(full))
	room := make([]byte, 0, 1024)
	assert.Zero(t, testing.AllocsPerRun(100, func() {
		_, err := events.AppendEncode(room, full)
		require.NoError(t, err)
	}), "AppendEncode")

	body := golden(t, "item_created.json")
	var read itemCreated
	assert.InDelta(t, 1, testing.AllocsPerRun(100, func() {
		require.NoError(t, events.Decode(body, &read))
	}), 0, "Decode: the memory of correlationId, name, description and status")
}
