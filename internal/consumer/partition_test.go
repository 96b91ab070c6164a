package consumer

import (
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/expensevault/sharedlibrary/internal/lane"
)

func TestOnlyWhatIsNewIsCommitted(t *testing.T) {
	t.Parallel()
	s := testFetcher(t, topicPartition{"t", 0}).s
	p, pool := s.owned[topicPartition{"t", 0}], s.m.pool
	_, ok := p.position(4096)
	assert.False(t, ok, "it does not know where the group stands")
	p.start(position{offset: 5, metadata: "another client's"}, nil)
	lanes := p.lanes.Load()
	pool.Pause(lanes, true)
	pool.Feed(t.Context(), lanes, nil, 5)
	pos, ok := p.position(4096)
	assert.True(t, ok, "without metadata that means nothing to us")
	p.committed = pos
	_, ok = p.position(4096)
	assert.False(t, ok, "there is nothing new")
	pool.Feed(t.Context(), lanes, []lane.Task[record]{{Offset: 7, Epoch: 3}}, 8) //nolint:exhaustruct // no matter
	pos, ok = p.position(4096)
	assert.True(t, ok)
	assert.Equal(t, position{topic: "t", partition: 0, offset: 7, epoch: -1}, pos)
}

// A commit goes backwards only where the log has: when the position was out of range.
func TestACommitNeverGoesBackwards(t *testing.T) {
	t.Parallel()
	s := testFetcher(t, topicPartition{"t", 0}).s
	p, pool := s.owned[topicPartition{"t", 0}], s.m.pool
	p.start(position{offset: 5}, nil)
	p.committed.offset = 9
	_, ok := p.position(4096)
	assert.False(t, ok)
	p.queue <- portion{set: nil, offset: 2}
	for !p.rewound.Load() {
		pool.Settled(t.Context(), p.lanes.Load())
	}
	pos, ok := p.position(4096)
	assert.True(t, ok)
	assert.EqualValues(t, 2, pos.offset)
}
