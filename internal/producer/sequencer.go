package producer

import (
	"math"

	"github.com/expensevault/sharedlibrary/internal/kerr"
	"github.com/expensevault/sharedlibrary/internal/recordbatch"
)

// stamp is what tells a broker one batch from another.
type stamp struct {
	id    int64
	epoch int16
	seq   int32
}

// action is what to do about a batch after its answer.
type action uint8

const (
	actDone    action = iota // it is in the log
	actAgain                 // the same bytes again
	actRestamp               // the same records with a new stamp
	actFail                  // it will not be accepted
)

// sequencer numbers the batches of one partition. It is pure: no clock, lock,
// channel or I/O, so every course of events can be written down as a test.
//
// Epochs are raised per partition: brokers keep a producer's state by
// partition, and take epoch+1 with sequence 0 without being asked first.
type sequencer struct {
	id    int64 // recordbatch.NoProducer until adopt
	epoch int16
	next  int32 // sequence of the first record that is not settled
	gap   bool  // a batch was given up whose fate is unknown: no sequence can be trusted any more
}

func newSequencer() sequencer { return sequencer{id: recordbatch.NoProducer} }

// needsID reports whether a fresh producer ID must be adopted before the next
// stamp: at the very beginning, and when the epochs are used up.
func (s *sequencer) needsID() bool {
	return s.id == recordbatch.NoProducer || s.gap && s.epoch == math.MaxInt16
}

// adopt takes a producer ID that no batch of this partition has used.
func (s *sequencer) adopt(id int64, epoch int16) { *s = sequencer{id: id, epoch: epoch} }

// stamp returns the stamp of the next batch. It must not be called while needsID.
func (s *sequencer) stamp() stamp {
	if s.gap {
		s.epoch++
		s.next, s.gap = 0, false
	}
	return stamp{s.id, s.epoch, s.next}
}

// answered takes the broker's answer to the oldest batch, of n records. before
// says that an earlier try of it may have been written.
func (s *sequencer) answered(n int32, code kerr.Code, before bool) (action, kerr.Produced) {
	v := kerr.OfProduce(code)
	switch v.Verdict {
	case kerr.Done:
		s.advance(n)
		return actDone, v
	case kerr.Retry:
		return actAgain, v
	case kerr.Sequence:
		// Nothing of ours is before this batch, so the broker's state is gone, or
		// not ours: a new epoch starts it afresh. Had an earlier try of these very
		// bytes been appended, the broker would call them a duplicate.
		s.gap = true
		return actRestamp, v
	case kerr.Fail:
	}
	s.dropped(v.Possibly || before)
	return actFail, v
}

// dropped takes that the oldest batch is not sent again. If it may have been
// written, its sequence may be used up or not: only a new epoch is certain.
func (s *sequencer) dropped(maybeWritten bool) {
	if maybeWritten {
		s.gap = true
	}
}

// advance wraps behind 2^31-1 to 0, as the brokers do.
func (s *sequencer) advance(n int32) {
	s.next = int32((int64(s.next) + int64(n)) & math.MaxInt32)
}
