package messaging

import (
	"maps"
	"net"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/segmentio/kafka-go/protocol"
	"github.com/segmentio/kafka-go/protocol/apiversions"
	"github.com/segmentio/kafka-go/protocol/createtopics"
	"github.com/segmentio/kafka-go/protocol/describeconfigs"
	"github.com/segmentio/kafka-go/protocol/metadata"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/expensevault/sharedlibrary/internal/kerr"
)

// adminBroker knows topics, and spoils what its script says.
type adminBroker struct {
	t    *testing.T
	addr *net.TCPAddr

	mu      sync.Mutex
	topics  map[string]int // partitions
	creates int            // CreateTopics requests
	spoil   []spoiled
}

// spoiled is what an answer about a topic says in place of the truth, for a number of requests.
type spoiled struct {
	key    protocol.ApiKey
	topic  string
	code   kerr.Code // None: the connection is cut in place of an answer
	acted  bool      // after the broker did what it was asked
	hidden bool      // Metadata: no partition has a leader
	times  int
}

func newAdminBroker(t *testing.T, topics map[string]int, spoil ...spoiled) *adminBroker {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	b := &adminBroker{t: t, addr: l.Addr().(*net.TCPAddr), topics: map[string]int{}, spoil: spoil}
	maps.Copy(b.topics, topics)
	var wg sync.WaitGroup
	var conns sync.Map
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			conns.Store(c, nil)
			wg.Go(func() { b.serve(c) })
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		conns.Range(func(c, _ any) bool { _ = c.(net.Conn).Close(); return true })
		wg.Wait()
	})
	return b
}

func (b *adminBroker) config() Config {
	cfg := DefaultConfig()
	cfg.BootstrapServers, cfg.RetryBackoff = b.addr.String(), 5*time.Millisecond
	return cfg
}

// seen tells how many requests for topics came, and what was not spoiled after all.
func (b *adminBroker) seen() (creates int, unspoiled []spoiled) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.creates, slices.DeleteFunc(slices.Clone(b.spoil), func(s spoiled) bool { return s.times == 0 })
}

func (b *adminBroker) serve(c net.Conn) {
	defer func() { _ = c.Close() }()
	for {
		version, id, _, req, err := protocol.ReadRequest(c)
		if err != nil {
			return
		}
		res := b.answer(req)
		if res == nil {
			return
		}
		if !assert.NoError(b.t, protocol.WriteResponse(c, version, id, res)) {
			return
		}
	}
}

// spoils takes one of what is in store for a request about a topic.
func (b *adminBroker) spoils(key protocol.ApiKey, topic string) (spoiled, bool) {
	for i := range b.spoil {
		if s := &b.spoil[i]; s.times > 0 && s.key == key && s.topic == topic {
			s.times--
			return *s, true
		}
	}
	return spoiled{}, false
}

func (b *adminBroker) answer(req protocol.Message) protocol.Message {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch req := req.(type) {
	case *apiversions.Request:
		res := &apiversions.Response{}
		for _, key := range []protocol.ApiKey{protocol.ApiVersions, protocol.Metadata, protocol.CreateTopics, protocol.DescribeConfigs} {
			res.ApiKeys = append(res.ApiKeys, apiversions.ApiKeyResponse{ApiKey: int16(key), MinVersion: key.MinVersion(), MaxVersion: key.MaxVersion()})
		}
		return res
	case *metadata.Request:
		return b.metadata(req)
	case *createtopics.Request:
		return b.create(req)
	case *describeconfigs.Request:
		return b.describe(req)
	}
	assert.Fail(b.t, "unexpected request", "%T", req)
	return nil
}

func (b *adminBroker) metadata(req *metadata.Request) protocol.Message {
	assert.False(b.t, req.AllowAutoTopicCreation, "nothing may be created by asking")
	res := &metadata.Response{ControllerID: 1, Brokers: []metadata.ResponseBroker{{NodeID: 1, Host: b.addr.IP.String(), Port: int32(b.addr.Port)}}}
	for _, name := range req.TopicNames {
		t := metadata.ResponseTopic{Name: name, ErrorCode: int16(kerr.UnknownTopicOrPartition)}
		leader := int32(1)
		n, ok := b.topics[name]
		switch s, spoils := b.spoils(protocol.Metadata, name); {
		case spoils && s.hidden:
			leader = -1
		case spoils:
			t.ErrorCode, ok = int16(s.code), false
		}
		if ok {
			t.ErrorCode = 0
			for i := range n {
				t.Partitions = append(t.Partitions, metadata.ResponsePartition{PartitionIndex: int32(i), LeaderID: leader, ReplicaNodes: []int32{1}})
			}
		}
		res.Topics = append(res.Topics, t)
	}
	return res
}

func (b *adminBroker) create(req *createtopics.Request) protocol.Message {
	b.creates++
	res := &createtopics.Response{}
	for _, t := range req.Topics {
		s, spoils := b.spoils(protocol.CreateTopics, t.Name)
		_, exists := b.topics[t.Name]
		if !spoils || s.acted {
			b.topics[t.Name] = max(int(t.NumPartitions), 1)
		}
		answer := createtopics.ResponseTopic{Name: t.Name}
		switch {
		case spoils && s.code == kerr.None:
			return nil
		case spoils:
			answer.ErrorCode, answer.ErrorMessage = int16(s.code), "in the broker's \x1b[31mwords"
		case exists:
			answer.ErrorCode = int16(kerr.TopicAlreadyExists)
		}
		res.Topics = append(res.Topics, answer)
	}
	return res
}

func (b *adminBroker) describe(req *describeconfigs.Request) protocol.Message {
	res := &describeconfigs.Response{}
	for _, r := range req.Resources {
		answer := describeconfigs.ResponseResource{ResourceType: r.ResourceType, ResourceName: r.ResourceName}
		if s, ok := b.spoils(protocol.DescribeConfigs, r.ResourceName); ok {
			answer.ErrorCode = int16(s.code)
		} else {
			for _, name := range r.ConfigNames {
				answer.ConfigEntries = append(answer.ConfigEntries, describeconfigs.ResponseConfigEntry{ConfigName: name, ConfigValue: strconv.Itoa(len(name))})
			}
		}
		res.Resources = append(res.Resources, answer)
	}
	return res
}

func TestEnsureTopicsTriesAgain(t *testing.T) {
	t.Parallel()
	create, ask := protocol.CreateTopics, protocol.Metadata
	for _, c := range []struct {
		name    string
		spoil   []spoiled
		found   bool // not by this call, as far as it can tell
		creates int
	}{
		{name: "nothing in the way", creates: 1},
		{name: "another controller", spoil: []spoiled{{key: create, code: kerr.NotController, times: 3}}, creates: 4},
		{name: "throttled", spoil: []spoiled{{key: create, code: kerr.ThrottlingQuotaExceeded, times: 1}}, creates: 2},
		{name: "a lost request", spoil: []spoiled{{key: create, times: 1}}, creates: 2},
		{name: "a lost answer", spoil: []spoiled{{key: create, acted: true, times: 1}}, creates: 1, found: true},
		{name: "created in the background", spoil: []spoiled{{key: create, code: kerr.RequestTimedOut, acted: true, times: 1}}, creates: 1, found: true},
		{name: "another process in between", spoil: []spoiled{{key: create, code: kerr.TopicAlreadyExists, acted: true, times: 1}}, creates: 1, found: true},
		{name: "another process, and a broker that does not know yet", spoil: []spoiled{
			{key: create, code: kerr.TopicAlreadyExists, acted: true, times: 1}, {key: ask, code: kerr.UnknownTopicOrPartition, times: 3},
		}, creates: 1, found: true},
		{name: "created, and a broker that does not know yet", spoil: []spoiled{{key: ask, code: kerr.UnknownTopicOrPartition, times: 3}}, creates: 1},
		{name: "created, and a broker that is behind", spoil: []spoiled{{key: ask, code: kerr.LeaderNotAvailable, times: 3}}, creates: 1},
		{name: "a lost question", spoil: []spoiled{{key: ask, code: kerr.NetworkException, times: 1}}, creates: 1},
		{name: "settings that cannot be told yet", spoil: []spoiled{
			{key: create, code: kerr.TopicAlreadyExists, acted: true, times: 1},
			{key: protocol.DescribeConfigs, code: kerr.UnknownTopicOrPartition, times: 2},
		}, creates: 1, found: true},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			for i := range c.spoil {
				c.spoil[i].topic = "a.b.c"
			}
			b := newAdminBroker(t, nil, c.spoil...)
			states, err := EnsureTopics(t.Context(), b.config(), TopicSpec{Name: "a.b.c", Partitions: 2, Retention: 12 * time.Millisecond})
			require.NoError(t, err)
			assert.Equal(t, []TopicState{{Name: "a.b.c", Created: !c.found}}, states)
			creates, unspoiled := b.seen()
			assert.Equal(t, c.creates, creates)
			assert.Empty(t, unspoiled)
		})
	}
}

func TestEnsureTopicsWaitsForLeaders(t *testing.T) {
	t.Parallel()
	b := newAdminBroker(t, map[string]int{"old": 3},
		spoiled{key: protocol.Metadata, topic: "new", hidden: true, times: 1 + 3}, // the first finds no topic
		spoiled{key: protocol.Metadata, topic: "old", hidden: true, times: 1},
	)
	states, err := EnsureTopics(t.Context(), b.config(), TopicSpec{Name: "old", Partitions: 3}, TopicSpec{Name: "new"})
	require.NoError(t, err)
	require.Equal(t, []TopicState{{Name: "old"}, {Name: "new", Created: true}}, states)
	_, unspoiled := b.seen()
	require.Empty(t, unspoiled, "a new topic is waited for")
}

func TestEnsureTopicsNamesTheMissingRight(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		key   protocol.ApiKey
		right string
	}{{protocol.Metadata, "DESCRIBE"}, {protocol.CreateTopics, "CREATE"}, {protocol.DescribeConfigs, "DESCRIBE_CONFIGS"}} {
		t.Run(c.right, func(t *testing.T) {
			t.Parallel()
			there := map[string]int{}
			if c.key == protocol.DescribeConfigs {
				there["a.b.c"] = 1
			}
			b := newAdminBroker(t, there, spoiled{key: c.key, topic: "a.b.c", code: kerr.TopicAuthorizationFailed, times: 9})
			states, err := EnsureTopics(t.Context(), b.config(), TopicSpec{Name: "a.b.c", Retention: time.Hour}, TopicSpec{Name: "other"})
			require.ErrorIs(t, err, ErrNotAuthorized)
			require.ErrorContains(t, err, "topic a.b.c: ")
			require.ErrorContains(t, err, "the right "+c.right+" is needed")
			require.Equal(t, []TopicState{{Name: "other", Created: true}}, states)
			_, unspoiled := b.seen()
			require.Equal(t, 8, unspoiled[0].times, "tried once")
		})
	}
}

func TestEnsureTopicsTellsTheBrokersWords(t *testing.T) {
	t.Parallel()
	b := newAdminBroker(t, nil, spoiled{key: protocol.CreateTopics, topic: "a.b.c", code: kerr.PolicyViolation, times: 1})
	_, err := EnsureTopics(t.Context(), b.config(), TopicSpec{Name: "a.b.c"})
	require.ErrorContains(t, err, `topic a.b.c: create: kafka: POLICY_VIOLATION (44): "in the broker's \x1b[31mwords"`)
}

func TestEnsureTopicsTellsWhatWasSettledInTime(t *testing.T) {
	t.Parallel()
	b := newAdminBroker(t, nil, spoiled{key: protocol.CreateTopics, topic: "a.b.c", code: kerr.NotController, times: 1 << 30})
	cfg := b.config()
	cfg.MessageTimeout = 200 * time.Millisecond
	states, err := EnsureTopics(t.Context(), cfg, TopicSpec{Name: "a.b.c"}, TopicSpec{Name: "other"})
	require.ErrorIs(t, err, ErrTimeout)
	require.ErrorContains(t, err, "topics left open: a.b.c: topic a.b.c: create: kafka: NOT_CONTROLLER")
	require.Equal(t, []TopicState{{Name: "other", Created: true}}, states)
}
