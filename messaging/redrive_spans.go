package messaging

import (
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// spans are the offsets of a partition that are done: all below base, and some spans above it.
type spans struct {
	base  int64
	above []span // sorted, apart from each other and from base
}

// span is a range of offsets, without to.
type span struct{ from, to int64 }

func (s *spans) has(offset int64) bool {
	if offset < s.base {
		return true
	}
	_, found := slices.BinarySearchFunc(s.above, offset, func(sp span, o int64) int {
		switch {
		case sp.to <= o:
			return -1
		case sp.from > o:
			return 1
		}
		return 0
	})
	return found
}

// add makes a range done.
func (s *spans) add(from, to int64) {
	if from >= to {
		return
	}
	s.above = append(s.above, span{from, to})
	slices.SortFunc(s.above, func(a, b span) int {
		switch {
		case a.from < b.from:
			return -1
		case a.from > b.from:
			return 1
		}
		return 0
	})
	all := s.above
	s.above = all[:0]
	for _, sp := range all {
		if n := len(s.above); n > 0 && sp.from <= s.above[n-1].to {
			s.above[n-1].to = max(s.above[n-1].to, sp.to)
			continue
		}
		s.above = append(s.above, sp)
	}
	for len(s.above) > 0 && s.above[0].from <= s.base {
		s.base = max(s.base, s.above[0].to)
		s.above = slices.Delete(s.above, 0, 1)
	}
}

const (
	spansPrefix = "redriven:"
	// mostSpanBytes keeps below offset.metadata.max.bytes of brokers, 4096 by default.
	mostSpanBytes = 4000
)

// metadata is the spans above base as a commit's metadata: gaps and lengths in turn.
func (s *spans) metadata() (string, error) {
	if len(s.above) == 0 {
		return "", nil
	}
	var b []byte
	at := s.base
	for _, sp := range s.above {
		b = binary.AppendUvarint(b, uint64(sp.from-at))    //nolint:gosec // spans ascend
		b = binary.AppendUvarint(b, uint64(sp.to-sp.from)) //nolint:gosec // spans ascend
		at = sp.to
	}
	m := spansPrefix + base64.RawStdEncoding.EncodeToString(b)
	if len(m) > mostSpanBytes {
		return "", fmt.Errorf("the letters that were redriven lie scattered among %d that were not, more than can be remembered: "+
			"redrive those as well, by a wider filter, or pass over them with SeekGroup", len(s.above))
	}
	return m, nil
}

// parseSpans reads what metadata wrote.
func parseSpans(base int64, metadata string) (spans, error) {
	s := spans{base: base}
	if metadata == "" {
		return s, nil
	}
	text, ok := strings.CutPrefix(metadata, spansPrefix)
	if !ok {
		return s, fmt.Errorf("%.20q does not begin with %q", metadata, spansPrefix)
	}
	b, err := base64.RawStdEncoding.DecodeString(text)
	if err != nil {
		return s, err
	}
	at := base
	for len(b) > 0 {
		gap, n := binary.Uvarint(b)
		length, m := binary.Uvarint(b[max(n, 0):])
		if n <= 0 || m <= 0 || gap > 1<<62 || length > 1<<62 || at+int64(gap)+int64(length) < at {
			return s, errors.New("its numbers are damaged")
		}
		b = b[n+m:]
		from := at + int64(gap)
		at = from + int64(length)
		s.add(from, at)
	}
	return s, nil
}
