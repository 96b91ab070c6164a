package recordbatch

import "sync"

// The sizes that a Pool keeps: 4 KiB, and four times as much from one to the next, to 4 MiB.
const (
	smallestShift = 12
	classes       = 6
)

// Pool keeps the memory of batches for their successors. Its zero value is
// ready, and safe for concurrent use; a nil one makes everything anew.
type Pool struct{ class [classes]sync.Pool }

// Get returns an empty slice with room for n bytes at least.
func (p *Pool) Get(n int) []byte {
	c := classOf(n)
	if c == classes {
		return make([]byte, 0, n)
	}
	if p != nil {
		if b, ok := p.class[c].Get().(*[]byte); ok {
			return (*b)[:0]
		}
	}
	return make([]byte, 0, 1<<(smallestShift+2*c))
}

// Put takes memory that nobody uses any more.
func (p *Pool) Put(b []byte) {
	if c := classOf(cap(b)); p != nil && c < classes && cap(b) == 1<<(smallestShift+2*c) {
		p.class[c].Put(&b)
	}
}

// classOf is the smallest class with room for n bytes; classes when there is none.
func classOf(n int) int {
	c := 0
	for c < classes && n > 1<<(smallestShift+2*c) {
		c++
	}
	return c
}
