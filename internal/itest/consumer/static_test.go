package consumer_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/expensevault/sharedlibrary/internal/consumer"
)

func static(id string) func(p *consumer.Params) {
	return func(p *consumer.Params) { p.InstanceID, p.SessionTimeout = id, 30*time.Second }
}

// A coordinator answers a static leader that was started anew with the ID that it had before: nobody knows that it leads.
func TestNewPartitionsAreTakenUpAfterAStaticLeaderHasRestarted(t *testing.T) {
	t.Parallel()
	for name, balance := range map[string]func(p *consumer.Params){"eager": func(*consumer.Params) {}, "cooperative": cooperative} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			onEach(t, func(t *testing.T, k *kafka) {
				topic, group := k.topic(t, 1), unique(t, "group")
				m := k.start(t, group, []string{topic}, static("one"), balance)
				k.produce(t, topic, 0, "before")
				assert.Equal(t, []string{"before"}, m.values(1))
				m.stop()
				m = k.start(t, group, []string{topic}, static("one"), balance)
				k.produce(t, topic, 0, "again")
				assert.Equal(t, []string{"again"}, m.values(1))
				_, err := k.admin.CreatePartitions(t.Context(), 1, topic)
				require.NoError(t, err)
				k.produceTo(t, topic, 1, "new partition")
				assert.Equal(t, []string{"new partition"}, m.values(1))
				m.stop()
				m.quiet()
			})
		})
	}
}

// Neither does it look at the topics that a member asks for when it is started anew.
func TestAStaticMemberComesBackWithOtherTopics(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, k *kafka) {
		one, two, group := k.topic(t, 1), k.topic(t, 1), unique(t, "group")
		m := k.start(t, group, []string{one}, static("a"))
		other := k.start(t, group, []string{one}, static("b"))
		k.produce(t, one, 0, "one")
		eventually(t, func() bool { return k.committed(t, group, one, 0) == 1 }, "handled by either")
		m.stop()
		k.produce(t, two, 0, "two")
		m = k.start(t, group, []string{two}, static("a"))
		assert.Equal(t, []string{"two"}, m.values(1), "the topic that is new to it")
		k.produce(t, one, 0, "one again")
		eventually(t, func() bool { return k.committed(t, group, one, 0) == 2 }, "the topic that it left to the other")
		m.stop()
		m.quiet()
		other.stop()
	})
}

// With nothing to take up the watch of static members disturbs nobody.
func TestStaticMembersAreLeftInPeace(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, k *kafka) {
		topic, group := k.topic(t, 2), unique(t, "group")
		a := k.start(t, group, []string{topic}, static("a"))
		b := k.start(t, group, []string{topic}, static("b"))
		eventually(t, func() bool {
			return a.logs.count("joined the group", "partitions=1") == 1 && b.logs.count("joined the group", "partitions=1") == 1
		}, "both share")
		joined := a.logs.count("joined the group") + b.logs.count("joined the group")
		looks := time.NewTimer(2 * time.Second) // 40 of them
		defer looks.Stop()
		<-looks.C
		assert.Equal(t, joined, a.logs.count("joined the group")+b.logs.count("joined the group"))
		a.stop()
		b.stop()
		assert.Len(t, newJoinWatch(t, k, group).members(), 2, "a static member does not leave")
	})
}
