// Command vectors asks the real clients to which partition a key goes, and writes what they answer as test vectors:
// librdkafka (through kcat, with the partitioner consistent_random, which is its default and that of the .NET client),
// and the Java client. It needs kcat, a JDK, and a broker in KAFKA_BOOTSTRAP_SERVERS with Kafka's jars in
// KAFKA_TEST_LIBS (".ci/kafka start" prints both).
//
//	go run ./internal/itest/vectors -out internal/producer/testdata
package main

import (
	"bytes"
	"context"
	_ "embed"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/segmentio/kafka-go"
)

//go:embed PartitionForKey.java
var javaSource []byte

type vector struct {
	KeyHex     string `json:"keyHex"`
	Partitions int    `json:"partitions"`
	Partition  int    `json:"partition"`
}

func main() {
	out := flag.String("out", "internal/producer/testdata", "the `folder` that gets the files")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := run(ctx, *out)
	stop()
	if err != nil {
		slog.Error("no vectors", "error", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, out string) error {
	brokers, libs := os.Getenv("KAFKA_BOOTSTRAP_SERVERS"), os.Getenv("KAFKA_TEST_LIBS")
	if brokers == "" || libs == "" {
		return errors.New("KAFKA_BOOTSTRAP_SERVERS and KAFKA_TEST_LIBS are needed: start a broker with .ci/kafka start and source what it prints")
	}
	counts := []int{1, 3, 6, 7, 50}
	keys := keys()

	// librdkafka spreads records with an empty key as it does those without a key, so these have no vector.
	crc32, err := librdkafka(ctx, brokers, keys, counts)
	if err != nil {
		return fmt.Errorf("librdkafka: %w", err)
	}
	if err := write(filepath.Join(out, "partition_crc32.json"), crc32); err != nil {
		return err
	}
	murmur2, err := java(ctx, libs, append([][]byte{{}}, keys...), counts)
	if err != nil {
		return fmt.Errorf("java: %w", err)
	}
	return write(filepath.Join(out, "partition_murmur2.json"), murmur2)
}

// keys are not empty, and every length modulo four and bytes over 127 occur among them.
func keys() [][]byte {
	var keys [][]byte
	for _, s := range []string{
		"a", "ab", "abc", "abcd", "abcde", "0", "42", "user-1", "user-2", "tenant/7", "customservice", "key with spaces", "\t", ":", "a\nb",
		"550e8400-e29b-41d4-a716-446655440000", "660e8400-e29b-41d4-a716-446655440000", "7c9e6679-7425-40de-944b-e07fc1f90ae7",
		"7C9E6679-7425-40DE-944B-E07FC1F90AE7", "00000000-0000-0000-0000-000000000000", "ffffffff-ffff-ffff-ffff-ffffffffffff",
		"6ba7b810-9dad-11d1-80b4-00c04fd430c8", "0193a7b2-6c1e-7d3a-9f00-1234567890ab", "{550e8400-e29b-41d4-a716-446655440000}",
		"naïve", "Grüße", "ключ", "日本語", "🙂", "é", "e\u0301", "مفتاح",
	} {
		keys = append(keys, []byte(s))
	}
	for _, h := range []string{
		"00", "ff", "80", "7f", "0000", "00ff00", "ffffffff", "80000000", "0a0d0a", "c328",
		"550e8400e29b41d4a716446655440000", "fffefdfcfbfaf9f8f7f6f5f4f3f2f1f0ef", "0102030405060708090a0b0c0d0e0f",
	} {
		key, _ := hex.DecodeString(h)
		keys = append(keys, key)
	}
	return append(keys, bytes.Repeat([]byte("long"), 75), bytes.Repeat([]byte{0xaa, 0x55, 0x00}, 333))
}

// librdkafka lets kcat produce the keys to a fresh topic of each size, and reads back where they are.
func librdkafka(ctx context.Context, brokers string, keys [][]byte, counts []int) ([]vector, error) {
	const keyEnd, recordEnd = "=KEY=END=", "=RECORD=END="
	client := &kafka.Client{Addr: kafka.TCP(strings.Split(brokers, ",")...), Timeout: 20 * time.Second}
	var vectors []vector
	for _, n := range counts {
		topic := fmt.Sprintf("vectors.%d.%d", n, time.Now().UnixNano())
		created, err := client.CreateTopics(ctx, &kafka.CreateTopicsRequest{Topics: []kafka.TopicConfig{{Topic: topic, NumPartitions: n, ReplicationFactor: 1}}})
		if err == nil {
			err = created.Errors[topic]
		}
		if err != nil {
			return nil, err
		}
		var in bytes.Buffer
		for i, key := range keys {
			in.Write(key)
			fmt.Fprintf(&in, "%s%d%s", keyEnd, i, recordEnd)
		}
		if _, err := command(ctx, &in, "kcat", "-P", "-b", brokers, "-t", topic, "-X", "partitioner=consistent_random", "-K", keyEnd, "-D", recordEnd); err != nil {
			return nil, err
		}
		read, err := command(ctx, nil, "kcat", "-C", "-b", brokers, "-t", topic, "-o", "beginning", "-e", "-q", "-f", `%s %p %K\n`)
		if err != nil {
			return nil, err
		}
		found := make([]int, len(keys))
		lines := strings.Split(strings.TrimSpace(read), "\n")
		if len(lines) != len(keys) {
			return nil, fmt.Errorf("wrote %d records and read %d", len(keys), len(lines))
		}
		for _, line := range lines {
			var i, partition, length int
			if _, err := fmt.Sscanf(line, "%d %d %d", &i, &partition, &length); err != nil {
				return nil, err
			}
			if length != len(keys[i]) {
				return nil, fmt.Errorf("key %x came back with %d bytes", keys[i], length)
			}
			found[i] = partition
		}
		for i, key := range keys {
			vectors = append(vectors, vector{hex.EncodeToString(key), n, found[i]})
		}
		if _, err := client.DeleteTopics(ctx, &kafka.DeleteTopicsRequest{Topics: []string{topic}}); err != nil {
			return nil, err
		}
	}
	return vectors, nil
}

func java(ctx context.Context, libs string, keys [][]byte, counts []int) ([]vector, error) {
	dir, err := os.MkdirTemp("", "vectors")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir) //nolint:errcheck // a temporary folder
	source := filepath.Join(dir, "PartitionForKey.java")
	if err := os.WriteFile(source, javaSource, 0o600); err != nil {
		return nil, err
	}
	var vectors []vector
	var in bytes.Buffer
	for _, n := range counts {
		for _, key := range keys {
			vectors = append(vectors, vector{KeyHex: hex.EncodeToString(key), Partitions: n})
			h := hex.EncodeToString(key)
			if h == "" {
				h = "-"
			}
			fmt.Fprintf(&in, "%s %d\n", h, n)
		}
	}
	answer, err := command(ctx, &in, "java", "-cp", libs, source)
	if err != nil {
		return nil, err
	}
	lines := strings.Fields(answer)
	if len(lines) != len(vectors) {
		return nil, fmt.Errorf("asked for %d partitions and got %d", len(vectors), len(lines))
	}
	for i, line := range lines {
		if vectors[i].Partition, err = strconv.Atoi(line); err != nil {
			return nil, err
		}
	}
	return vectors, nil
}

func command(ctx context.Context, in io.Reader, name string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, name, args...) //nolint:gosec // the names are this program's own
	cmd.Stdin = in
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("%s: %w: %s", name, err, stderr.String())
	}
	return string(out), nil
}

// write puts one vector on a line, so that a difference can be read.
func write(file string, vectors []vector) error {
	var b bytes.Buffer
	b.WriteString("[\n")
	for i, v := range vectors {
		line, err := json.Marshal(v)
		if err != nil {
			return err
		}
		b.Write(line)
		if i < len(vectors)-1 {
			b.WriteByte(',')
		}
		b.WriteByte('\n')
	}
	b.WriteString("]\n")
	return os.WriteFile(file, b.Bytes(), 0o600)
}
