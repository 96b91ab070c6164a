package itest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"log/slog"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/stretchr/testify/require"
	"github.com/testcontainers/testcontainers-go"
	containers "github.com/testcontainers/testcontainers-go/modules/kafka"
	"github.com/testcontainers/testcontainers-go/network"

	"github.com/expensevault/sharedlibrary/messaging/embedded"
)

// A broker is one Kafka for a run of the conformance suite.
type broker struct {
	kind    string
	address string // comma-separated host:port, without encryption or names
	topics  *atomic.Int64
}

// eachBroker runs f on every kind of broker, at once.
func eachBroker(t *testing.T, f func(t *testing.T, b broker)) {
	t.Helper()
	onBrokers(t, f, embeddedBroker, realBroker, containerBroker)
}

// onBrokers runs f on these kinds of broker, at once.
func onBrokers(t *testing.T, f func(t *testing.T, b broker), kinds ...string) {
	t.Helper()
	start := map[string]func(*testing.T) string{embeddedBroker: startEmbedded, realBroker: startReal, containerBroker: startContainer}
	for _, kind := range kinds {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			f(t, broker{kind: kind, address: start[kind](t), topics: new(atomic.Int64)})
		})
	}
}

// startEmbedded runs a broker in this process.
func startEmbedded(t *testing.T) string {
	t.Helper()
	return embedded.Run(t).Addr()
}

// startReal does not start anything: the broker was given.
func startReal(t *testing.T) string {
	t.Helper()
	return env(t, realBroker, "KAFKA_BOOTSTRAP_SERVERS")
}

// startContainer needs a Docker engine; DOCKER_HOST and testcontainers' own variables are honoured.
func startContainer(t *testing.T) string {
	t.Helper()
	address, err := shared.start()
	if err != nil {
		absent(t, containerBroker, err.Error())
	}
	return address
}

// shared is the one container for all tests: one for each would leave no processor for the tests. TestMain removes it.
var shared container //nolint:gochecknoglobals // as the comment says

type container struct {
	once    sync.Once
	address string
	err     error
	started testcontainers.Container
	network *testcontainers.DockerNetwork
	told    atomic.Bool
}

func TestMain(m *testing.M) {
	code := m.Run()
	if err := shared.remove(); err != nil {
		slog.Error("the container was not removed", "error", err)
		code = max(code, 1)
	}
	os.Exit(code)
}

func (c *container) start() (string, error) {
	c.once.Do(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
		defer cancel()
		c.address, c.err = c.run(ctx)
	})
	return c.address, c.err
}

func (c *container) run(ctx context.Context) (string, error) {
	image := os.Getenv("ITEST_KAFKA_IMAGE")
	if image == "" {
		image = "confluentinc/confluent-local:7.5.0"
	}
	if err := docker(ctx); err != nil {
		return "", err
	}
	// A network of its own. The default bridge is the machine's: what another engine, or one that was killed, has left there
	// may have the container's address, and now and then gets what is meant for it.
	own, err := network.New(ctx)
	if err != nil {
		return "", fmt.Errorf("no network for %s: %w", image, err)
	}
	c.network = own
	kafka, err := containers.Run(ctx, image, containers.WithClusterID("conformance"), testcontainers.WithLogger(log.New(io.Discard, "", 0)),
		network.WithNetwork([]string{"kafka"}, own),
		testcontainers.WithEnv(map[string]string{
			"KAFKA_AUTO_CREATE_TOPICS_ENABLE":        "false",
			"KAFKA_GROUP_INITIAL_REBALANCE_DELAY_MS": "0",
			"KAFKA_BROKER_SESSION_TIMEOUT_MS":        "900000", // a starved broker is not to be taken for a dead one
		}))
	if kafka != nil {
		c.started = kafka
	}
	if err != nil {
		return "", fmt.Errorf("%s did not start: %w", image, err)
	}
	brokers, err := kafka.Brokers(ctx)
	return strings.Join(brokers, ","), err
}

// tell logs, once, what the container's Kafka has to say, and what its threads are at.
func (c *container) tell(t testing.TB) {
	t.Helper()
	if c.started == nil || !c.told.CompareAndSwap(false, true) {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	_, _, err := c.started.Exec(ctx, []string{"/bin/sh", "-c", "kill -QUIT $(pidof java); sleep 2"})
	logs, logErr := c.started.Logs(ctx)
	if logErr != nil {
		t.Log("the container's log cannot be read: ", errors.Join(err, logErr))
		return
	}
	defer func() { _ = logs.Close() }()
	text, _ := io.ReadAll(logs)
	t.Logf("the container's Kafka (asked for its threads: %v):\n%s", err, text)
}

func (c *container) remove() error {
	var errs []error
	if c.started != nil {
		errs = append(errs, testcontainers.TerminateContainer(c.started))
	}
	if c.network != nil {
		errs = append(errs, c.network.Remove(context.Background()))
	}
	return errors.Join(errs...)
}

// docker asks the engine whether it is there. testcontainers panics where it finds none at all.
func docker(ctx context.Context) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("no Docker engine: %v", r)
		}
	}()
	provider, err := testcontainers.NewDockerProvider()
	if err != nil {
		return fmt.Errorf("no Docker engine: %w", err)
	}
	defer func() { _ = provider.Close() }()
	if err := provider.Health(ctx); err != nil {
		return fmt.Errorf("the Docker engine does not answer: %w", err)
	}
	return nil
}

// admin is another client than ours. It has a transport of its own, since one that has lived on may know old leaders.
func (b broker) admin() *kafka.Client {
	return &kafka.Client{Addr: kafka.TCP(strings.Split(b.address, ",")...), Timeout: 20 * time.Second, Transport: &kafka.Transport{IdleTimeout: time.Second}}
}

// name makes a name that no other test, and no earlier run, has used.
func (b broker) name(prefix string) string {
	return fmt.Sprintf("%s.n%d.t%d", prefix, b.topics.Add(1), time.Now().UnixNano())
}

// topic creates a topic that no other test knows, by another client than ours.
func (b broker) topic(t testing.TB, partitions int, entries ...kafka.ConfigEntry) string {
	t.Helper()
	topic := b.name("itest")
	request := &kafka.CreateTopicsRequest{
		Topics: []kafka.TopicConfig{{Topic: topic, NumPartitions: partitions, ReplicationFactor: 1, ConfigEntries: entries}},
	}
	admin := b.admin()
	created, err := admin.CreateTopics(t.Context(), request)
	for try := 0; errors.Is(err, kafka.BrokerNotAvailable) && try < 600; try++ { // a broker that was starved for a while is let in again
		select {
		case <-t.Context().Done():
		case <-time.After(100 * time.Millisecond):
		}
		created, err = admin.CreateTopics(t.Context(), request)
	}
	if errors.Is(err, kafka.BrokerNotAvailable) {
		shared.tell(t)
	}
	require.NoError(t, err)
	require.NoError(t, created.Errors[topic])
	return topic
}
