package consumer

import (
	"cmp"
	"maps"
	"slices"
)

// groupMember is a member as the group's leader sees it.
type groupMember struct {
	id       string
	instance string // of a static member
	topics   []string
}

// assignRange gives each member of each topic a run of its partitions, the first
// members one more where they do not divide, as Kafka's RangeAssignor does: members
// are in the order of their instance IDs, those without one behind, by member ID.
// The result holds every member.
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
		slices.SortFunc(ms, func(a, b groupMember) int {
			if (a.instance == "") != (b.instance == "") {
				if a.instance == "" {
					return 1
				}
				return -1
			}
			return cmp.Or(cmp.Compare(a.instance, b.instance), cmp.Compare(a.id, b.id))
		})
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
