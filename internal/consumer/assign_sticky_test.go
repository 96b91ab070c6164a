package consumer

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestAssignSticky(t *testing.T) {
	t.Parallel()
	type assignment = map[string][]topicPartitions
	tps := func(topic string, ps ...int32) []topicPartitions { return []topicPartitions{{topic, ps}} }
	both := []string{"t", "u"}
	for _, tc := range []struct {
		name       string
		members    []groupMember
		partitions map[string]int
		want       assignment
	}{
		{
			"from nothing",
			[]groupMember{{id: "b", topics: []string{"t"}, generation: -1}, {id: "a", topics: []string{"t"}, generation: -1}},
			map[string]int{"t": 3},
			assignment{"a": tps("t", 0, 2), "b": tps("t", 1)},
		},
		{
			"many topics of one partition",
			[]groupMember{{id: "a", topics: both, generation: -1}, {id: "b", topics: both, generation: -1}},
			map[string]int{"t": 1, "u": 1},
			assignment{"a": tps("t", 0), "b": tps("u", 0)},
		},
		{
			"nobody gets what another still holds",
			[]groupMember{{id: "a", topics: []string{"t"}, owned: tps("t", 0, 1, 2, 3), generation: 1}, {id: "b", topics: []string{"t"}, generation: -1}},
			map[string]int{"t": 4},
			assignment{"a": tps("t", 0, 1), "b": nil},
		},
		{
			"once it is given up it moves",
			[]groupMember{{id: "a", topics: []string{"t"}, owned: tps("t", 0, 1), generation: 2}, {id: "b", topics: []string{"t"}, generation: 2}},
			map[string]int{"t": 4},
			assignment{"a": tps("t", 0, 1), "b": tps("t", 2, 3)},
		},
		{
			"a member has left",
			[]groupMember{{id: "a", topics: []string{"t"}, owned: tps("t", 4, 5), generation: 3}, {id: "b", topics: []string{"t"}, owned: tps("t", 0), generation: 3}},
			map[string]int{"t": 6},
			assignment{"a": tps("t", 2, 4, 5), "b": tps("t", 0, 1, 3)},
		},
		{
			"the later generation is right",
			[]groupMember{{id: "a", topics: []string{"t"}, owned: tps("t", 0), generation: 4}, {id: "b", topics: []string{"t"}, owned: tps("t", 0), generation: 5}},
			map[string]int{"t": 1},
			assignment{"a": nil, "b": tps("t", 0)},
		},
		{
			"of two in one generation neither is believed, and one of them may have it: the other gives it up",
			[]groupMember{{id: "a", topics: []string{"t"}, owned: tps("t", 0), generation: 5}, {id: "b", topics: []string{"t"}, owned: tps("t", 0), generation: 5}},
			map[string]int{"t": 1},
			assignment{"a": tps("t", 0), "b": nil},
		},
		{
			"topics that are wanted no longer, and partitions that are no longer there",
			[]groupMember{{id: "a", topics: []string{"u"}, owned: append(tps("t", 0), tps("u", 0, 7)...), generation: 5}, {id: "b", topics: both, generation: 5}},
			map[string]int{"t": 1, "u": 1},
			assignment{"a": tps("u", 0), "b": nil},
		},
		{
			"what only one wants",
			[]groupMember{{id: "a", topics: both, generation: -1}, {id: "b", topics: []string{"t"}, generation: -1}},
			map[string]int{"t": 2, "u": 2},
			assignment{"a": tps("u", 0, 1), "b": tps("t", 0, 1)},
		},
		{
			"through a third one", // c is to get something, and takes it from b, which takes it from a
			[]groupMember{
				{id: "a", topics: []string{"t"}, owned: tps("t", 0, 1, 2), generation: 1},
				{id: "b", topics: both, owned: tps("u", 0), generation: 1},
				{id: "c", topics: []string{"u"}, generation: 1},
			},
			map[string]int{"t": 3, "u": 1},
			assignment{"a": tps("t", 0, 1), "b": nil, "c": nil}, // both move in the next generation
		},
		{"no partitions", []groupMember{{id: "a", topics: both, generation: -1}, {id: "b"}}, nil, assignment{"a": nil, "b": nil}},
		{"no members", nil, map[string]int{"t": 1}, assignment{}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			assert.Equal(t, tc.want, assignSticky(tc.members, tc.partitions))
		})
	}
}

// world is a group that a test leads through generations.
type world struct {
	t          *testing.T
	rnd        *rand.Rand
	members    []groupMember
	partitions map[string]int
	generation int32
	next       int
}

func (w *world) owner() map[topicPartition]string {
	owner := map[topicPartition]string{}
	for _, m := range w.members {
		for _, tps := range m.owned {
			for _, p := range tps.partitions {
				tp := topicPartition{tps.topic, p}
				require.Empty(w.t, owner[tp], "%s has two owners", tp)
				owner[tp] = m.id
			}
		}
	}
	return owner
}

// step is one generation; true when a member found something missing and joins again.
func (w *world) step() bool {
	w.t.Helper()
	w.generation++
	before := w.owner()
	got := assignSticky(w.members, w.partitions)
	shuffled := slices.Clone(w.members)
	w.rnd.Shuffle(len(shuffled), func(i, j int) { shuffled[i], shuffled[j] = shuffled[j], shuffled[i] })
	require.Equal(w.t, got, assignSticky(shuffled, w.partitions), "the order of the members decides nothing")
	require.Len(w.t, got, len(w.members))
	again := false
	for i := range w.members {
		m := &w.members[i]
		has := map[topicPartition]bool{}
		for _, tps := range got[m.id] {
			require.Contains(w.t, m.topics, tps.topic)
			for _, p := range tps.partitions {
				tp := topicPartition{tps.topic, p}
				require.Less(w.t, int(p), w.partitions[tps.topic])
				require.False(w.t, has[tp])
				has[tp] = true
				require.Contains(w.t, []string{"", m.id}, before[tp], "%s is given to %s and held by %s", tp, m.id, before[tp])
			}
		}
		for tp, id := range before {
			again = again || id == m.id && !has[tp]
		}
		m.owned, m.generation = got[m.id], w.generation
	}
	return again
}

// settle has members join again as long as they find something missing; it returns in how many generations that was over.
func (w *world) settle() int {
	w.t.Helper()
	for n := 1; ; n++ {
		if !w.step() {
			return n
		}
		require.Less(w.t, n, 4, "it does not come to rest")
	}
}

// check looks at a group at rest: everything that anybody wants is somebody's, as evenly as can be.
func (w *world) check() {
	w.t.Helper()
	owner := w.owner()
	load := map[string]int{}
	for _, id := range owner {
		load[id]++
	}
	wants := map[string]map[string]bool{}
	for _, m := range w.members {
		wants[m.id] = map[string]bool{}
		for _, topic := range m.topics {
			wants[m.id][topic] = true
			for p := range int32(w.partitions[topic]) {
				assert.NotEmpty(w.t, owner[topicPartition{topic, p}])
			}
		}
	}
	for tp, id := range owner {
		for _, m := range w.members {
			if wants[m.id][tp.topic] {
				assert.LessOrEqual(w.t, load[id]-load[m.id], 1, "%s has %d, and %s, which could take %s, has %d", id, load[id], m.id, tp, load[m.id])
			}
		}
	}
}

func (w *world) join() {
	w.next++
	m := groupMember{id: "m" + strconv.Itoa(w.next), generation: -1}
	if w.rnd.IntN(3) == 0 {
		m.instance = "i" + strconv.Itoa(w.rnd.IntN(1_000_000))
	}
	w.members = append(w.members, m)
}

// Groups that grow, shrink and change what they want, over many generations.
func TestStickyHasEverythingOnceEvenlyAndComesToRest(t *testing.T) {
	t.Parallel()
	for seed := range uint64(200) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			t.Parallel()
			w := &world{t: t, rnd: rand.New(rand.NewPCG(seed, 1)), partitions: map[string]int{}}
			topics := []string{"a", "b", "c", "d"}
			subscribe := func(m *groupMember) {
				m.topics = slices.Clone(topics[:1+w.rnd.IntN(len(topics))])
				if seed%2 == 0 {
					m.topics = topics
				}
				w.rnd.Shuffle(len(m.topics), func(i, j int) {
					if seed%2 == 1 {
						m.topics[i], m.topics[j] = m.topics[j], m.topics[i]
					}
				})
			}
			for _, topic := range topics {
				w.partitions[topic] = w.rnd.IntN(9)
			}
			for range 15 {
				switch n := w.rnd.IntN(10); {
				case n < 4 || len(w.members) == 0:
					w.join()
					subscribe(&w.members[len(w.members)-1])
				case n < 7:
					i := w.rnd.IntN(len(w.members))
					w.members = slices.Delete(w.members, i, i+1)
				case n < 8:
					w.partitions[topics[w.rnd.IntN(len(topics))]] += 1 + w.rnd.IntN(3)
				case n < 9:
					w.partitions[topics[w.rnd.IntN(len(topics))]] /= 2
				default:
					subscribe(&w.members[w.rnd.IntN(len(w.members))])
				}
				assert.LessOrEqual(t, w.settle(), 3)
				if !t.Failed() {
					w.check()
				}
			}
		})
	}
}

func TestStickyMovesNoMoreThanItHasTo(t *testing.T) {
	t.Parallel()
	for members := 1; members <= 6; members++ {
		for partitions := range 20 {
			w := &world{t: t, rnd: rand.New(rand.NewPCG(1, 1)), partitions: map[string]int{"t": partitions}}
			add := func() {
				w.join()
				w.members[len(w.members)-1].topics = []string{"t"}
			}
			for range members {
				add()
			}
			w.settle()
			before := w.owner()
			w.settle()
			assert.Equal(t, before, w.owner(), "nothing happened, and nothing moves")

			add()
			w.settle()
			moved, newest := 0, w.members[len(w.members)-1].id
			for tp, id := range w.owner() {
				if before[tp] != id {
					moved++
					assert.Equal(t, newest, id, "only the new one gets anything")
				}
			}
			assert.Equal(t, partitions/(members+1), moved, "%d members, %d partitions", members, partitions)

			before = w.owner()
			left := w.members[0].id
			w.members = w.members[1:]
			assert.Equal(t, 1, w.settle(), "what nobody holds is there at once")
			for tp, id := range w.owner() {
				if before[tp] != left {
					assert.Equal(t, before[tp], id, "those that stay keep what they have")
				}
			}
		}
	}
}

func TestBalancers(t *testing.T) {
	t.Parallel()
	base := func(bs ...Balancer) *Params { return &Params{Balancers: bs} }
	for _, tc := range []struct {
		name        string
		give        []Balancer
		cooperative bool
		bad         string
	}{
		{"the default lets everybody in, and so keeps nothing", nil, false, ""},
		{"cooperative", []Balancer{CooperativeSticky}, true, ""},
		{"range", []Balancer{Range}, false, ""},
		{"both", []Balancer{Range, CooperativeSticky}, false, ""},
		{"unknown", []Balancer{7}, false, "unknown balancer 7"},
		{"zero", []Balancer{0}, false, "unknown balancer 0"},
		{"twice", []Balancer{Range, Range}, false, "named twice"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			p := base(tc.give...)
			err := p.completeBalancers()
			if tc.bad != "" {
				require.ErrorContains(t, err, tc.bad)
				return
			}
			require.NoError(t, err)
			assert.Equal(t, tc.cooperative, p.cooperative())
			for _, b := range p.Balancers {
				got, ok := p.balancer(b.String())
				assert.True(t, ok)
				assert.Equal(t, b, got)
			}
			_, ok := p.balancer("roundrobin")
			assert.False(t, ok)
		})
	}
}

// The generation stands where Kafka's own CooperativeStickyAssignor looks for it: first in the field, then in four bytes of user data.
func TestTheGenerationOfWhatIsOwned(t *testing.T) {
	t.Parallel()
	m := newMember(&Params{Topics: []string{"t"}, Balancers: []Balancer{CooperativeSticky, Range}}, nil)
	offers := m.offers(&held{owned: []topicPartitions{{"t", []int32{3}}}, generation: 7})
	require.Len(t, offers, 2)
	assert.Equal(t, "cooperative-sticky", offers[0].name)
	assert.Equal(t, []byte{
		0, 2, 0, 0, 0, 1, 0, 1, 't', // version 2, topics
		0, 0, 0, 4, 0, 0, 0, 7, // user data
		0, 0, 0, 1, 0, 1, 't', 0, 0, 0, 1, 0, 0, 0, 3, // owned
		0, 0, 0, 7, // generation
	}, offers[0].metadata)
	sub, err := decodeSubscription(offers[0].metadata)
	require.NoError(t, err)
	assert.EqualValues(t, 7, CooperativeSticky.generation(sub))
	assert.EqualValues(t, 9, CooperativeSticky.generation(&subscription{generation: -1, userData: []byte{0, 0, 0, 9}}), "Kafka 2.4 to 3.4")
	assert.EqualValues(t, -1, CooperativeSticky.generation(&subscription{generation: -1, userData: []byte{0, 0, 9}}))
	assert.EqualValues(t, -1, Range.generation(&subscription{generation: -1, userData: []byte{0, 0, 0, 9}}))

	m.renewed = 1
	again := m.offers(nil)
	m.renewed = 2
	for i, o := range m.offers(nil) {
		assert.NotEqual(t, again[i].metadata, o.metadata, "a broker must see that the subscription is another one")
	}
}

func BenchmarkAssignSticky(b *testing.B) {
	members := make([]groupMember, 100)
	for i := range members {
		members[i] = groupMember{id: strconv.Itoa(i), topics: []string{"a", "b", "c", "d", "e"}, generation: 1}
	}
	partitions := map[string]int{"a": 500, "b": 500, "c": 500, "d": 500, "e": 500}
	for id, tps := range assignSticky(members[:90], partitions) {
		i, _ := strconv.Atoi(id)
		members[i].owned = tps
	}
	for b.Loop() {
		assignSticky(members, partitions)
	}
}
