package producer

import (
	"bytes"
	"testing"

	"github.com/segmentio/kafka-go/protocol"
	"github.com/segmentio/kafka-go/protocol/produce"
	"github.com/stretchr/testify/require"

	"github.com/expensevault/sharedlibrary/internal/kerr"
	"github.com/expensevault/sharedlibrary/internal/recordbatch"
)

func sampleBatch(t *testing.T, value string) []byte {
	t.Helper()
	var b recordbatch.Builder
	b.Append(1, []byte("k"), []byte(value), recordbatch.Headers{})
	out, err := b.Finish(0)
	require.NoError(t, err)
	recordbatch.Stamp(out, recordbatch.NoProducer, recordbatch.NoProducer, recordbatch.NoProducer)
	return out
}

// TestRequestIsReadByKafkaGo decodes the body with kafka-go's own type of the request.
func TestRequestIsReadByKafkaGo(t *testing.T) {
	t.Parallel()
	for version := int16(produceLowest); version <= produceHighest; version++ {
		body := produceBody(-1, 1234, []target{
			{"a", 0, sampleBatch(t, "one")},
			{"a", 3, sampleBatch(t, "two")},
			{"b", 1, sampleBatch(t, "three")},
		})
		var frame bytes.Buffer
		frame.Write([]byte{0, 0, 0, 0, 0, 0, 0, byte(version), 0, 0, 0, 9, 0, 2, 'm', 'e'})
		_, err := body.WriteTo(&frame)
		require.NoError(t, err)
		b := frame.Bytes()
		size := len(b) - 4
		b[2], b[3] = byte(size>>8), byte(size)

		v, id, client, msg, err := protocol.ReadRequest(&frame)
		require.NoError(t, err)
		require.Equal(t, version, v)
		require.EqualValues(t, 9, id)
		require.Equal(t, "me", client)
		req := msg.(*produce.Request)
		require.EqualValues(t, -1, req.Acks)
		require.EqualValues(t, 1234, req.Timeout)
		require.Empty(t, req.TransactionalID)
		require.Len(t, req.Topics, 2)
		require.Len(t, req.Topics[0].Partitions, 2)
		require.EqualValues(t, 3, req.Topics[0].Partitions[1].Partition)
		require.Equal(t, "b", req.Topics[1].Topic)
		r, err := req.Topics[1].Partitions[0].RecordSet.Records.ReadRecord()
		require.NoError(t, err)
		value, err := protocol.ReadAll(r.Value)
		require.NoError(t, err)
		require.Equal(t, "three", string(value))
	}
}

// TestAnswersAreParsed encodes the answer with kafka-go's own type of it.
func TestAnswersAreParsed(t *testing.T) {
	t.Parallel()
	for version := int16(produceLowest); version <= produceHighest; version++ {
		var frame bytes.Buffer
		part := produce.ResponsePartition{Partition: 3, ErrorCode: int16(kerr.InvalidRecord), BaseOffset: 42, LogAppendTime: -1, LogStartOffset: 7}
		want := ""
		if version >= 8 {
			part.ErrorMessage, want = "because", "because"
		}
		require.NoError(t, protocol.WriteResponse(&frame, version, 9, &produce.Response{Topics: []produce.ResponseTopic{
			{Topic: "a", Partitions: []produce.ResponsePartition{part, {Partition: 4, BaseOffset: 43}}},
			{Topic: "b", Partitions: []produce.ResponsePartition{{Partition: 0, BaseOffset: 44}}},
		}}))
		body := frame.Bytes()[8:]
		got, err := parseAnswers(version, body)
		require.NoError(t, err)
		require.Equal(t, []answer{
			{"a", 3, kerr.InvalidRecord, 42, want},
			{"a", 4, kerr.None, 43, ""},
			{"b", 0, kerr.None, 44, ""},
		}, got)
		for n := range len(body) - 4 { // the throttle time at the end is not read
			_, err := parseAnswers(version, body[:n])
			require.Error(t, err, "cut off at %d", n)
		}
	}
}

func FuzzParseAnswers(f *testing.F) {
	f.Add(int16(8), []byte("\x00\x00\x00\x01\x00\x01a\x00\x00\x00\x01"))
	f.Add(int16(3), []byte("\x7f\xff\xff\xff"))
	f.Fuzz(func(t *testing.T, version int16, body []byte) {
		got, err := parseAnswers(version, body)
		if err == nil && len(got) > len(body)/22 {
			t.Errorf("%d answers out of %d bytes", len(got), len(body))
		}
	})
}
