package kerr

import (
	"testing"

	"github.com/segmentio/kafka-go"
	"github.com/stretchr/testify/require"
)

func TestNames(t *testing.T) {
	t.Parallel()
	require.Equal(t, "UNKNOWN_TOPIC_OR_PARTITION", UnknownTopicOrPartition.Name())
	require.Equal(t, "UNKNOWN_SERVER_ERROR", Code(-1).Name())
	require.Equal(t, "CODE_9999", Code(9999).ErrorType())
	require.NoError(t, None.Err())
	require.EqualError(t, NotLeaderOrFollower.Err(), "kafka: NOT_LEADER_OR_FOLLOWER (6)")
}

// TestProduceVerdicts holds the whole table against kafka-go's view of what is temporary, where the two must agree.
func TestProduceVerdicts(t *testing.T) {
	t.Parallel()
	for c := Code(-1); c < 140; c++ {
		v := OfProduce(c)
		switch v.Verdict {
		case Done:
			require.Contains(t, []Code{None, DuplicateSequenceNumber}, c)
			require.False(t, v.Possibly)
		case Sequence:
			require.Contains(t, []Code{OutOfOrderSequenceNumber, UnknownProducerId, InvalidProducerEpoch}, c)
		case Retry:
			require.NotContains(t, []Code{MessageTooLarge, TopicAuthorizationFailed, UnknownServerError}, c)
		case Fail:
			if c > 0 && c < 86 && kafka.Error(c).Temporary() {
				require.True(t, v.Possibly, "%s: kafka-go would retry it, so nobody may call it unwritten", c.Name())
			}
		}
	}
	require.Equal(t, Produced{Verdict: Fail, Possibly: true}, OfProduce(UnknownServerError))
	require.Equal(t, Produced{Verdict: Fail, Possibly: true}, OfProduce(31999), "a future broker's")
}
