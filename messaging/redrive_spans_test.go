package messaging

import (
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestSpansAgainstASet adds ranges at random and compares with a plain set, through metadata and back.
func TestSpansAgainstASet(t *testing.T) {
	t.Parallel()
	for seed := range uint64(50) {
		rnd := rand.New(rand.NewPCG(seed, 1))
		s, set := spans{base: 10}, map[int64]bool{}
		for range 40 {
			from := rnd.Int64N(200)
			to := from + rnd.Int64N(6)
			s.add(from, to)
			for o := from; o < to; o++ {
				set[o] = true
			}
		}
		m, err := s.metadata()
		require.NoError(t, err)
		again, err := parseSpans(s.base, m)
		require.NoError(t, err)
		require.Equal(t, s.base, again.base)
		for o := range int64(220) {
			want := o < 10 || set[o]
			require.Equal(t, want, s.has(o), "offset %d of seed %d", o, seed)
			require.Equal(t, want, again.has(o), "offset %d of seed %d", o, seed)
		}
		require.False(t, set[s.base], "the base is the first that is missing")
	}
}

func TestSpansThatAreTooMany(t *testing.T) {
	t.Parallel()
	var s spans
	for o := int64(1); o < 100_000; o += 2 {
		s.above = append(s.above, span{o, o + 1})
	}
	_, err := s.metadata()
	require.ErrorContains(t, err, "by a wider filter")
	s.above = s.above[:1400]
	m, err := s.metadata()
	require.NoError(t, err)
	assert.Less(t, len(m), 4096)
}

func TestForeignMetadataIsRefused(t *testing.T) {
	t.Parallel()
	for _, m := range []string{"x", "redriven:?", "redriven:/w", "redriven:gICAgICAgICAgAE", "redriven:AQ"} {
		_, err := parseSpans(5, m)
		require.Error(t, err, m)
	}
}
