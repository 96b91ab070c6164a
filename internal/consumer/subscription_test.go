package consumer

import (
	"testing"

	"github.com/segmentio/kafka-go/protocol"
	kgconsumer "github.com/segmentio/kafka-go/protocol/consumer"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestSubscriptionIsReadByKafkaGo(t *testing.T) {
	t.Parallel()
	s := subscription{topics: []string{"a", "b"}, userData: []byte{7}, owned: []topicPartitions{{"a", []int32{1, 2}}}, generation: -1}
	var got kgconsumer.Subscription
	require.NoError(t, protocol.Unmarshal(s.encode(), 1, &got))
	assert.Equal(t, kgconsumer.Subscription{
		Version: 1, Topics: []string{"a", "b"}, UserData: []byte{7},
		OwnedPartitions: []kgconsumer.TopicPartition{{Topic: "a", Partitions: []int32{1, 2}}},
	}, got)
}

// Members that own nothing say so: leaders written in Java refuse a version 1 without it.
func TestSubscriptionAlwaysHoldsTheOwnedPartitions(t *testing.T) {
	t.Parallel()
	s := subscription{topics: []string{"t"}, generation: -1}
	assert.Equal(t, []byte{0, 1, 0, 0, 0, 1, 0, 1, 't', 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0}, s.encode())
}

func TestDecodeSubscription(t *testing.T) {
	t.Parallel()
	v0 := []byte{0, 0, 0, 0, 0, 1, 0, 1, 't', 0xff, 0xff, 0xff, 0xff}
	owned := []byte{0, 0, 0, 1, 0, 1, 't', 0, 0, 0, 1, 0, 0, 0, 5}
	version := func(v byte, more ...[]byte) []byte {
		b := append([]byte{0, v}, v0[2:]...)
		for _, m := range more {
			b = append(b, m...)
		}
		return b
	}
	tp := []topicPartitions{{"t", []int32{5}}}
	for _, tc := range []struct {
		name string
		in   []byte
		want subscription
	}{
		{"v0", v0, subscription{topics: []string{"t"}, generation: -1}},
		{"v1", version(1, owned), subscription{topics: []string{"t"}, owned: tp, generation: -1}},
		{"v1 that ends early, as kafka-go's Reader has it", version(1), subscription{topics: []string{"t"}, generation: -1}},
		{"v2", version(2, owned, []byte{0, 0, 0, 9}), subscription{topics: []string{"t"}, owned: tp, generation: 9}},
		{"v3", version(3, owned, []byte{0, 0, 0, 9, 0, 2, 'r', '1'}), subscription{topics: []string{"t"}, owned: tp, generation: 9, rack: "r1"}},
		{"v3 without a rack", version(3, owned, []byte{0, 0, 0, 9, 0xff, 0xff}), subscription{topics: []string{"t"}, owned: tp, generation: 9}},
		{"a version to come", version(4, owned, []byte{0, 0, 0, 9, 0xff, 0xff, 1, 2, 3}), subscription{topics: []string{"t"}, owned: tp, generation: 9}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			got, err := decodeSubscription(tc.in)
			require.NoError(t, err)
			assert.Equal(t, tc.want, *got)
		})
	}
	for name, b := range map[string][]byte{
		"nothing": {}, "negative version": {0xff, 0xff}, "cut": v0[:8], "count beyond the bytes": {0, 0, 0x7f, 0xff, 0xff, 0xff},
		"negative count": {0, 0, 0xff, 0xff, 0xff, 0xfe}, "cut in the owned partitions": version(1, owned[:10]), "v2 without its generation": version(2, owned),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := decodeSubscription(b)
			require.ErrorIs(t, err, errMalformed)
		})
	}
}

func TestAssignment(t *testing.T) {
	t.Parallel()
	tps := []topicPartitions{{"a", []int32{0, 1}}, {"b", []int32{7}}}
	b := encodeAssignment(tps)
	got, err := decodeAssignment(b)
	require.NoError(t, err)
	assert.Equal(t, tps, got)

	var kg kgconsumer.Assignment
	require.NoError(t, protocol.Unmarshal(b, 0, &kg))
	assert.Equal(t, []kgconsumer.TopicPartition{{Topic: "a", Partitions: []int32{0, 1}}, {Topic: "b", Partitions: []int32{7}}}, kg.AssignedPartitions)

	got, err = decodeAssignment(nil)
	require.NoError(t, err)
	assert.Empty(t, got)
	_, err = decodeAssignment(b[:9])
	require.ErrorIs(t, err, errMalformed)
}

func FuzzSubscription(f *testing.F) {
	s := subscription{topics: []string{"a", "b"}, owned: []topicPartitions{{"a", []int32{1}}}, generation: 5}
	f.Add(s.encode())
	f.Add([]byte{0, 3, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff})
	f.Add(encodeAssignment([]topicPartitions{{"a", []int32{1}}}))
	f.Fuzz(func(t *testing.T, b []byte) {
		if s, err := decodeSubscription(b); err == nil {
			again, err := decodeSubscription(s.encode())
			require.NoError(t, err)
			assert.Equal(t, s.topics, again.topics)
			assert.Equal(t, s.owned, again.owned)
		}
		if tps, err := decodeAssignment(b); err == nil {
			again, err := decodeAssignment(encodeAssignment(tps))
			require.NoError(t, err)
			assert.Equal(t, tps, again)
		}
	})
}
