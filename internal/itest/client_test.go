package itest

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// A message is what another client read.
type message struct {
	Topic     string
	Partition int
	Offset    int64
	Key       string
	HasKey    bool
	Headers   map[string]string
	Value     string
	Timestamp time.Time
}

// kcat runs the librdkafka client. Versions of librdkafka below 2.6.1 cannot speak SCRAM with Kafka 4.
func kcat(t *testing.T, in io.Reader, args ...string) string {
	t.Helper()
	if _, err := exec.LookPath("kcat"); err != nil {
		absent(t, otherClients, "kcat is not installed")
	}
	return command(t, in, "kcat", args...)
}

// kcatRead reads n records of the topic from its beginning.
func kcatRead(t *testing.T, b broker, topic string, n int) []message {
	t.Helper()
	out := kcat(t, nil, "-C", "-b", b.address, "-t", topic, "-o", "beginning", "-c", strconv.Itoa(n), "-q", "-J", "-X", "allow.auto.create.topics=false")
	var messages []message
	for decoder := json.NewDecoder(strings.NewReader(out)); ; {
		var line struct {
			Topic     string   `json:"topic"`
			Partition int      `json:"partition"`
			Offset    int64    `json:"offset"`
			TS        int64    `json:"ts"`
			Headers   []string `json:"headers"` // names and values in turn
			Key       *string  `json:"key"`
			Payload   string   `json:"payload"`
		}
		if err := decoder.Decode(&line); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			require.NoError(t, err, out)
		}
		m := message{
			Topic: line.Topic, Partition: line.Partition, Offset: line.Offset, Value: line.Payload,
			Headers: map[string]string{}, Timestamp: time.UnixMilli(line.TS).UTC(),
		}
		if line.Key != nil {
			m.Key, m.HasKey = *line.Key, true
		}
		for i := 0; i+1 < len(line.Headers); i += 2 {
			require.NotContains(t, m.Headers, line.Headers[i], "a header came twice")
			m.Headers[line.Headers[i]] = line.Headers[i+1]
		}
		messages = append(messages, m)
	}
	require.Len(t, messages, n, out)
	return messages
}

// java runs a class of Kafka's own.
func java(t *testing.T, in io.Reader, class string, args ...string) string {
	t.Helper()
	libs := env(t, otherClients, "KAFKA_TEST_LIBS")
	if _, err := exec.LookPath("java"); err != nil {
		absent(t, otherClients, "java is not installed")
	}
	flags := []string{"-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xshare:auto", "-Xmx128m"}
	if log := os.Getenv("KAFKA_TEST_LOG4J"); log != "" {
		flags = append(flags, "-Dlog4j2.configurationFile="+log)
	}
	flags = append(flags, "-cp", libs, class)
	return command(t, in, "java", append(flags, args...)...)
}

// consoleRead reads n records of the topic from its beginning by Kafka's own console consumer.
func consoleRead(t *testing.T, b broker, topic string, n int) []message {
	t.Helper()
	const separator = "\x1f"
	args := []string{
		"--bootstrap-server", b.address, "--topic", topic, "--from-beginning",
		"--max-messages", strconv.Itoa(n), "--timeout-ms", "60000",
	}
	for _, p := range []string{"partition", "offset", "timestamp", "key", "headers"} {
		args = append(args, "--property", "print."+p+"=true")
	}
	// A value with a comma in it would be ambiguous with the default separator of headers.
	args = append(args, "--property", "key.separator="+separator, "--property", "headers.separator=\x1e", "--property", "null.literal=\x1d")
	out := java(t, nil, "org.apache.kafka.tools.consumer.ConsoleConsumer", args...)
	var messages []message
	for lines := bufio.NewScanner(strings.NewReader(out)); lines.Scan(); {
		// CreateTime:1…, Partition:0, Offset:0, headers, key, value
		f := strings.SplitN(lines.Text(), separator, 6)
		require.Len(t, f, 6, out)
		number := func(i int, prefix string) int64 {
			n, err := strconv.ParseInt(strings.TrimPrefix(f[i], prefix), 10, 64)
			require.NoError(t, err, out)
			return n
		}
		m := message{
			Topic: topic, Timestamp: time.UnixMilli(number(0, "CreateTime:")).UTC(), Partition: int(number(1, "Partition:")), Offset: number(2, "Offset:"),
			Headers: map[string]string{}, Value: f[5],
		}
		if f[3] != "NO_HEADERS" {
			for h := range strings.SplitSeq(f[3], "\x1e") {
				name, value, ok := strings.Cut(h, ":")
				require.True(t, ok, "header %q in %q", h, out)
				m.Headers[name] = value
			}
		}
		if f[4] != "\x1d" {
			m.Key, m.HasKey = f[4], true
		}
		messages = append(messages, m)
	}
	require.Len(t, messages, n, out)
	return messages
}

// command runs a program for two minutes at most.
func command(t *testing.T, in io.Reader, name string, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Stdin = in
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	require.NoError(t, err, "%s %s\n%s%s", name, strings.Join(args, " "), out, stderr.String())
	return string(out)
}
