package producer

// buffer bounds the bytes of what is not settled; guarded by the producer's mutex.
type buffer struct {
	limit   int
	used    int
	waiting []*waiter // first come, first served
}

type waiter struct {
	size  int
	ready chan struct{} // closed when the room is taken for it
}

// tryTake takes room at once. A record larger than the whole buffer fits when there is nothing else.
func (b *buffer) tryTake(size int) bool {
	if len(b.waiting) > 0 || !b.fits(size) {
		return false
	}
	b.used += size
	return true
}

func (b *buffer) fits(size int) bool { return b.used == 0 || b.used+size <= b.limit }

func (b *buffer) wait(size int) *waiter {
	w := &waiter{size: size, ready: make(chan struct{})}
	b.waiting = append(b.waiting, w)
	return w
}

// leave withdraws a waiter; false when its room was taken in the meantime.
func (b *buffer) leave(w *waiter) bool {
	for i, o := range b.waiting {
		if o == w {
			b.waiting = append(b.waiting[:i], b.waiting[i+1:]...)
			b.grant() // who stood behind a large record may fit
			return true
		}
	}
	return false
}

func (b *buffer) release(size int) {
	b.used -= size
	b.grant()
}

func (b *buffer) grant() {
	for len(b.waiting) > 0 && b.fits(b.waiting[0].size) {
		w := b.waiting[0]
		b.waiting = b.waiting[1:]
		b.used += w.size
		close(w.ready)
	}
}
