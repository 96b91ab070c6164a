package producer

import (
	"encoding/hex"
	"encoding/json"
	"os"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestPartitionersAgreeWithRealClients uses what librdkafka and the Java client answered; see testdata/README.md.
func TestPartitionersAgreeWithRealClients(t *testing.T) {
	t.Parallel()
	for file, by := range map[string]Partitioner{"crc32": CRC32, "murmur2": Murmur2} {
		t.Run(file, func(t *testing.T) {
			t.Parallel()
			data, err := os.ReadFile("testdata/partition_" + file + ".json")
			require.NoError(t, err)
			var vectors []struct {
				KeyHex     string `json:"keyHex"`
				Partitions int32  `json:"partitions"`
				Partition  int32  `json:"partition"`
			}
			require.NoError(t, json.Unmarshal(data, &vectors))
			require.Greater(t, len(vectors), 100)
			for _, v := range vectors {
				key, err := hex.DecodeString(v.KeyHex)
				require.NoError(t, err)
				hash, ok := by(key)
				require.True(t, ok, v.KeyHex)
				require.Equal(t, v.Partition, int32(hash%uint32(v.Partitions)), "key %s on %d", v.KeyHex, v.Partitions)
			}
		})
	}
}

func TestRecordsWithoutAKeyGoAnywhere(t *testing.T) {
	t.Parallel()
	_, ok := CRC32(nil)
	require.False(t, ok)
	_, ok = CRC32([]byte{})
	require.False(t, ok, "librdkafka takes an empty key for none")
	_, ok = Murmur2(nil)
	require.False(t, ok)
	_, ok = Murmur2([]byte{})
	require.True(t, ok, "the Java client hashes an empty key")
}
