package embedded_test

import (
	"bufio"
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/expensevault/sharedlibrary/messaging/embedded"
)

func TestFolderKeepsTopicsRecordsAndOffsets(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "made", "for", "it")
	folder := embedded.WithDataDir(dir)
	group := func(b *embedded.Broker) *kgo.Client {
		return dial(t, b.Addr(), kgo.ConsumerGroup("billing"), kgo.ConsumeTopics(orders), fromStart(), kgo.DisableAutoCommit())
	}

	first := start(t, folder, embedded.WithNodes(3), embedded.WithTopics(2, orders))
	produce(t.Context(), t, dial(t, first.Addr()), 0, 5)
	member := group(first)
	fetches := member.PollRecords(t.Context(), 3)
	require.NoError(t, fetches.Err())
	require.Equal(t, 3, fetches.NumRecords())
	require.NoError(t, member.CommitRecords(t.Context(), fetches.Records()...))
	require.NoError(t, member.LeaveGroupContext(t.Context()))
	require.NoError(t, first.Close())

	var log lockedBuffer
	second := start(t, folder, embedded.WithTopics(7, orders), embedded.WithTopics(1, "shop.order.paid"),
		embedded.WithLogger(slog.New(slog.NewTextHandler(&log, nil))))
	assert.Len(t, second.Cluster().PartitionInfos(orders), 2, "an existing topic stays as it is")
	assert.Contains(t, log.String(), "keeps the partitions", "and the difference is said")
	assert.Len(t, second.Cluster().PartitionInfos("shop.order.paid"), 1, "a missing one is created")
	produce(t.Context(), t, dial(t, second.Addr()), 5, 6)
	assert.Equal(t, []string{"3", "4", "5"}, consume(t.Context(), t, group(second), 3))

	all := consume(t.Context(), t, dial(t, second.Addr(), kgo.ConsumeTopics(orders), fromStart()), 6)
	assert.Equal(t, []string{"0", "1", "2", "3", "4", "5"}, all)
}

func TestFolderHasOneBroker(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	first := start(t, embedded.WithDataDir(dir))

	_, err := embedded.Start(t.Context(), embedded.WithDataDir(dir))
	require.ErrorIs(t, err, embedded.ErrFolderInUse)
	require.ErrorContains(t, err, dir)
	_, err = embedded.Start(t.Context(), embedded.WithDataDir(filepath.Join(dir, "..", filepath.Base(dir))))
	require.ErrorIs(t, err, embedded.ErrFolderInUse)

	require.NoError(t, first.Close())
	start(t, embedded.WithDataDir(dir))
}

func TestFailedStartFreesTheFolder(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	folder := embedded.WithDataDir(dir)
	_, err := embedded.Start(t.Context(), folder, embedded.WithTopics(1, "a.b", "a_b"))
	require.Error(t, err)

	meta := filepath.Join(dir, "meta.json")
	was, err := os.ReadFile(meta)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(meta, []byte("{"), 0o600))
	_, err = embedded.Start(t.Context(), folder)
	require.ErrorContains(t, err, "can't use the data folder "+dir)

	require.NoError(t, os.WriteFile(meta, was, 0o600))
	start(t, folder)
}

func TestFolderThatCannotBeWritten(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	lockIsADir := t.TempDir()
	require.NoError(t, os.Mkdir(filepath.Join(lockIsADir, "embedded.lock"), 0o700))
	for _, dir := range []string{file, filepath.Join(file, "sub"), lockIsADir} {
		_, err := embedded.Start(t.Context(), embedded.WithDataDir(dir))
		require.ErrorContains(t, err, dir)
		require.ErrorContains(t, err, "a folder that you may write")
	}
}

func TestCloseSaysWhatWasNotSaved(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "data")
	b, err := embedded.Start(t.Context(), embedded.WithDataDir(dir), embedded.WithTopics(1, orders))
	require.NoError(t, err)
	require.NoError(t, os.Rename(dir, dir+".moved"))
	require.NoError(t, os.WriteFile(dir, nil, 0o600)) // a file where the folder was

	require.ErrorContains(t, b.Close(), "embedded: close: persist to disk")
	require.ErrorContains(t, b.Close(), "embedded: close: persist to disk")
}

// In the child process: a broker that lives until it is killed.
const childFolder = "EMBEDDED_TEST_CHILD_FOLDER"

func TestKilledProcessLosesNothingAcknowledged(t *testing.T) {
	t.Parallel()
	if dir := os.Getenv(childFolder); dir != "" {
		b, err := embedded.Start(t.Context(), embedded.WithDataDir(dir), embedded.WithTopics(1, orders), embedded.WithAutoCreateTopics())
		require.NoError(t, err)
		_, err = fmt.Fprintln(os.Stdout, "ADDR", b.Addr())
		require.NoError(t, err)
		<-t.Context().Done() // until killed, or the test's timeout
		return
	}

	dir := t.TempDir()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	child := exec.CommandContext(ctx, os.Args[0], "-test.run=^"+t.Name()+"$", "-test.timeout=2m")
	child.Env = append(os.Environ(), childFolder+"="+dir)
	out, err := child.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, child.Start())
	addr := ""
	for lines := bufio.NewScanner(out); addr == "" && lines.Scan(); {
		addr, _ = strings.CutPrefix(lines.Text(), "ADDR ")
	}
	require.NotEmpty(t, addr)
	_, err = embedded.Start(t.Context(), embedded.WithDataDir(dir))
	require.ErrorIs(t, err, embedded.ErrFolderInUse, "the lock holds between processes")

	const n = 50
	c := dial(t, addr, kgo.ConsumerGroup("billing"), kgo.ConsumeTopics(orders), fromStart(), kgo.DisableAutoCommit(), kgo.AllowAutoTopicCreation())
	produce(t.Context(), t, c, 0, n)
	require.NoError(t, c.ProduceSync(t.Context(), &kgo.Record{Topic: "made.by.use", Value: []byte("x")}).FirstErr())
	fetches := c.PollRecords(t.Context(), 20)
	require.NoError(t, fetches.Err())
	require.NoError(t, c.CommitRecords(t.Context(), fetches.Records()...))
	require.NoError(t, child.Process.Kill())
	_ = child.Wait() // "signal: killed", as wanted
	committed := fetches.NumRecords()

	b := start(t, embedded.WithDataDir(dir))
	assert.Equal(t, int64(n), b.Cluster().PartitionInfo(orders, 0).HighWatermark)
	rest := consume(t.Context(), t, dial(t, b.Addr(), kgo.ConsumerGroup("billing"), kgo.ConsumeTopics(orders), fromStart()), n-committed)
	assert.Equal(t, strconv.Itoa(committed), rest[0])
	assert.Len(t, rest, n-committed)
	require.NotNil(t, b.Cluster().PartitionInfo("made.by.use", 0), "a topic made by use is kept as well")
	assert.Equal(t, []string{"x"}, consume(t.Context(), t, dial(t, b.Addr(), kgo.ConsumeTopics("made.by.use"), fromStart()), 1))
}
