package consumer

import (
	"errors"
	"fmt"
	"log/slog"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/expensevault/sharedlibrary/internal/kerr"
	"github.com/expensevault/sharedlibrary/internal/wire"
)

func TestReactions(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		err  error
		want reaction
	}{
		{nil, goOn},
		{kerr.None, goOn},
		{kerr.RebalanceInProgress, joinAgain},
		{kerr.MemberIdRequired, joinAgain},
		{kerr.UnknownMemberId, loseAll},
		{kerr.IllegalGeneration, loseAll},
		{kerr.FencedInstanceId, endRun},
		{kerr.NotCoordinator, tryAgain},
		{kerr.CoordinatorNotAvailable, tryAgain},
		{kerr.CoordinatorLoadInProgress, tryAgain},
		{kerr.RequestTimedOut, tryAgain},
		{kerr.UnknownServerError, tryAgain},
		{errors.New("a connection that ended"), tryAgain},
		{kerr.GroupAuthorizationFailed, endRun},
		{kerr.InconsistentGroupProtocol, endRun},
		{kerr.InvalidSessionTimeout, endRun},
		{kerr.GroupMaxSizeReached, endRun},
		{&wire.AuthError{}, endRun},
	} {
		assert.Equal(t, tc.want, reactionTo(tc.err), "%v", tc.err)
		if tc.err != nil {
			assert.Equal(t, tc.want, reactionTo(fmt.Errorf("wrapped: %w", tc.err)), "%v", tc.err)
		}
	}
}

// What is said about a generation counts only as long as there is no other one, and none is about to be.
func TestAnswersAboutAnEarlierGeneration(t *testing.T) {
	t.Parallel()
	ended := func(s *session) bool { return s.feed.Err() != nil }
	for _, tc := range []struct {
		name           string
		code           kerr.Code
		stale, joining bool
		lost, again    bool
	}{
		{"rebalance", kerr.RebalanceInProgress, false, false, false, true},
		{"rebalance that is over", kerr.RebalanceInProgress, true, false, false, false},
		{"rebalance in which we are", kerr.RebalanceInProgress, false, true, false, false},
		{"illegal", kerr.IllegalGeneration, false, false, true, false},
		{"illegal, as the one before is by now", kerr.IllegalGeneration, true, false, false, false},
		{"illegal, since the next one is there", kerr.IllegalGeneration, false, true, false, false},
		{"unknown", kerr.UnknownMemberId, false, false, true, false},
		{"unknown in a JoinGroup", kerr.UnknownMemberId, false, true, true, false},
		{"fenced", kerr.FencedInstanceId, false, false, true, false},
		{"coordinator", kerr.NotCoordinator, false, false, false, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			s := testFetcher(t).s
			about := s.gen
			if tc.stale {
				s.gen = &generation{id: 2}
			}
			s.joining = tc.joining
			s.judge(tc.code, about)
			assert.Equal(t, tc.lost, s.isLost())
			assert.Equal(t, tc.lost, ended(s))
			assert.Equal(t, tc.again, len(s.again) == 1)
		})
	}
}

// What holds partitions and missed a generation does not know whose they were in it.
func TestSettlingALostMembership(t *testing.T) {
	t.Parallel()
	for code, forgotten := range map[kerr.Code]bool{kerr.IllegalGeneration: false, kerr.UnknownMemberId: true} {
		s := testFetcher(t, topicPartition{"t", 0}).s
		work := s.owned[topicPartition{"t", 0}].work
		s.settle(joined{nil, fmt.Errorf("join: %w", code)})
		assert.True(t, s.isLost())
		assert.Equal(t, forgotten, s.end.forgotten)
		require.NoError(t, s.end.err, "Run goes on")
		require.Error(t, work.Err(), "its handlers do not")
		require.NoError(t, s.commit(t.Context(), s.all()), "nothing is sent, not even to find a coordinator")
	}
}

func TestUncovered(t *testing.T) {
	t.Parallel()
	covered := map[topicPartition]bool{{"a", 0}: true, {"a", 1}: true, {"b", 0}: true, {"gone", 3}: true}
	assert.Empty(t, firstUncovered(map[string]int{"a": 2, "b": 1, "missing": 0}, covered))
	assert.Equal(t, "a", firstUncovered(map[string]int{"a": 3, "b": 2}, covered))
	assert.Equal(t, "c", firstUncovered(map[string]int{"a": 2, "c": 1}, covered))
}

func TestDescribeGroups(t *testing.T) {
	t.Parallel()
	for v := range int16(5) {
		var w writer
		if v >= 1 {
			w.i32(0)
		}
		w.count(1)
		w.i16(0)
		for _, s := range []string{"g", "Stable", "consumer", "range"} {
			w.str(s)
		}
		w.count(1)
		w.str("m")
		if v >= 4 {
			w.nullable("")
		}
		w.str("client")
		w.str("/host")
		w.bytes([]byte{1})
		w.bytes([]byte{2, 3})
		if v >= 3 {
			w.i32(-1 << 31)
		}
		d, err := decodeDescribe(&reader{b: w.b}, v)
		require.NoError(t, err)
		assert.Equal(t, &described{state: "Stable", members: []describedMember{{"m", "client", "/host", []byte{1}, []byte{2, 3}}}}, d)
		for n := range w.b {
			_, err := decodeDescribe(&reader{b: w.b[:n]}, v)
			require.ErrorIs(t, err, errMalformed, "v%d cut to %d bytes", v, n)
		}
		assert.Equal(t, map[bool][]byte{false: {0, 0, 0, 1, 0, 1, 'g'}, true: {0, 0, 0, 1, 0, 1, 'g', 0}}[v >= 3], ours(describeRequest(testParams()), v))
	}
}

func TestATopicThatTheLeaderMayNotDescribeIsSaidOnce(t *testing.T) {
	t.Parallel()
	h := &lines{}
	m := newMember(&Params{Topics: []string{"ours"}}, slog.New(slog.NewTextHandler(h, nil)))
	for range 3 {
		m.logHidden(t.Context(), "theirs", kerr.TopicAuthorizationFailed)
	}
	m.logHidden(t.Context(), "others'", kerr.TopicAuthorizationFailed)
	assert.Equal(t, 2, h.n)
}

type lines struct{ n int }

func (l *lines) Write(b []byte) (int, error) {
	l.n++
	return len(b), nil
}
