package producer

import "hash/crc32"

// Partitioner hashes a record's key, whose partition is the remainder by their number. ok is false for a record
// that may go anywhere.
type Partitioner func(key []byte) (hash uint32, ok bool)

// CRC32 is librdkafka's "consistent_random", the default of the .NET and other
// librdkafka clients. An empty key counts as none there.
func CRC32(key []byte) (uint32, bool) {
	return crc32.ChecksumIEEE(key), len(key) > 0
}

// Murmur2 is the Java client's partitioner for records with a key. An empty key counts.
//
// The source is murmur2 of org.apache.kafka.common.utils.Utils.
func Murmur2(key []byte) (uint32, bool) {
	return murmur2(key) & 0x7fffffff, key != nil
}

func murmur2(b []byte) uint32 {
	const (
		seed = 0x9747b28c
		m    = 0x5bd1e995
		r    = 24
	)
	h := uint32(seed) ^ uint32(len(b))
	for ; len(b) >= 4; b = b[4:] {
		k := uint32(b[0]) | uint32(b[1])<<8 | uint32(b[2])<<16 | uint32(b[3])<<24
		k *= m
		k ^= k >> r
		k *= m
		h *= m
		h ^= k
	}
	switch len(b) {
	case 3:
		h ^= uint32(b[2]) << 16
		fallthrough
	case 2:
		h ^= uint32(b[1]) << 8
		fallthrough
	case 1:
		h ^= uint32(b[0])
		h *= m
	}
	h ^= h >> 13
	h *= m
	h ^= h >> 15
	return h
}
