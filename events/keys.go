package events

import (
	"encoding/json"
	"fmt"
	"unicode"
	"unicode/utf8"
)

// checkKeys refuses an object whose top level has two keys that encoding/json
// would store in the same field. Syntax errors are left to encoding/json, which
// checks the whole before it stores anything.
func checkKeys(data []byte) error {
	var (
		seen      keySet
		depth     int
		expectKey bool
	)
	for i := 0; i < len(data); i++ {
		switch data[i] {
		case '{', '[':
			depth++
			expectKey = depth == 1
		case '}', ']':
			if depth--; depth == 0 {
				return nil // what follows is for encoding/json to refuse
			}
		case ',':
			expectKey = depth == 1
		case '"':
			end, escaped := stringEnd(data, i+1)
			if end < 0 {
				return nil
			}
			if expectKey {
				if !seen.add(data[i:end+1], escaped) {
					return fmt.Errorf("the body has the field %s more than once (letter case does not tell fields apart)",
						abbreviate(string(data[i:end+1])))
				}
				expectKey = false
			}
			i = end
		}
	}
	return nil
}

// stringEnd returns the index of the quote that ends the string whose content
// begins at i, or -1.
func stringEnd(data []byte, i int) (end int, escaped bool) {
	for ; i < len(data); i++ {
		switch data[i] {
		case '"':
			return i, escaped
		case '\\':
			escaped = true
			i++
		}
	}
	return -1, escaped
}

// appendFolded appends the quoted key in a form in which keys are equal when
// encoding/json takes them for the same field.
func appendFolded(dst, quoted []byte, escaped bool) []byte {
	key := quoted[1 : len(quoted)-1]
	if escaped {
		var s string
		if json.Unmarshal(quoted, &s) == nil {
			key = []byte(s)
		}
	}
	for i := 0; i < len(key); {
		if c := key[i]; c < utf8.RuneSelf {
			if 'A' <= c && c <= 'Z' {
				c += 'a' - 'A'
			}
			dst = append(dst, c)
			i++
			continue
		}
		r, n := utf8.DecodeRune(key[i:])
		dst = utf8.AppendRune(dst, foldRune(r))
		i += n
	}
	return dst
}

// foldRune returns one rune for all that differ in case only: an ASCII letter
// in lower case (the Kelvin sign is a k, the long s an s), else the smallest.
func foldRune(r rune) rune {
	least := r
	for next := unicode.SimpleFold(r); next != r; next = unicode.SimpleFold(next) {
		if 'a' <= next && next <= 'z' {
			return next
		}
		least = min(least, next)
	}
	return least
}

// keySet holds the folded keys of an object: as a list in place while they are
// few and short, which costs no allocation, and in a map beyond, so that a body
// of a hundred thousand keys is not compared pair by pair.
type keySet struct {
	buf  [512]byte
	ends [32]int // of each key in buf
	n    int     // keys in buf
	more map[string]struct{}
}

// add reports whether the quoted key is new.
func (s *keySet) add(quoted []byte, escaped bool) bool {
	start := 0
	if s.n > 0 {
		start = s.ends[s.n-1]
	}
	key := appendFolded(s.buf[start:start], quoted, escaped) // in place where there is room
	from := 0
	for _, end := range s.ends[:s.n] {
		if string(s.buf[from:end]) == string(key) {
			return false
		}
		from = end
	}
	if s.n < len(s.ends) && len(key) <= len(s.buf)-start {
		s.ends[s.n] = start + len(key)
		s.n++
		return true
	}
	if _, dup := s.more[string(key)]; dup {
		return false
	}
	if s.more == nil {
		s.more = make(map[string]struct{})
	}
	s.more[string(key)] = struct{}{}
	return true
}
