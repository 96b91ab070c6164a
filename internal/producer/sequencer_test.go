package producer

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/expensevault/sharedlibrary/internal/kerr"
)

func sequencer9() sequencer {
	s := newSequencer()
	s.adopt(9, 0)
	return s
}

func act(s *sequencer, n int32, c kerr.Code) action {
	a, _ := s.answered(n, c, false)
	return a
}

func TestSequencesFollowEachOther(t *testing.T) {
	t.Parallel()
	s := newSequencer()
	require.True(t, s.needsID())
	s.adopt(9, 0)
	require.False(t, s.needsID())
	require.Equal(t, stamp{9, 0, 0}, s.stamp())
	require.Equal(t, actDone, act(&s, 5, kerr.None))
	require.Equal(t, stamp{9, 0, 5}, s.stamp())
	require.Equal(t, actDone, act(&s, 3, kerr.DuplicateSequenceNumber), "a duplicate is in the log")
	require.Equal(t, stamp{9, 0, 8}, s.stamp())
}

func TestRetryKeepsTheStamp(t *testing.T) {
	t.Parallel()
	s := sequencer9()
	for _, c := range []kerr.Code{kerr.NotLeaderOrFollower, kerr.RequestTimedOut, kerr.NotEnoughReplicasAfterAppend, kerr.KafkaStorageError} {
		require.Equal(t, actAgain, act(&s, 5, c))
		require.Equal(t, stamp{9, 0, 0}, s.stamp(), c.Name())
	}
}

func TestLostSequenceRaisesTheEpoch(t *testing.T) {
	t.Parallel()
	for _, c := range []kerr.Code{kerr.OutOfOrderSequenceNumber, kerr.UnknownProducerId, kerr.InvalidProducerEpoch} {
		s := sequencer9()
		act(&s, 5, kerr.None)
		require.Equal(t, actRestamp, act(&s, 5, c))
		require.Equal(t, stamp{9, 1, 0}, s.stamp(), c.Name())
		require.Equal(t, stamp{9, 1, 0}, s.stamp(), "raised once")
		act(&s, 5, kerr.None)
		require.Equal(t, stamp{9, 1, 5}, s.stamp())
	}
}

func TestRefusedBatchUsesNoSequence(t *testing.T) {
	t.Parallel()
	s := sequencer9()
	act(&s, 5, kerr.None)
	require.Equal(t, actFail, act(&s, 5, kerr.MessageTooLarge))
	require.Equal(t, stamp{9, 0, 5}, s.stamp())
}

// TestRefusedAfterALostAnswer: the first try may be in the log, so its sequence may be used up.
func TestRefusedAfterALostAnswer(t *testing.T) {
	t.Parallel()
	s := sequencer9()
	a, _ := s.answered(5, kerr.TopicAuthorizationFailed, true)
	require.Equal(t, actFail, a)
	require.Equal(t, stamp{9, 1, 0}, s.stamp())
}

func TestUnknownFateRaisesTheEpoch(t *testing.T) {
	t.Parallel()
	s := sequencer9()
	act(&s, 5, kerr.None)
	s.dropped(true)
	require.Equal(t, stamp{9, 1, 0}, s.stamp())
	s.dropped(false)
	require.Equal(t, stamp{9, 1, 0}, s.stamp(), "what was surely not written leaves no gap")
	a, v := s.answered(1, kerr.UnknownServerError, false)
	require.Equal(t, actFail, a)
	require.True(t, v.Possibly)
	require.Equal(t, stamp{9, 2, 0}, s.stamp())
}

func TestLastEpochAsksForANewID(t *testing.T) {
	t.Parallel()
	s := sequencer9()
	s.epoch = math.MaxInt16 - 1
	s.dropped(true)
	require.False(t, s.needsID())
	require.Equal(t, stamp{9, math.MaxInt16, 0}, s.stamp())
	s.dropped(true)
	require.True(t, s.needsID())
	s.adopt(10, 0)
	require.Equal(t, stamp{10, 0, 0}, s.stamp())
}

func TestSequenceWraps(t *testing.T) {
	t.Parallel()
	s := sequencer9()
	s.next = math.MaxInt32 - 1
	act(&s, 2, kerr.None) // takes MaxInt32-1 and MaxInt32
	require.Equal(t, stamp{9, 0, 0}, s.stamp())
	s.next = math.MaxInt32
	act(&s, 3, kerr.None) // takes MaxInt32, 0 and 1
	require.Equal(t, stamp{9, 0, 2}, s.stamp())
}
