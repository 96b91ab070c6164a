package consumer

import (
	"bytes"
	"testing"
	"time"

	"github.com/segmentio/kafka-go/protocol"
	"github.com/segmentio/kafka-go/protocol/fetch"
	"github.com/segmentio/kafka-go/protocol/heartbeat"
	"github.com/segmentio/kafka-go/protocol/joingroup"
	"github.com/segmentio/kafka-go/protocol/leavegroup"
	"github.com/segmentio/kafka-go/protocol/listoffsets"
	"github.com/segmentio/kafka-go/protocol/offsetcommit"
	"github.com/segmentio/kafka-go/protocol/offsetfetch"
	"github.com/segmentio/kafka-go/protocol/syncgroup"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/expensevault/sharedlibrary/internal/kerr"
	"github.com/expensevault/sharedlibrary/internal/recordbatch"
)

// encoded is kafka-go's encoding of a request's body.
func encoded(t *testing.T, v int16, msg protocol.Message) []byte {
	t.Helper()
	var b bytes.Buffer
	require.NoError(t, protocol.WriteRequest(&b, v, 0, "", msg))
	return b.Bytes()[14:] // size, key, version, correlation ID, client ID
}

// answered is kafka-go's encoding of an answer's body.
func answered(t *testing.T, v int16, msg protocol.Message) *reader {
	t.Helper()
	var b bytes.Buffer
	require.NoError(t, protocol.WriteResponse(&b, v, 0, msg))
	return &reader{b: b.Bytes()[8:]}
}

func ours(req request, v int16) []byte {
	var w writer
	req.encode(&w, v)
	return w.b
}

func each(t *testing.T, req request, f func(t *testing.T, v int16)) {
	t.Helper()
	for v := req.low; v <= req.high; v++ {
		f(t, v)
	}
}

func testParams() *Params {
	return &Params{
		Group: "g", InstanceID: "i", SessionTimeout: 10 * time.Second, RebalanceTimeout: time.Minute, FetchMaxBytes: 5000, PartitionMaxBytes: 100,
	}
}

func testPositions() []position {
	return []position{
		{topic: "a", partition: 1, offset: 10, epoch: 3, metadata: "m"},
		{topic: "a", partition: 2, offset: 20, epoch: -1, metadata: ""},
		{topic: "b", partition: 0, offset: 30, epoch: -1, metadata: ""},
	}
}

// kafka-go's encoders, which real brokers understand, are the reference, in the versions in which they are right.
func TestRequestsAreKafkaGos(t *testing.T) {
	t.Parallel()
	p, g, ps := testParams(), &generation{id: 4, member: "m"}, testPositions()

	join := joinRequest(p, "m", []protocolOffer{{"cooperative-sticky", []byte{3}}, {"range", []byte{1, 2}}})
	each(t, join, func(t *testing.T, v int16) {
		t.Helper()
		assert.Equal(t, encoded(t, v, &joingroup.Request{
			GroupID: "g", SessionTimeoutMS: 10_000, RebalanceTimeoutMS: 60_000, MemberID: "m", GroupInstanceID: "i", ProtocolType: "consumer",
			Protocols: []joingroup.RequestProtocol{{Name: "cooperative-sticky", Metadata: []byte{3}}, {Name: "range", Metadata: []byte{1, 2}}},
		}), ours(join, v), "JoinGroup v%d", v)
	})
	tps := []topicPartitions{{"a", []int32{1}}}
	syn := syncRequest(p, g, map[string][]topicPartitions{"m": tps})
	each(t, syn, func(t *testing.T, v int16) {
		t.Helper()
		assert.Equal(t, encoded(t, v, &syncgroup.Request{
			GroupID: "g", GenerationID: 4, MemberID: "m", GroupInstanceID: "i",
			Assignments: []syncgroup.RequestAssignment{{MemberID: "m", Assignment: encodeAssignment(tps)}},
		}), ours(syn, v), "SyncGroup v%d", v)
	})
	beat := heartbeatRequest(p, g)
	each(t, beat, func(t *testing.T, v int16) {
		t.Helper()
		assert.Equal(t, encoded(t, v, &heartbeat.Request{GroupID: "g", GenerationID: 4, MemberID: "m", GroupInstanceID: "i"}), ours(beat, v), "Heartbeat v%d", v)
	})
	leave := leaveRequest(p, "m")
	each(t, leave, func(t *testing.T, v int16) {
		t.Helper()
		assert.Equal(t, encoded(t, v, &leavegroup.Request{GroupID: "g", MemberID: "m"}), ours(leave, v), "LeaveGroup v%d", v)
	})
	commit := commitRequest(p, g, ps)
	each(t, commit, func(t *testing.T, v int16) {
		t.Helper()
		assert.Equal(t, encoded(t, v, &offsetcommit.Request{
			GroupID: "g", GenerationID: 4, MemberID: "m", GroupInstanceID: "i", RetentionTimeMs: -1,
			Topics: []offsetcommit.RequestTopic{
				{Name: "a", Partitions: []offsetcommit.RequestPartition{
					{PartitionIndex: 1, CommittedOffset: 10, CommittedLeaderEpoch: 3, CommittedMetadata: "m"},
					{PartitionIndex: 2, CommittedOffset: 20, CommittedLeaderEpoch: -1},
				}},
				{Name: "b", Partitions: []offsetcommit.RequestPartition{{PartitionIndex: 0, CommittedOffset: 30, CommittedLeaderEpoch: -1}}},
			},
		}), nullMetadata(ours(commit, v)), "OffsetCommit v%d", v)
	})
	committed := committedRequest(p, ps)
	each(t, committed, func(t *testing.T, v int16) {
		t.Helper()
		assert.Equal(t, encoded(t, v, &offsetfetch.Request{
			GroupID: "g", Topics: []offsetfetch.RequestTopic{{Name: "a", PartitionIndexes: []int32{1, 2}}, {Name: "b", PartitionIndexes: []int32{0}}},
		}), ours(committed, v), "OffsetFetch v%d", v)
	})
	list := listRequest(ps, false)
	each(t, list, func(t *testing.T, v int16) {
		t.Helper()
		assert.Equal(t, encoded(t, v, &listoffsets.Request{ReplicaID: -1, IsolationLevel: 1, Topics: []listoffsets.RequestTopic{
			{Topic: "a", Partitions: []listoffsets.RequestPartition{{Partition: 1, CurrentLeaderEpoch: 3, Timestamp: 10}, {Partition: 2, CurrentLeaderEpoch: -1, Timestamp: 20}}},
			{Topic: "b", Partitions: []listoffsets.RequestPartition{{Partition: 0, CurrentLeaderEpoch: -1, Timestamp: 30}}},
		}}), ours(list, v), "ListOffsets v%d", v)
	})
	get := fetchRequest(p, 500, ps)
	each(t, get, func(t *testing.T, v int16) {
		t.Helper()
		part := func(id, epoch int32, offset int64) fetch.RequestPartition {
			return fetch.RequestPartition{Partition: id, CurrentLeaderEpoch: epoch, FetchOffset: offset, LogStartOffset: -1, PartitionMaxBytes: 100}
		}
		assert.Equal(t, encoded(t, v, &fetch.Request{
			ReplicaID: -1, MaxWaitTime: 500, MinBytes: 1, MaxBytes: 5000, IsolationLevel: 1, SessionID: 0, SessionEpoch: -1,
			Topics: []fetch.RequestTopic{
				{Topic: "a", Partitions: []fetch.RequestPartition{part(1, 3, 10), part(2, -1, 20)}},
				{Topic: "b", Partitions: []fetch.RequestPartition{part(0, -1, 30)}},
			},
		}), ours(get, v), "Fetch v%d", v)
	})
}

// nullMetadata turns the empty metadata that we send, as Kafka's clients do, into the null that kafka-go sends.
func nullMetadata(b []byte) []byte {
	b = bytes.Clone(b)
	// Both empty ones are the last field of their partition: behind partition 2, and at the very end.
	at := bytes.LastIndex(b, []byte{0, 0, 0, 1, 'b'})
	copy(b[at:], []byte{0xff, 0xff})
	copy(b[len(b)-2:], []byte{0xff, 0xff})
	return b
}

func TestAnswersOfKafkaGoAreRead(t *testing.T) {
	t.Parallel()
	for v := int16(2); v <= 5; v++ {
		a, err := decodeJoin(answered(t, v, &joingroup.Response{
			GenerationID: 3, ProtocolName: "range", LeaderID: "l", MemberID: "m", Members: []joingroup.ResponseMember{{MemberID: "x", Metadata: []byte{1}}},
		}), v)
		require.NoError(t, err)
		assert.Equal(t, &joinAnswer{generation: 3, protocol: "range", leader: "l", member: "m", members: []joinMember{{id: "x", metadata: []byte{1}}}}, a)
	}
	for v := int16(1); v <= 3; v++ {
		code, tps, err := decodeSync(answered(t, v, &syncgroup.Response{Assignments: encodeAssignment([]topicPartitions{{"a", []int32{1}}})}))
		require.NoError(t, err)
		assert.Equal(t, kerr.None, code)
		assert.Equal(t, []topicPartitions{{"a", []int32{1}}}, tps)
	}
	for v := int16(2); v <= 7; v++ {
		ps, err := decodeCommit(answered(t, v, &offsetcommit.Response{Topics: []offsetcommit.ResponseTopic{{Name: "a", Partitions: []offsetcommit.ResponsePartition{{PartitionIndex: 3, ErrorCode: 22}}}}}), v)
		require.NoError(t, err)
		assert.Equal(t, []position{{topic: "a", partition: 3, code: kerr.IllegalGeneration}}, ps)
	}
	for v := int16(1); v <= 5; v++ {
		ps, code, err := decodeCommitted(answered(t, v, &offsetfetch.Response{
			Topics: []offsetfetch.ResponseTopic{{Name: "a", Partitions: []offsetfetch.ResponsePartition{{PartitionIndex: 3, CommittedOffset: 9, ComittedLeaderEpoch: -1, Metadata: "x"}}}}, ErrorCode: 16,
		}), v)
		require.NoError(t, err)
		assert.Equal(t, v >= 2, code == kerr.NotCoordinator)
		assert.Equal(t, []position{{topic: "a", partition: 3, offset: 9, epoch: -1, metadata: "x"}}, ps)
	}
	for v := int16(1); v <= 5; v++ {
		ps, err := decodeList(answered(t, v, &listoffsets.Response{Topics: []listoffsets.ResponseTopic{{Topic: "a", Partitions: []listoffsets.ResponsePartition{{Partition: 3, Timestamp: 5, Offset: 9, LeaderEpoch: -1}}}}}), v)
		require.NoError(t, err)
		assert.Equal(t, []position{{topic: "a", partition: 3, offset: 9, epoch: -1}}, ps)
	}
}

// fetchAnswer is an answer of one partition, after the protocol's documentation.
func fetchAnswer(v int16, set []byte, aborted ...recordbatch.Aborted) []byte {
	var w writer
	w.i32(0) // throttle
	if v >= 7 {
		w.i16(0)
		w.i32(0) // session
	}
	w.count(1)
	w.str("t")
	w.count(1)
	w.i32(3)
	w.i16(int16(kerr.None))
	w.i64(100) // high watermark
	w.i64(90)  // last stable offset
	if v >= 5 {
		w.i64(0) // log start
	}
	if aborted == nil {
		w.i32(-1)
	} else {
		w.count(len(aborted))
	}
	for _, a := range aborted {
		w.i64(a.ProducerID)
		w.i64(a.FirstOffset)
	}
	if v >= 11 {
		w.i32(-1) // preferred replica
	}
	w.bytes(set)
	return w.b
}

func TestDecodeFetch(t *testing.T) {
	t.Parallel()
	for v := int16(4); v <= 11; v++ {
		fs, code, err := decodeFetch(&reader{b: fetchAnswer(v, []byte{1, 2}, recordbatch.Aborted{ProducerID: 1, FirstOffset: 9}, recordbatch.Aborted{ProducerID: 2, FirstOffset: 7})}, v)
		require.NoError(t, err)
		assert.Equal(t, kerr.None, code)
		assert.Equal(t, []fetched{{
			topic: "t", partition: 3, highWater: 100, set: []byte{1, 2},
			aborted: []recordbatch.Aborted{{ProducerID: 2, FirstOffset: 7}, {ProducerID: 1, FirstOffset: 9}},
		}}, fs)
		b := fetchAnswer(v, []byte{1, 2})
		for n := range b {
			_, _, err := decodeFetch(&reader{b: b[:n]}, v)
			require.ErrorIs(t, err, errMalformed, "v%d cut to %d bytes", v, n)
		}
	}
}

func FuzzAnswers(f *testing.F) {
	f.Add(fetchAnswer(11, []byte{1, 2, 3}, recordbatch.Aborted{ProducerID: 1, FirstOffset: 2}), int16(11))
	f.Add(fetchAnswer(4, nil), int16(4))
	f.Fuzz(func(_ *testing.T, b []byte, v int16) {
		_, _, _ = decodeFetch(&reader{b: b}, v)
		_, _ = decodeJoin(&reader{b: b}, v)
		_, _, _ = decodeSync(&reader{b: b})
		_, _ = decodeCode(&reader{b: b})
		_, _ = decodeCommit(&reader{b: b}, v)
		_, _, _ = decodeCommitted(&reader{b: b}, v)
		_, _ = decodeList(&reader{b: b}, v)
	})
}
