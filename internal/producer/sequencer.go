package producer

import (
	"math"
	"slices"

	"github.com/expensevault/sharedlibrary/internal/kerr"
	"github.com/expensevault/sharedlibrary/internal/recordbatch"
)

// stamp is what tells a broker one batch from another.
type stamp struct {
	id    int64
	epoch int16
	seq   int32
}

// outcome is what an answer means for its batch.
type outcome uint8

const (
	outDone    outcome = iota // it is in the log
	outAgain                  // it stays in the window, to be sent again or given back
	outSplit                  // likewise, but in parts: one of its records may be to blame
	outRefused                // it will not be accepted, and has left the window
)

// sequencer numbers the batches of one partition, says which of them may be
// sent, and what their answers mean. It is pure: no clock, lock, channel or I/O,
// so that every course of events can be written down as a test; see testdata.
//
// The window holds the batches that are numbered and not settled, in the order
// of their sequences; a broker remembers five. Where one of them is not
// accepted, nothing more is sent until nothing is in flight (drain), for only
// then is it known what became of its successors: see drained.
//
// Until the first batch is acknowledged after a drain, or by a new leader, one
// batch is in flight at a time: a log without a state for the producer takes any first
// sequence, so that the second of two batches could get in where the first was refused.
//
// Epochs are raised per partition: brokers keep a producer's state by
// partition, and take epoch+1 with sequence 0 without being asked first.
type sequencer[B comparable] struct {
	idempotent bool
	limit      int // batches in flight at most

	id     int64 // recordbatch.NoProducer until adopt
	epoch  int16
	next   int32 // sequence of the next batch
	raise  bool  // the next batch begins an epoch; not before the window is empty
	window []slot[B]
	flying int
	proven bool // a batch of this era is acknowledged
	era    int  // rises with every drain and every new leader
	drain  bool

	// What has gone wrong since the last drain. The slots behind it are beyond.
	cut   int32 // sequence of the first batch that is certainly missing; -1: none
	torn  bool  // a batch of unknown fate is missing
	reset bool  // the broker's state is not ours, or a sequence is used up: the epoch must be raised
}

// slot is one batch of the window.
type slot[B comparable] struct {
	batch  B
	n      int32
	stamp  stamp
	era    int // in which it was sent
	flying bool
	maybe  bool // it may stand in the log; from the moment at which it is sent
	before bool // maybe as it was before the try under way
	beyond bool // its sequence follows one that is missing
	sure   bool // it stands in the log: a later one does
}

func newSequencer[B comparable](idempotent bool, limit int) sequencer[B] {
	return sequencer[B]{idempotent: idempotent, limit: limit, id: recordbatch.NoProducer, cut: -1}
}

// needsID reports whether a fresh producer ID must be adopted before the next
// batch: at the very beginning, and when the epochs are used up.
func (s *sequencer[B]) needsID() bool {
	return s.idempotent && (s.id == recordbatch.NoProducer || s.raise && s.epoch == math.MaxInt16)
}

// adopt takes a producer ID that no batch of this partition has used.
func (s *sequencer[B]) adopt(id int64, epoch int16) {
	s.id, s.epoch, s.next, s.raise = id, epoch, 0, false
}

// moved takes that another broker leads the partition now: what it knows must be found out.
func (s *sequencer[B]) moved() { s.begin() }

func (s *sequencer[B]) begin() {
	s.proven = false
	s.era++
}

// open reports whether one more batch may be in flight.
func (s *sequencer[B]) open() bool {
	limit := 1
	if s.proven {
		limit = s.limit
	}
	return !s.drain && s.flying < limit
}

// mayAdd reports whether a new batch may be numbered and sent.
func (s *sequencer[B]) mayAdd() bool {
	return s.open() && s.flying == len(s.window) && (!s.raise || len(s.window) == 0) && !s.needsID()
}

// add numbers a new batch of n records.
func (s *sequencer[B]) add(b B, n int32) stamp {
	st := stamp{recordbatch.NoProducer, recordbatch.NoProducer, recordbatch.NoProducer}
	if s.idempotent {
		if s.raise {
			s.epoch++
			s.next, s.raise = 0, false
		}
		st = stamp{s.id, s.epoch, s.next}
		s.next = plus(s.next, n)
	}
	s.window = append(s.window, slot[B]{batch: b, n: n, stamp: st})
	return st
}

// again returns the next batch that must be sent again, if one may be sent now.
func (s *sequencer[B]) again() (b B, ok bool) {
	if s.open() {
		for i := range s.window {
			if !s.window[i].flying {
				return s.window[i].batch, true
			}
		}
	}
	return b, false
}

// sent comes before the write: from now on the batch may stand in the log.
func (s *sequencer[B]) sent(b B) {
	sl := s.slot(b)
	sl.flying, sl.before, sl.maybe, sl.era = true, sl.maybe, true, s.era
	s.flying++
}

// unsent takes sent back: nothing of the request has left.
func (s *sequencer[B]) unsent(b B) {
	sl := s.landed(b)
	sl.maybe = sl.before
	s.drain = true
}

// silent takes that no answer will come.
func (s *sequencer[B]) silent(b B) {
	s.landed(b)
	s.drain = true
}

// answered takes the broker's answer to a batch. For outRefused, maybe says that it may stand in the log.
func (s *sequencer[B]) answered(b B, code kerr.Code, splits bool) (out outcome, maybe bool) {
	sl := s.landed(b)
	i := s.index(b)
	v := kerr.OfProduce(code)
	if !v.Possibly && v.Verdict != kerr.Done {
		sl.maybe = sl.before // this try wrote nothing
	}
	switch v.Verdict {
	case kerr.Done:
		s.reset = s.reset || sl.beyond
		s.proven = s.proven || sl.era == s.era
		for j := range i {
			s.window[j].sure = true
		}
		s.remove(i)
		return outDone, false
	case kerr.Retry:
		s.drain = true
		return outAgain, false
	case kerr.Sequence:
		// Behind a batch that is not acknowledged it says nothing new. Otherwise the
		// broker's state is gone, or not ours, and nothing from here on is in the log: had an
		// earlier try been appended, the broker would call this one a duplicate.
		s.drain = true
		if i == 0 && !sl.beyond {
			s.reset = true
			s.markBeyond(0)
		}
		return outAgain, false
	case kerr.Fail:
	}
	s.drain = true
	maybe = sl.maybe
	switch {
	case maybe:
		s.torn, s.reset = true, true
	case !sl.beyond:
		s.cut = sl.stamp.seq
	}
	s.markBeyond(i)
	if splits && !maybe && sl.n > 1 {
		return outSplit, false
	}
	s.remove(i)
	return outRefused, maybe
}

// drained decides, once nothing is in flight, about what is left in the window.
// alone reports whether nobody waits for a batch any more.
//
// Whatever is certainly not in the log is given back, oldest first, to be numbered
// anew; what may be in the log keeps its number and its bytes, and is sent again.
// lost are batches whose fate can't be found out any more: behind a gap of
// unknown nature, or with nobody left who would wait for it.
func (s *sequencer[B]) drained(alone func(B) bool) (back, lost []slot[B]) {
	if s.flying > 0 || !s.drain && !s.waiting() {
		return nil, nil
	}
	s.begin()
	s.drain = false
	keep := s.window
	if i := slices.IndexFunc(keep, func(sl slot[B]) bool { return sl.beyond }); i >= 0 {
		for _, sl := range keep[i:] {
			if sl.maybe && s.torn {
				lost = append(lost, sl)
				continue
			}
			s.reset = s.reset || sl.maybe
			back = append(back, sl)
		}
		keep = keep[:i]
	}
	if s.cut >= 0 {
		s.next = s.cut
	}
	for len(keep) > 0 && !keep[len(keep)-1].maybe {
		sl := keep[len(keep)-1]
		keep = keep[:len(keep)-1]
		back = slices.Insert(back, 0, sl)
		if s.next = sl.stamp.seq; !s.idempotent {
			s.next = 0
		}
	}
	if !slices.ContainsFunc(keep, func(sl slot[B]) bool { return !alone(sl.batch) }) {
		for _, sl := range keep {
			lost = append(lost, sl)
			s.reset = s.reset || !sl.sure
		}
		keep = keep[:0]
	}
	clear(s.window[len(keep):])
	s.window = keep
	s.raise = s.raise || s.reset && s.idempotent
	s.cut, s.torn, s.reset = -1, false, false
	return back, lost
}

// waiting reports whether the window has batches that are not in flight.
func (s *sequencer[B]) waiting() bool { return len(s.window) > s.flying }

func (s *sequencer[B]) index(b B) int {
	return slices.IndexFunc(s.window, func(sl slot[B]) bool { return sl.batch == b })
}

func (s *sequencer[B]) slot(b B) *slot[B] { return &s.window[s.index(b)] }

func (s *sequencer[B]) landed(b B) *slot[B] {
	sl := s.slot(b)
	sl.flying = false
	s.flying--
	return sl
}

func (s *sequencer[B]) remove(i int) { s.window = slices.Delete(s.window, i, i+1) }

func (s *sequencer[B]) markBeyond(i int) {
	for ; i < len(s.window); i++ {
		s.window[i].beyond = true
	}
}

// plus wraps behind 2^31-1 to 0, as the brokers do.
func plus(seq, n int32) int32 { return int32((int64(seq) + int64(n)) & math.MaxInt32) }
