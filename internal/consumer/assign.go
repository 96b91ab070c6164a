package consumer

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"maps"
	"slices"
)

// Balancer is a way to share a group's partitions out among its members. Its string is the protocol's name.
type Balancer uint8

const (
	// CooperativeSticky spreads all partitions evenly and leaves them where they are as far as that allows. A partition
	// moves in two steps: its owner gives it up in one generation, and another member gets it in the next one.
	//
	// Source: https://cwiki.apache.org/confluence/display/KAFKA/KIP-429
	CooperativeSticky Balancer = iota + 1
	// Range gives each member a run of each topic's partitions.
	Range
)

func (b Balancer) String() string {
	switch b {
	case CooperativeSticky:
		return "cooperative-sticky"
	case Range:
		return "range"
	}
	return fmt.Sprintf("Balancer(%d)", uint8(b))
}

// completeBalancers fills in the default.
func (p *Params) completeBalancers() error {
	if len(p.Balancers) == 0 {
		p.Balancers = []Balancer{CooperativeSticky, Range}
	}
	for i, b := range p.Balancers {
		if b != CooperativeSticky && b != Range {
			return fmt.Errorf("consumer: unknown balancer %d", uint8(b))
		}
		if slices.Contains(p.Balancers[:i], b) {
			return fmt.Errorf("consumer: the balancer %s is named twice", b)
		}
	}
	return nil
}

// cooperative reports whether a member keeps its partitions while it joins again. One that offers Range as well must not: the
// group may choose that, and then nobody waits until a partition was given up before it begins with it.
func (p *Params) cooperative() bool {
	return len(p.Balancers) == 1 && p.Balancers[0] == CooperativeSticky
}

// balancer is the one of ours that has a name.
func (p *Params) balancer(name string) (Balancer, bool) {
	for _, b := range p.Balancers {
		if b.String() == name {
			return b, true
		}
	}
	return 0, false
}

// userData is where Kafka's own members told their generation before subscriptions had a field for it. What is renewed stands
// behind it: no leader looks at that, but a broker notices that the subscription is another one.
func (b Balancer) userData(generation int32, renewed byte) []byte {
	var data []byte
	if b == CooperativeSticky && generation >= 0 {
		data = binary.BigEndian.AppendUint32(data, uint32(generation))
	}
	if renewed > 0 {
		data = append(data, renewed)
	}
	return data
}

// generation is the one in which a member got what it says that it owns; -1 when it does not tell.
//
// Source: CooperativeStickyAssignor.java of Apache Kafka: the field of the subscription, or the first four bytes of the user data.
func (b Balancer) generation(s *subscription) int32 {
	if s.generation < 0 && b == CooperativeSticky && len(s.userData) == 4 {
		return int32(binary.BigEndian.Uint32(s.userData))
	}
	return s.generation
}

// assign shares out so many partitions of each topic. The result holds every member.
func (b Balancer) assign(members []groupMember, partitions map[string]int) map[string][]topicPartitions {
	if b == CooperativeSticky {
		return assignSticky(members, partitions)
	}
	return assignRange(members, partitions)
}

// groupMember is a member as the group's leader sees it.
type groupMember struct {
	id         string
	instance   string // of a static member
	topics     []string
	owned      []topicPartitions // what it holds while it joins
	generation int32             // in which it got them; -1: not told
}

// compareMembers has the same members come first after every restart: static ones by their instance IDs, then the others by member ID.
func compareMembers(a, b groupMember) int {
	if (a.instance == "") != (b.instance == "") {
		if a.instance == "" {
			return 1
		}
		return -1
	}
	return cmp.Or(cmp.Compare(a.instance, b.instance), cmp.Compare(a.id, b.id))
}

// assignRange gives each member of each topic a run of its partitions, the first
// members one more where they do not divide, as Kafka's RangeAssignor does.
func assignRange(members []groupMember, partitions map[string]int) map[string][]topicPartitions {
	out := make(map[string][]topicPartitions, len(members))
	byTopic := map[string][]groupMember{}
	for _, m := range members {
		out[m.id] = nil
		topics := slices.Clone(m.topics)
		slices.Sort(topics)
		for _, t := range slices.Compact(topics) {
			byTopic[t] = append(byTopic[t], m)
		}
	}
	for _, topic := range slices.Sorted(maps.Keys(byTopic)) {
		ms := byTopic[topic]
		slices.SortFunc(ms, compareMembers)
		each, more := partitions[topic]/len(ms), partitions[topic]%len(ms)
		next := int32(0)
		for i, m := range ms {
			n := each
			if i < more {
				n++
			}
			if n == 0 {
				continue
			}
			tp := topicPartitions{topic: topic, partitions: make([]int32, n)}
			for j := range tp.partitions {
				tp.partitions[j] = next
				next++
			}
			out[m.id] = append(out[m.id], tp)
		}
	}
	return out
}
