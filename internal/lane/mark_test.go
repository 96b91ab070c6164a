package lane

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestMarkOfGaps(t *testing.T) {
	t.Parallel()
	var m Mark
	m.reset(5)
	assert.EqualValues(t, 5, m.position())
	assert.EqualValues(t, -1, m.epoch())
	a := m.add(7, 3) // 5 and 6 were compacted away
	assert.EqualValues(t, 7, m.position())
	assert.EqualValues(t, -1, m.epoch(), "no record lies below")
	b := m.add(10, 4)
	m.skip(20)
	m.finish(b)
	assert.EqualValues(t, 7, m.position())
	assert.Equal(t, []Range{{10, 20}}, m.above(9))
	m.finish(a)
	assert.EqualValues(t, 20, m.position())
	assert.EqualValues(t, 4, m.epoch())
	assert.Empty(t, m.above(9))
	m.skip(3)
	assert.EqualValues(t, 20, m.position(), "never backwards")
	m.finish(m.add(20, 4))
	assert.EqualValues(t, 4, m.epoch())
	m.reset(-1)
	assert.EqualValues(t, -1, m.position())
	assert.EqualValues(t, -1, m.epoch())
}

// Against a map of everything.
func TestMarkAgainstAModel(t *testing.T) {
	t.Parallel()
	for seed := range uint64(8) {
		rnd := rand.New(rand.NewPCG(seed, 1))
		var m Mark
		m.reset(0)
		type added struct {
			offset int64
			epoch  int32
			seq    int
			done   bool
		}
		var all []*added
		next, epoch := int64(0), int32(0)
		for range 500 {
			if rnd.IntN(100) == 0 {
				epoch++
			}
			if rnd.IntN(2) == 0 {
				o := next + rnd.Int64N(3)
				next = o + 1
				all = append(all, &added{o, epoch, m.add(o, epoch), false})
			} else if open := slices.DeleteFunc(slices.Clone(all), func(a *added) bool { return a.done }); len(open) > 0 {
				a := open[rnd.IntN(min(len(open), 1+rnd.IntN(40)))]
				a.done = true
				m.finish(a.seq)
			}
			position, last := next, int32(-1)
			for _, a := range all {
				if !a.done {
					position = a.offset
					break
				}
				last = a.epoch
			}
			require.Equal(t, position, m.position())
			require.Equal(t, last, m.epoch())
			above := m.above(1 << 30)
			for _, a := range all {
				in := a.offset < position || slices.ContainsFunc(above, func(r Range) bool { return r.From <= a.offset && a.offset < r.To })
				require.Equal(t, a.done, in)
			}
			require.Equal(t, above, DecodeAbove(position, EncodeAbove(position, above, 1<<20)))
		}
	}
}

func TestAboveIsBounded(t *testing.T) {
	t.Parallel()
	var rs []Range
	for i := range int64(5000) {
		rs = append(rs, Range{1000 + 3*i, 1000 + 3*i + 2})
	}
	for limit := 0; limit < 4096; limit += 13 {
		text := EncodeAbove(1_000_000, nil, limit)
		assert.Empty(t, text)
		text = EncodeAbove(999, rs, limit)
		assert.LessOrEqual(t, len(text), limit)
		got := DecodeAbove(999, text)
		assert.Equal(t, rs[:len(got)], append([]Range{}, got...), "the lowest")
		assert.GreaterOrEqual(t, len(got), limit*3/8-12, "as many as find room")
	}
	assert.Len(t, EncodeAbove(999, rs, 4096), 4096-1)
}

func TestForeignMetadata(t *testing.T) {
	t.Parallel()
	good := EncodeAbove(100, []Range{{101, 102}, {110, 120}}, 4096)
	require.Equal(t, []Range{{101, 102}, {110, 120}}, DecodeAbove(100, good))
	body := strings.TrimPrefix(good, abovePrefix)
	for name, text := range map[string]string{
		"none":             "",
		"Streams":          "AQAAAZcV5JbN",
		"JSON":             `{"member":"x"}`,
		"another version":  "lanes2:" + body,
		"no base64":        abovePrefix + "!!!!",
		"empty":            abovePrefix,
		"cut in a pair":    good[:len(good)-2],
		"another offset":   EncodeAbove(99, []Range{{101, 102}}, 4096),
		"beyond the end":   abovePrefix + "ZP///////////38B",
		"an empty range":   abovePrefix + "ZAEA",
		"an endless":       abovePrefix + "ZP//////////////////",
		"begins at itself": abovePrefix + "ZAAB",
	} {
		assert.Nil(t, DecodeAbove(100, text), name)
	}
}

func FuzzDecodeAbove(f *testing.F) {
	f.Add(int64(100), EncodeAbove(100, []Range{{101, 102}, {110, 120}}, 4096))
	f.Add(int64(0), "lanes1:AAEB")
	f.Fuzz(func(t *testing.T, position int64, text string) {
		last := position
		for _, r := range DecodeAbove(position, text) {
			if r.From <= last || r.To <= r.From {
				t.Fatalf("%v after %d", r, last)
			}
			last = r.To
		}
	})
}
