package main

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

// TestJudgeFindsWhatIsWrong: a soak whose judge sees nothing shows nothing.
func TestJudgeFindsWhatIsWrong(t *testing.T) {
	t.Parallel()
	w := &world{
		asked: map[string]byte{"a": 'c', "b": 'c', "c": 'r', "d": 'c', "e": 'c', "f": 'c'},
		told:  map[string]string{"a": "C", "b": "C", "c": "R", "d": "C", "e": "C"},
	}
	business := map[string]entry{"a": {"k", 1}, "b": {"k", 2}, "d": {"k", 3}, "e": {"k", 4}}
	var v verdict
	w.judge(&v, business, map[string][]string{"k": {"b", "a", "b", "c", "d"}}, map[string]int{"a": 1, "b": 2, "d": 1})
	assert.Equal(t, verdict{
		Asked: 6, Committed: 4, RolledBack: 1, Wrong: 1, // f was never answered
		InTopic: 5, Lost: 1, Doubled: 1, Reordered: 1, Never: 1, // e; b; a; c
		Effects: 2, NoEffect: 1, Twice: 1, // e; b
	}, v)
}
