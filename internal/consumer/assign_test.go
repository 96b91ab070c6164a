package consumer

import (
	"strconv"
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestAssignRange(t *testing.T) {
	t.Parallel()
	type assignment = map[string][]topicPartitions
	for _, tc := range []struct {
		name       string
		members    []groupMember
		partitions map[string]int
		want       assignment
	}{
		{"one for all", []groupMember{{id: "a", topics: []string{"t"}}}, map[string]int{"t": 3}, assignment{"a": {{"t", []int32{0, 1, 2}}}}},
		{
			"the first members get one more",
			[]groupMember{{id: "b", topics: []string{"t"}}, {id: "c", topics: []string{"t"}}, {id: "a", topics: []string{"t"}}},
			map[string]int{"t": 5},
			assignment{"a": {{"t", []int32{0, 1}}}, "b": {{"t", []int32{2, 3}}}, "c": {{"t", []int32{4}}}},
		},
		{
			"more members than partitions",
			[]groupMember{{id: "a", topics: []string{"t"}}, {id: "b", topics: []string{"t"}}},
			map[string]int{"t": 1},
			assignment{"a": {{"t", []int32{0}}}, "b": nil},
		},
		{
			"topics of the same number of partitions fall together",
			[]groupMember{{id: "a", topics: []string{"t", "u"}}, {id: "b", topics: []string{"u", "t"}}},
			map[string]int{"t": 2, "u": 2},
			assignment{"a": {{"t", []int32{0}}, {"u", []int32{0}}}, "b": {{"t", []int32{1}}, {"u", []int32{1}}}},
		},
		{
			"other members, other topics",
			[]groupMember{{id: "a", topics: []string{"t"}}, {id: "b", topics: []string{"t", "u"}}, {id: "c"}},
			map[string]int{"t": 2, "u": 1},
			assignment{"a": {{"t", []int32{0}}}, "b": {{"t", []int32{1}}, {"u", []int32{0}}}, "c": nil},
		},
		{
			"static members first, by their names",
			[]groupMember{{id: "a", topics: []string{"t"}}, {id: "b", instance: "z", topics: []string{"t"}}, {id: "c", instance: "y", topics: []string{"t"}}},
			map[string]int{"t": 3},
			assignment{"c": {{"t", []int32{0}}}, "b": {{"t", []int32{1}}}, "a": {{"t", []int32{2}}}},
		},
		{"a topic that does not exist", []groupMember{{id: "a", topics: []string{"t"}}}, map[string]int{"t": 0}, assignment{"a": nil}},
		{"a topic named twice", []groupMember{{id: "a", topics: []string{"t", "t"}}}, map[string]int{"t": 2}, assignment{"a": {{"t", []int32{0, 1}}}}},
		{"nobody", nil, nil, assignment{}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			assert.Equal(t, tc.want, assignRange(tc.members, tc.partitions))
		})
	}
}

// Every partition to exactly one of its subscribers, and none more than one above another.
func TestAssignRangeIsFair(t *testing.T) {
	t.Parallel()
	for members := 1; members <= 9; members++ {
		for partitions := range 25 {
			var ms []groupMember
			for i := range members {
				ms = append(ms, groupMember{id: strconv.Itoa(i), topics: []string{"t"}})
			}
			seen := map[int32]int{}
			least, most := partitions, 0
			for _, tps := range assignRange(ms, map[string]int{"t": partitions}) {
				n := 0
				for _, tp := range tps {
					n += len(tp.partitions)
					for _, p := range tp.partitions {
						seen[p]++
					}
				}
				least, most = min(least, n), max(most, n)
			}
			assert.Len(t, seen, partitions)
			for p, n := range seen {
				assert.Equal(t, 1, n, "partition %d", p)
			}
			assert.LessOrEqual(t, most-least, 1)
		}
	}
}
