package lane

import (
	"encoding/base64"
	"encoding/binary"
	"math"
	"strings"
)

// abovePrefix marks a text of EncodeAbove, and its version.
const abovePrefix = "lanes1:"

// MostRanges is how many ranges a text can have: each takes 2 bytes at least.
const MostRanges = math.MaxInt16 / 2

// EncodeAbove writes what is finished above a watermark as a text of at most
// limit bytes, for the metadata of a committed offset. Ranges that find no room
// are left out, the highest first: they are handled again after a crash, no more. Empty when there are none.
//
// Behind "lanes1:" stands, in unpadded base64, as unsigned varints: the
// watermark, and per range its distance from what came before and its length.
func EncodeAbove(position int64, above []Range, limit int) string {
	room := (limit - len(abovePrefix)) / 4 * 3
	if len(above) == 0 || position < 0 {
		return ""
	}
	b := binary.AppendUvarint(nil, uint64(position))
	bare, last := len(b), position
	for _, r := range above {
		n := len(b)
		b = binary.AppendUvarint(b, uint64(r.From-last)) //nolint:gosec // in order
		b = binary.AppendUvarint(b, uint64(r.To-r.From)) //nolint:gosec // not empty
		if len(b) > room {
			b = b[:n]
			break
		}
		last = r.To
	}
	if len(b) == bare {
		return ""
	}
	return abovePrefix + base64.RawStdEncoding.EncodeToString(b)
}

// DecodeAbove reads the text that belongs to a position. Nil for any other
// text: another client's, one that does not follow the form, or one of another position.
func DecodeAbove(position int64, text string) []Range {
	text, ours := strings.CutPrefix(text, abovePrefix)
	if !ours {
		return nil
	}
	b, err := base64.RawStdEncoding.DecodeString(text)
	if err != nil {
		return nil
	}
	next := func() (int64, bool) {
		v, n := binary.Uvarint(b)
		if n <= 0 || v > math.MaxInt64 {
			return 0, false
		}
		b = b[n:]
		return int64(v), true
	}
	if p, ok := next(); !ok || p != position {
		return nil
	}
	var rs []Range
	last := position
	for len(b) > 0 {
		gap, ok := next()
		size, ok2 := next()
		if !ok || !ok2 || gap == 0 || size == 0 || gap > math.MaxInt64-last || size > math.MaxInt64-last-gap {
			return nil
		}
		rs = append(rs, Range{From: last + gap, To: last + gap + size})
		last += gap + size
	}
	return rs
}
