package consumer

import (
	"cmp"
	"maps"
	"slices"
)

// assignSticky spreads the partitions as evenly as the subscriptions allow, moves as few of them as that takes, and gives
// nobody what another member still holds: that one finds it missing, gives it up and joins again, and then it is free.
//
// A group's members need not be equal: what is even is that nobody could take a partition from another, be it through
// others, and have one less than that one had.
func assignSticky(members []groupMember, partitions map[string]int) map[string][]topicPartitions {
	s := newSticky(members, partitions)
	s.keepOwned()
	s.giveRest()
	for s.even() {
	}
	return s.result()
}

// sticky is an assignment that is being made.
type sticky struct {
	members    []groupMember // in their order
	partitions map[string]int
	takers     map[string][]int       // who subscribes to a topic, by index in members
	has        []map[string][]int32   // what a member gets, by topic
	load       []int                  // how many that are
	claimed    map[topicPartition]int // how many members say that they hold it
	owns       []map[topicPartition]bool
}

func newSticky(members []groupMember, partitions map[string]int) *sticky {
	s := &sticky{
		members: slices.Clone(members), partitions: partitions, takers: map[string][]int{},
		has: make([]map[string][]int32, len(members)), load: make([]int, len(members)),
		claimed: map[topicPartition]int{}, owns: make([]map[topicPartition]bool, len(members)),
	}
	slices.SortFunc(s.members, compareMembers)
	for i, m := range s.members {
		s.has[i], s.owns[i] = map[string][]int32{}, map[topicPartition]bool{}
		for _, t := range slices.Compact(slices.Sorted(slices.Values(m.topics))) {
			s.takers[t] = append(s.takers[t], i)
		}
		for _, tps := range m.owned {
			for _, p := range tps.partitions {
				if tp := (topicPartition{tps.topic, p}); !s.owns[i][tp] {
					s.owns[i][tp] = true
					s.claimed[tp]++
				}
			}
		}
	}
	return s
}

// keepOwned leaves everybody what it holds and still wants. Of two who say that they hold the same, the later generation is
// right; of the same generation neither can be believed.
func (s *sticky) keepOwned() {
	type claim struct {
		member     int
		generation int32
		disputed   bool
	}
	claims := map[topicPartition]claim{}
	for i, m := range s.members {
		for tp := range s.owns[i] {
			if tp.partition < 0 || int(tp.partition) >= s.partitions[tp.topic] || !slices.Contains(s.takers[tp.topic], i) {
				continue
			}
			c, known := claims[tp]
			switch {
			case !known || m.generation > c.generation:
				claims[tp] = claim{i, m.generation, false}
			case m.generation == c.generation:
				c.disputed = true
				claims[tp] = c
			}
		}
	}
	for tp, c := range claims {
		if !c.disputed {
			s.give(c.member, tp)
		}
	}
}

func (s *sticky) give(member int, tp topicPartition) {
	s.has[member][tp.topic] = append(s.has[member][tp.topic], tp.partition)
	s.load[member]++
}

// giveRest gives what nobody has to whoever has least, topics with few takers first.
func (s *sticky) giveRest() {
	topics := slices.SortedFunc(maps.Keys(s.takers), func(a, b string) int {
		return cmp.Or(cmp.Compare(len(s.takers[a]), len(s.takers[b])), cmp.Compare(a, b))
	})
	for _, topic := range topics {
		given := map[int32]bool{}
		for _, i := range s.takers[topic] {
			for _, p := range s.has[i][topic] {
				given[p] = true
			}
		}
		for p := range int32(s.partitions[topic]) {
			if given[p] {
				continue
			}
			least := s.takers[topic][0]
			for _, i := range s.takers[topic] {
				if s.load[i] < s.load[least] {
					least = i
				}
			}
			s.give(least, topicPartition{topic, p})
		}
	}
}

// step is how a partition would go from one member to another.
type step struct {
	from  int
	topic string
}

// even moves one partition from a member that has most to the one that has least of those with at least two less, by way of others
// if need be; false when there is none.
func (s *sticky) even() bool {
	order := make([]int, len(s.members))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(s.load[b], s.load[a]) })
	for _, most := range order {
		if s.load[most]-s.load[order[len(order)-1]] < 2 {
			return false
		}
		came, least := s.reach(most, s.load[order[len(order)-1]])
		if s.load[least]+2 <= s.load[most] {
			s.move(came, least)
			return true
		}
	}
	return false
}

// reach is how partitions could go from a member to others, the shortest way to each, and which of these has least; it looks no
// further than the first that has no more than anybody.
func (s *sticky) reach(from, floor int) (came map[int]step, least int) {
	came, least = map[int]step{from: {from: -1}}, from
	for queue := []int{from}; len(queue) > 0; queue = queue[1:] {
		for _, topic := range s.fullest(queue[0]) {
			for _, to := range s.takers[topic] {
				if _, seen := came[to]; seen {
					continue
				}
				came[to] = step{queue[0], topic}
				queue = append(queue, to)
				if s.load[to] < s.load[least] {
					if least = to; s.load[to] == floor {
						return came, least
					}
				}
			}
		}
	}
	return came, least
}

// fullest are a member's topics, those first of which it has most.
func (s *sticky) fullest(member int) []string {
	topics := slices.Collect(maps.Keys(s.has[member]))
	slices.SortFunc(topics, func(a, b string) int {
		return cmp.Or(cmp.Compare(len(s.has[member][b]), len(s.has[member][a])), cmp.Compare(a, b))
	})
	return slices.DeleteFunc(topics, func(t string) bool { return len(s.has[member][t]) == 0 })
}

// move has every member on the way give one partition to the next: one that it does not hold, where it has such.
func (s *sticky) move(came map[int]step, to int) {
	for came[to].from >= 0 {
		st := came[to]
		ps := s.has[st.from][st.topic]
		slices.Sort(ps)
		pick := len(ps) - 1
		for i, p := range slices.Backward(ps) {
			tp := topicPartition{st.topic, p}
			if s.owns[to][tp] { // back to whoever holds it
				pick = i
				break
			}
			if !s.owns[st.from][tp] && s.owns[st.from][topicPartition{st.topic, ps[pick]}] {
				pick = i
			}
		}
		p := ps[pick]
		s.has[st.from][st.topic] = slices.Delete(ps, pick, pick+1)
		s.load[st.from]--
		s.give(to, topicPartition{st.topic, p})
		to = st.from
	}
}

// result leaves out what another member than the one who is to get it says that it holds.
func (s *sticky) result() map[string][]topicPartitions {
	out := make(map[string][]topicPartitions, len(s.members))
	for i, m := range s.members {
		out[m.id] = nil
		for _, topic := range slices.Sorted(maps.Keys(s.has[i])) {
			tps := topicPartitions{topic: topic}
			for _, p := range slices.Sorted(slices.Values(s.has[i][topic])) {
				if tp := (topicPartition{topic, p}); s.owns[i][tp] || s.claimed[tp] == 0 {
					tps.partitions = append(tps.partitions, p)
				}
			}
			if len(tps.partitions) > 0 {
				out[m.id] = append(out[m.id], tps)
			}
		}
	}
	return out
}
