package consumer_test

import (
	"bufio"
	"context"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/expensevault/sharedlibrary/internal/consumer"
)

// javaMember runs Kafka's own consumer in the group; values are what it read.
func (k *kafka) javaMember(t *testing.T, group, topic string, properties ...string) (values <-chan string, stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	args := []string{
		"-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xmx128m", "-cp", os.Getenv("KAFKA_TEST_LIBS"),
		"org.apache.kafka.tools.consumer.ConsoleConsumer", "--bootstrap-server", strings.Join(k.addrs, ","), "--topic", topic, "--group", group,
		"--from-beginning",
	}
	for _, p := range append(properties, "heartbeat.interval.ms=200", "auto.commit.interval.ms=100") {
		args = append(args, "--consumer-property", p)
	}
	cmd := exec.CommandContext(ctx, "java", args...)
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	cmd.Stderr = t.Output()
	require.NoError(t, cmd.Start())
	ch := make(chan string, 100_000)
	read := make(chan struct{})
	go func() {
		defer close(read)
		for lines := bufio.NewScanner(out); lines.Scan(); {
			ch <- lines.Text()
		}
	}()
	var once sync.Once
	stop = func() {
		once.Do(func() {
			cancel()
			<-read
			_ = cmd.Wait() // 130: interrupted, as it was asked to
		})
	}
	t.Cleanup(stop)
	return ch, stop
}

// A member of a group is dead at once when it cannot read what the leader gives it, and the group when its leader cannot read a member.
func TestSharesAGroupWithJava(t *testing.T) {
	t.Parallel()
	if os.Getenv("KAFKA_TEST_LIBS") == "" || os.Getenv("KAFKA_BOOTSTRAP_SERVERS") == "" {
		if slices.Contains(strings.Split(os.Getenv("ITEST_REQUIRE"), ","), "tools") {
			t.Fatal("ITEST_REQUIRE names \"tools\", but KAFKA_TEST_LIBS or KAFKA_BOOTSTRAP_SERVERS is not set")
		}
		t.Skip("KAFKA_TEST_LIBS and KAFKA_BOOTSTRAP_SERVERS are not both set (.ci/kafka start prints them)")
	}
	k := realOne(t)
	cooperative := "partition.assignment.strategy=org.apache.kafka.clients.consumer.CooperativeStickyAssignor"
	for _, tc := range []struct {
		name string
		java []string
		ours []consumer.Balancer
	}{
		{"both as they are", nil, nil}, // Java: range and cooperative-sticky, and so not cooperative
		{"both cooperative", []string{cooperative}, []consumer.Balancer{consumer.CooperativeSticky}},
		{"we cooperative", nil, []consumer.Balancer{consumer.CooperativeSticky}},
		{"Java cooperative", []string{cooperative}, nil},
	} {
		for _, javaLeads := range []bool{false, true} {
			t.Run(tc.name+map[bool]string{false: ", led by us", true: ", led by Java"}[javaLeads], func(t *testing.T) {
				t.Parallel()
				shareWithJava(t, k, javaLeads, tc.java, tc.ours)
			})
		}
	}
}

func shareWithJava(t *testing.T, k *kafka, javaLeads bool, properties []string, balancers []consumer.Balancer) {
	t.Helper()
	topic, group := k.topic(t, 2), unique(t, "group")
	n := 0
	produce := func() {
		k.produce(t, topic, 0, strconv.Itoa(n))
		k.produce(t, topic, 1, strconv.Itoa(n+1))
		n += 2
	}
	produce()
	var (
		ours   *member
		theirs <-chan string
		stop   func()
	)
	got := map[string]int{}
	alone := func(ch func() string) {
		for range 2 {
			got[ch()]++
		}
	}
	fromUs := func() string { return string(ours.next().Value) }
	fromJava := func() string { return receive(t, theirs, "record in Java") }
	startOurs := func() {
		ours = k.start(t, group, []string{topic}, func(p *consumer.Params) { p.Balancers = balancers })
	}
	if javaLeads {
		theirs, stop = k.javaMember(t, group, topic, properties...)
		alone(fromJava)
		startOurs()
	} else {
		startOurs()
		alone(fromUs)
		theirs, stop = k.javaMember(t, group, topic, properties...)
	}
	eventually(t, func() bool {
		return ours.logs.count("joined the group", "partitions=1", "leader="+strconv.FormatBool(!javaLeads)) > 0
	}, "both are members")
	for range 5 {
		produce()
		got[fromUs()]++
		got[fromJava()]++
	}
	stop()
	produce()
	alone(fromUs)
	ours.stop()
	assert.Len(t, got, n, "every record was handled: %v", got)
	assert.Zero(t, ours.logs.count("lost the partitions"))
}
