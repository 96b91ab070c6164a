package lane

// Range is the offsets from From up to, and without, To.
type Range struct{ From, To int64 }

// Mark knows which of the offsets that were added are finished. The lowest that
// is not is the watermark. It takes 8 bytes for each offset between that and the highest.
type Mark struct {
	next   int64 // everything below was added, or is not there
	first  int
	count  int
	slots  []int64 // a ring; offset<<1, and 1 when finished. Its length is a power of two
	epochs []epochFrom
}

// epochFrom is the leader epoch of the records from an offset on.
type epochFrom struct {
	offset int64
	epoch  int32
}

const leastSlots, mostSlotsKept = 64, 1 << 13

// reset begins at an offset: everything below is finished.
func (m *Mark) reset(next int64) {
	*m = Mark{next: next, first: m.first, count: 0, slots: m.slots, epochs: nil}
}

// add takes an offset, which is greater than those before, and returns what finish wants.
func (m *Mark) add(offset int64, epoch int32) int {
	if m.count == len(m.slots) {
		grown := make([]int64, max(leastSlots, 2*len(m.slots)))
		for i := range m.count {
			grown[(m.first+i)&(len(grown)-1)] = *m.slot(m.first + i)
		}
		m.slots = grown
	}
	if n := len(m.epochs); n == 0 || m.epochs[n-1].epoch != epoch {
		m.epochs = append(m.epochs, epochFrom{offset, epoch})
	}
	seq := m.first + m.count
	m.count++
	*m.slot(seq) = offset << 1
	m.next = offset + 1
	return seq
}

func (m *Mark) slot(seq int) *int64 { return &m.slots[seq&(len(m.slots)-1)] }

// skip notes that nothing is to come below next.
func (m *Mark) skip(next int64) { m.next = max(m.next, next) }

func (m *Mark) finish(seq int) {
	*m.slot(seq) |= 1
	for m.count > 0 && *m.slot(m.first)&1 == 1 {
		m.first++
		m.count--
	}
	if m.count == 0 && len(m.slots) > mostSlotsKept {
		m.slots = nil
	}
	for len(m.epochs) > 1 && m.epochs[1].offset < m.position() {
		m.epochs = m.epochs[1:]
	}
}

// position is the watermark: the lowest offset that is not finished; the next one to come when all are.
func (m *Mark) position() int64 {
	if m.count == 0 {
		return m.next
	}
	return *m.slot(m.first) >> 1
}

// epoch is the leader epoch of the last record below the watermark; -1: not known.
func (m *Mark) epoch() int32 {
	if len(m.epochs) == 0 || m.epochs[0].offset >= m.position() {
		return -1
	}
	return m.epochs[0].epoch
}

// above is what is finished above the watermark, at most limit ranges of it.
func (m *Mark) above(limit int) []Range {
	var rs []Range
	in := false
	for i := range m.count {
		v := *m.slot(m.first + i)
		switch finished := v&1 == 1; {
		case finished && !in:
			if len(rs) == limit {
				return rs
			}
			rs = append(rs, Range{From: v >> 1, To: m.next})
			in = true
		case !finished && in:
			rs[len(rs)-1].To = v >> 1 // what lies between is not there
			in = false
		}
	}
	return rs
}
