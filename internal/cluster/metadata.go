package cluster

import (
	"context"
	"fmt"
	"time"

	"github.com/segmentio/kafka-go/protocol/findcoordinator"
	"github.com/segmentio/kafka-go/protocol/metadata"

	"github.com/expensevault/sharedlibrary/internal/kerr"
)

// metadataTimeout is for one broker's answer: another can be asked.
const metadataTimeout = 5 * time.Second

// Metadata is what one broker knew at one moment.
type Metadata struct {
	ClusterID  string
	Controller int32
	Brokers    []int32
	Topics     map[string]*Topic // those that were asked for
}

// Topic is one topic; Err is set when the broker could not or would not tell.
type Topic struct {
	Name       string
	Err        kerr.Code
	Partitions []Partition // by ID, without gaps as a rule
}

// Partition is one partition of a topic.
type Partition struct {
	ID          int32
	Err         kerr.Code
	Leader      int32 // -1: none at the moment
	LeaderEpoch int32 // -1: not told
	Replicas    int
}

// Metadata asks a broker about topics, never creating any; about the brokers alone when there are none.
// The brokers' addresses are remembered for [Cluster.Conn].
func (c *Cluster) Metadata(ctx context.Context, topics ...string) (*Metadata, error) {
	conn, err := c.Conn(ctx, Any, Control)
	if err != nil {
		return nil, fmt.Errorf("metadata: %w", err)
	}
	if topics == nil {
		topics = []string{} // nil would ask for all topics
	}
	msg, err := conn.Do(ctx, &metadata.Request{TopicNames: topics}, metadataTimeout)
	if err != nil {
		return nil, fmt.Errorf("metadata: %w", err)
	}
	res, ok := msg.(*metadata.Response)
	if !ok {
		return nil, fmt.Errorf("metadata: unexpected %T", msg)
	}
	md := &Metadata{ClusterID: res.ClusterID, Controller: res.ControllerID, Topics: make(map[string]*Topic, len(res.Topics))}
	addrs := make(map[int32]string, len(res.Brokers))
	for _, b := range res.Brokers {
		md.Brokers = append(md.Brokers, b.NodeID)
		addrs[b.NodeID] = hostPort(b.Host, b.Port)
	}
	for i := range res.Topics {
		t := topicOf(&res.Topics[i])
		md.Topics[t.Name] = t
	}
	if len(addrs) > 0 { // a broker that is only starting knows none
		c.mu.Lock()
		c.brokers = addrs
		c.mu.Unlock()
	}
	return md, nil
}

func topicOf(r *metadata.ResponseTopic) *Topic {
	t := &Topic{Name: r.Name, Err: kerr.Code(r.ErrorCode), Partitions: make([]Partition, len(r.Partitions))}
	for i := range r.Partitions {
		t.Partitions[i] = Partition{ID: int32(i), Err: kerr.LeaderNotAvailable, Leader: -1, LeaderEpoch: -1}
	}
	for _, p := range r.Partitions {
		if p.PartitionIndex < 0 || int(p.PartitionIndex) >= len(t.Partitions) {
			continue // a gap: a broker in the middle of a change; the next refresh is whole
		}
		t.Partitions[p.PartitionIndex] = Partition{
			ID: p.PartitionIndex, Err: kerr.Code(p.ErrorCode), Leader: p.LeaderID, LeaderEpoch: p.LeaderEpoch, Replicas: len(p.ReplicaNodes),
		}
	}
	return t
}

// Coordinator asks who coordinates a consumer group. Its error is retriable
// unless it is an authorization's ([kerr.GroupAuthorizationFailed]) or an AuthError.
func (c *Cluster) Coordinator(ctx context.Context, group string) (int32, error) {
	msg, err := c.Do(ctx, Any, Control, &findcoordinator.Request{Key: group, KeyType: 0}, metadataTimeout)
	if err != nil {
		return 0, fmt.Errorf("find coordinator: %w", err)
	}
	res, ok := msg.(*findcoordinator.Response)
	if !ok {
		return 0, fmt.Errorf("find coordinator: unexpected %T", msg)
	}
	if err := kerr.Code(res.ErrorCode).Err(); err != nil {
		return 0, fmt.Errorf("find coordinator: %w", err)
	}
	c.mu.Lock()
	c.brokers[res.NodeID] = hostPort(res.Host, res.Port)
	c.mu.Unlock()
	return res.NodeID, nil
}
