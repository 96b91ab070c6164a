package events

import (
	"encoding/json"
	"errors"
	"fmt"
	"unicode"
	"unicode/utf8"
)

// checkKeys refuses data that is not an object, or whose top level has two keys
// that encoding/json would store in the same field. Syntax errors beyond that
// are left to encoding/json, which reads the whole before it stores anything.
func checkKeys(data []byte) error {
	var (
		seen      keySet
		scratch   [512]byte
		fold      = scratch[:0]
		depth     int
		expectKey bool
	)
	for i := 0; i < len(data); i++ {
		switch c := data[i]; c {
		case ' ', '\t', '\r', '\n':
		case '{', '[':
			if depth == 0 && c == '[' {
				return errors.New("the body is not a JSON object")
			}
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
				start := len(fold)
				fold = appendFolded(fold, data[i:end+1], escaped)
				if !seen.add(fold[start:len(fold):len(fold)]) {
					return fmt.Errorf("the body has the field %s more than once (letter case does not tell fields apart)",
						abbreviate(string(data[i:end+1])))
				}
				expectKey = false
			}
			i = end
		default:
			if depth == 0 {
				return errors.New("the body is not a JSON object")
			}
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

// keySet is a list while it is short, which costs no memory, and a map beyond,
// so that a body of a hundred thousand keys is not compared pair by pair.
type keySet struct {
	list [32][]byte
	n    int
	more map[string]struct{}
}

// add reports whether the key is new. It keeps the key.
func (s *keySet) add(key []byte) bool {
	for _, k := range s.list[:s.n] {
		if string(k) == string(key) {
			return false
		}
	}
	if s.n < len(s.list) {
		s.list[s.n] = key
		s.n++
		return true
	}
	if s.more == nil {
		s.more = make(map[string]struct{})
	}
	if _, dup := s.more[string(key)]; dup {
		return false
	}
	s.more[string(key)] = struct{}{}
	return true
}
