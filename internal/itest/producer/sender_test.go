package producer_test

import (
	"context"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/expensevault/sharedlibrary/messaging"
)

// These are the stories of Kafka's own SenderTest and TransactionManagerTest about idempotent producers, told anew for this
// one: each test has the name of the one in https://github.com/apache/kafka, and says what must hold here. What Kafka's
// tests look up inside the client, these see in the requests on the wire and in the broker's log.

// The codes that the stories need.
const (
	unknownServerError   = -1
	corruptMessage       = 2
	unknownTopic         = 3
	leaderNotAvailable   = 5
	notLeader            = 6
	requestTimedOut      = 7
	messageTooLarge      = 10
	notEnoughReplicas    = 19
	notEnoughAfterAppend = 20
	topicNotAuthorized   = 29
	clusterNotAuthorized = 31
	outOfOrderSequence   = 45
	duplicateSequence    = 46
	invalidProducerEpoch = 47
	kafkaStorageError    = 56
	saslFailed           = 58
	unknownProducerID    = 59
	fencedLeaderEpoch    = 74
	invalidRecord        = 87
	answersTake          = 100 * time.Millisecond
	withinASecond        = time.Second
	aLittle              = 300 * time.Millisecond // how exact deadlines are
	shortDeadline        = 10 * time.Second
	pausesOf             = 50 * time.Millisecond // the first pause before another try, at most
)

// first has event 0 acknowledged, so that the gate is open: several batches may be under way.
func (w *world) first() {
	w.Helper()
	w.say(0)
	w.flush()
	w.acked(0)
}

// together asserts that so many requests were once under way at the same time.
func (w *world) together(n int) {
	w.Helper()
	most := 0
	rs := w.tap.requests()
	for _, r := range rs {
		open := 0
		for _, o := range rs {
			if !o.at.After(r.at) && (o.told.IsZero() || o.told.After(r.at)) {
				open++
			}
		}
		most = max(most, open)
	}
	require.GreaterOrEqual(w, most, n, "requests under way at the same time")
}

// sequential asserts that the batches that were written first number their events without a gap, within each epoch.
func (w *world) epochs(of ...int) []int16 {
	w.Helper()
	var out []int16
	for _, n := range of {
		out = append(out, w.lastTry(n).epoch)
	}
	return out
}

func shortly(c *messaging.Config) { c.MessageTimeout = shortDeadline }

func TestIdempotenceWithMultipleInflights(t *testing.T) {
	t.Parallel()
	inBubble(t, settings{}, func(w *world) {
		w.first()
		w.tap.do(slowly(func(*request) act { return act{} }))
		w.sayBig(1, 2, 3, 4, 5)
		w.together(5)
		w.sleep(answersTake)
		w.acked(1, 2, 3, 4, 5)
		w.sayBig(6, 7, 8, 9, 10, 11, 12)
		w.flush()
		w.stands(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12)
		for i, b := range shape(w.tap.requests()) {
			assert.EqualValues(w, i, b.seq)
			assert.Zero(w, b.epoch)
		}
		require.Len(w, w.tap.requests(), 13, "each once")
	})
}

// whatIsTriedAgain is all that lets a batch be tried again, as it is. The batch stands in the log already where stands.
func whatIsTriedAgain() map[string]act {
	return map[string]act{
		"UNKNOWN_TOPIC_OR_PARTITION":    {fate: refused, code: unknownTopic},
		"LEADER_NOT_AVAILABLE":          {fate: refused, code: leaderNotAvailable},
		"NOT_LEADER_OR_FOLLOWER":        {fate: refused, code: notLeader},
		"after the append, NOT_LEADER":  {fate: lied, code: notLeader},
		"REQUEST_TIMED_OUT":             {fate: refused, code: requestTimedOut},
		"after the append, TIMED_OUT":   {fate: lied, code: requestTimedOut},
		"NOT_ENOUGH_REPLICAS":           {fate: refused, code: notEnoughReplicas},
		"NOT_ENOUGH_AFTER_APPEND":       {fate: lied, code: notEnoughAfterAppend},
		"KAFKA_STORAGE_ERROR":           {fate: refused, code: kafkaStorageError},
		"after the append, STORAGE":     {fate: lied, code: kafkaStorageError},
		"FENCED_LEADER_EPOCH":           {fate: refused, code: fencedLeaderEpoch},
		"CORRUPT_MESSAGE":               {fate: refused, code: corruptMessage},
		"the request is cut":            {fate: halved, before: answersTake},
		"the request is lost":           {fate: dropped, before: answersTake},
		"the answer is lost":            {fate: lost},
		"the answer never comes":        {fate: muted},
		"the request comes to nothing":  {fate: vanishing},
		"the request is late, a zombie": {fate: undead, before: answersTake},
	}
}

func TestIdempotenceWithMultipleInflightsRetriedInOrder(t *testing.T) {
	t.Parallel()
	for name, a := range whatIsTriedAgain() {
		for which, victim := range map[string]int{"first": 1, "second": 2, "last": 5} {
			t.Run(name+", "+which, func(t *testing.T) {
				t.Parallel()
				inBubble(t, settings{}, func(w *world) {
					w.first()
					w.tap.do(slowly(onTry(victim, 1, a)))
					w.sayBig(1, 2, 3, 4, 5)
					if a.before == 0 {
						w.together(5)
					}
					w.flush()
					w.tap.release()
					w.sayBig(6)
					w.flush()
					w.stands(0, 1, 2, 3, 4, 5, 6)
					for n := range 7 {
						w.identical(n)
					}
					require.GreaterOrEqual(w, w.identical(victim), 2)
					require.Equal(w, make([]int16, 7), w.epochs(0, 1, 2, 3, 4, 5, 6), "no epoch is raised for it")
				})
			})
		}
	}
}

// TestRetriedInOrderFromTheBeginning: the partition has no state for the producer yet, so that it takes any sequence.
func TestRetriedInOrderFromTheBeginning(t *testing.T) {
	t.Parallel()
	for name, a := range whatIsTriedAgain() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inBubble(t, settings{}, func(w *world) {
				w.tap.do(slowly(onTry(1, 2, a)))
				w.sayBig(1, 2, 3)
				w.flush()
				w.tap.release()
				w.stands(1, 2, 3)
			})
		})
	}
}

func TestIdempotenceWithMultipleInflightsWhereFirstFailsFatallyAndSequenceOfFutureBatchesIsAdjusted(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		code  int16
		kind  error
		maybe bool
	}{
		"too large":      {messageTooLarge, messaging.ErrTooLarge, false},
		"not authorized": {topicNotAuthorized, messaging.ErrNotAuthorized, false},
		"invalid record": {invalidRecord, nil, false},
		"unknown":        {unknownServerError, nil, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inBubble(t, settings{}, func(w *world) {
				w.first()
				w.tap.do(slowly(onTry(1, 1, act{fate: refused, code: c.code})))
				w.sayBig(1, 2, 3)
				w.together(3)
				w.flush()
				require.Equal(w, c.maybe, w.publishError(1).MaybeWritten)
				if c.kind != nil {
					w.failed(1, c.kind, c.maybe)
				}
				require.Len(w, w.tries(1), 1, "never tried again")
				w.say(4)
				w.flush()
				w.stands(0, 2, 3, 4)
			})
		})
	}
	t.Run("the very first", func(t *testing.T) {
		t.Parallel()
		inBubble(t, settings{}, func(w *world) {
			w.tap.do(slowly(onTry(1, 1, act{fate: refused, code: messageTooLarge})))
			w.sayBig(1, 2, 3)
			w.flush()
			w.failed(1, messaging.ErrTooLarge, false)
			w.stands(2, 3)
		})
	})
	t.Run("the last", func(t *testing.T) {
		t.Parallel()
		inBubble(t, settings{}, func(w *world) {
			w.first()
			w.tap.do(slowly(onTry(3, 1, act{fate: refused, code: messageTooLarge})))
			w.sayBig(1, 2, 3)
			w.flush()
			w.failed(3, messaging.ErrTooLarge, false)
			w.sayBig(4, 5)
			w.flush()
			w.stands(0, 1, 2, 4, 5)
			require.Equal(w, []int16{0, 0}, w.epochs(4, 5), "nothing is open: the sequence goes on where the refused one was")
		})
	})
	t.Run("all at once", func(t *testing.T) {
		t.Parallel()
		inBubble(t, settings{}, func(w *world) {
			w.first()
			w.tap.do(slowly(each(
				onTry(1, 1, act{fate: refused, code: topicNotAuthorized}),
				onTry(2, 1, act{fate: refused, code: topicNotAuthorized}),
				onTry(3, 1, act{fate: refused, code: topicNotAuthorized}))))
			w.sayBig(1, 2, 3)
			w.flush()
			for n := 1; n <= 3; n++ {
				w.failed(n, messaging.ErrNotAuthorized, false)
			}
			w.say(4)
			w.flush()
			w.stands(0, 4)
		})
	})
}

// raised asserts that an event went with the next epoch, as its first.
func (w *world) raised(n int) {
	w.Helper()
	tries := w.tries(n)
	require.Equal(w, tries[0].epoch+1, tries[len(tries)-1].epoch)
	require.Equal(w, tries[0].id, tries[len(tries)-1].id, "of the same producer ID")
	require.Zero(w, tries[len(tries)-1].seq)
}

func TestEpochBumpOnOutOfOrderSequenceForNextBatch(t *testing.T) {
	t.Parallel()
	inBubble(t, settings{}, func(w *world) {
		w.first()
		w.tap.do(slowly(onTry(2, 1, act{fate: refused, code: outOfOrderSequence})))
		w.sayBig(1, 2, 3)
		w.together(3)
		w.flush()
		w.stands(0, 1, 2, 3)
		w.raised(2)
		require.Equal(w, []int16{0, 1, 1}, w.epochs(1, 2, 3))
	})
}

func TestEpochBumpOnOutOfOrderSequenceForNextBatchWhenThereIsNoBatchInFlight(t *testing.T) {
	t.Parallel()
	for name, code := range map[string]int16{"45": outOfOrderSequence, "59": unknownProducerID, "47": invalidProducerEpoch} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inBubble(t, settings{}, func(w *world) {
				w.first()
				w.tap.do(onTry(1, 1, act{fate: refused, code: code}))
				w.sayBig(1)
				w.flush()
				w.sayBig(2)
				w.flush()
				w.stands(0, 1, 2)
				w.raised(1)
				require.EqualValues(w, 1, w.lastTry(2).seq)
			})
		})
	}
}

func TestEpochBumpOnOutOfOrderSequenceForNextBatchWhenBatchInFlightFails(t *testing.T) {
	t.Parallel()
	inBubble(t, settings{}, func(w *world) {
		w.first()
		tries := 0
		w.tap.do(slowly(func(r *request) act {
			if !slices.Contains(r.batches[0].events, 1) {
				return act{}
			}
			switch tries++; tries {
			case 1:
				return act{fate: refused, code: leaderNotAvailable}
			case 2:
				return act{fate: refused, code: outOfOrderSequence}
			default:
				return act{}
			}
		}))
		w.sayBig(1, 2)
		w.together(2)
		w.flush()
		w.stands(0, 1, 2)
		w.raised(1)
		require.Equal(w, []int16{1, 1}, w.epochs(1, 2))
	})
}

func TestCorrectHandlingOfOutOfOrderResponses(t *testing.T) {
	t.Parallel()
	inBubble(t, settings{}, func(w *world) {
		w.first()
		w.tap.do(slowly(each(
			onTry(1, 1, act{fate: refused, code: leaderNotAvailable}),
			onTry(2, 1, act{fate: refused, code: outOfOrderSequence}))))
		w.sayBig(1, 2)
		w.together(2)
		w.flush()
		w.stands(0, 1, 2)
		require.Equal(w, 2, w.identical(1))
		require.Equal(w, 2, w.identical(2), "out of order behind a batch that is tried again: no reason for another epoch")
	})
}

func TestCorrectHandlingOfOutOfOrderResponsesWhenSecondSucceeds(t *testing.T) {
	t.Parallel()
	inBubble(t, settings{}, func(w *world) {
		w.first()
		w.tap.do(slowly(onTry(1, 1, act{fate: lied, code: requestTimedOut})))
		w.sayBig(1, 2)
		w.together(2)
		w.flush()
		w.sayBig(3)
		w.flush()
		w.stands(0, 1, 2, 3)
		require.Equal(w, 2, w.identical(1))
		require.Equal(w, 1, w.identical(2))
		require.Equal(w, []int16{0, 0, 0}, w.epochs(1, 2, 3))
	})
}

func TestExpiryOfUnsentBatchesShouldNotCauseUnresolvedSequences(t *testing.T) {
	t.Parallel()
	inBubble(t, settings{cfg: shortly}, func(w *world) {
		w.first()
		up := w.tap.down()
		w.say(1)
		w.sleep(shortDeadline + aLittle)
		w.failed(1, messaging.ErrTimeout, false)
		require.InDelta(w, shortDeadline, w.answer(1).after, float64(aLittle))
		up()
		w.say(2)
		w.flush()
		w.stands(0, 2)
		require.Zero(w, w.lastTry(2).epoch)
		require.EqualValues(w, 1, w.lastTry(2).seq)
	})
}

func TestExpiryOfFirstBatchShouldNotCauseUnresolvedSequencesIfFutureBatchesSucceed(t *testing.T) {
	t.Parallel()
	inBubble(t, settings{cfg: shortly}, func(w *world) {
		w.first()
		w.tap.do(slowly(onTry(1, 1000, act{fate: lied, code: requestTimedOut})))
		w.sayBig(1)
		w.sleep(answersTake / 2)
		w.sayBig(2)
		w.together(2)
		w.sleep(shortDeadline / 2)
		w.sayBig(20)
		w.sleep(shortDeadline/2 + aLittle)
		w.failed(1, messaging.ErrTimeout, true)
		w.flush()
		w.acked(20)
		w.acked(2)
		w.sayBig(3)
		w.flush()
		w.acked(3)
		w.stands(0, 1, 2, 20, 3)
	})
}

func TestExpiryOfFirstBatchShouldCauseEpochBumpIfFutureBatchesFail(t *testing.T) {
	t.Parallel()
	inBubble(t, settings{cfg: shortly}, func(w *world) {
		w.first()
		w.tap.do(slowly(onTry(1, 1000, act{fate: refused, code: notLeader})))
		w.sayBig(1)
		w.sleep(shortDeadline / 2)
		w.sayBig(2)
		w.sleep(shortDeadline/2 + aLittle)
		w.failed(1, messaging.ErrTimeout, true)
		w.flush()
		w.acked(2)
		w.say(3)
		w.flush()
		w.stands(0, 2, 3)
		require.Equal(w, []int16{1, 1}, w.epochs(2, 3), "whether the first one's sequence is used up nobody knows")
	})
}

func TestExpiryOfAllSentBatchesShouldCauseUnresolvedSequences(t *testing.T) {
	t.Parallel()
	for name, arrive := range map[string]bool{"they arrive late": true, "they never arrive": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inBubble(t, settings{cfg: shortly}, func(w *world) {
				w.first()
				fate := vanishing
				if arrive {
					fate = undead
				}
				w.tap.do(func(r *request) act { return act{fate: fate} })
				w.sayBig(1, 2, 3)
				w.sleep(shortDeadline + aLittle)
				for n := 1; n <= 3; n++ {
					require.ErrorIs(w, w.answer(n).err, messaging.ErrTimeout)
					require.InDelta(w, shortDeadline, w.answer(n).after, float64(aLittle))
				}
				w.failed(1, messaging.ErrTimeout, true)
				w.sleep(2 * time.Second) // the last try is over
				w.tap.do(nil)
				w.say(4)
				w.flush()
				w.tap.release()
				w.say(5)
				w.flush()
				w.acked(4, 5)
				w.standsIn(0, 1, 2, 3, 4, 5)
				require.Equal(w, []int16{1, 1}, w.epochs(4, 5))
			})
		})
	}
}

// keyOf is a key of the partition, by CRC32 of the .NET client.
func keyOf(w *world, partition int32) string {
	w.Helper()
	for _, key := range []string{"a", "b", "c", "d", "e", "f", "g", "h", "i", "j"} {
		var at int32 = -1
		e := &word{N: -1, Key: key}
		w.pub.PublishAsync(context.Background(), e, func(r messaging.Receipt, err error) {
			assert.NoError(w, err) //nolint:testifylint // not the test's goroutine
			at = int32(r.Partition)
		})
		w.flush()
		if at == partition {
			return key
		}
	}
	w.Fatal("no key leads to the partition")
	return ""
}

func to(key string) func(*word) { return func(e *word) { e.Key = key } }

// onEvent is a script for the first request with the event in it.
func onEvent(event int, a act) func(*request) act {
	done := false
	return func(r *request) act {
		for _, b := range r.batches {
			if !done && slices.Contains(b.events, event) {
				done = true
				return a
			}
		}
		return act{}
	}
}

// own are the events of a story that fills more than one partition, without those of keyOf.
func own(log []int) []int {
	return slices.DeleteFunc(log, func(n int) bool { return n < 0 })
}

func TestResetOfProducerStateShouldAllowQueuedBatchesToDrain(t *testing.T) {
	t.Parallel()
	inBubble(t, settings{partitions: 2}, func(w *world) {
		left, right := keyOf(w, 0), keyOf(w, 1)
		w.tap.do(slowly(each(
			onEvent(1, act{fate: refused, code: outOfOrderSequence}),
			onEvent(2, act{fate: refused, code: notLeader}))))
		w.say(1, to(left))
		w.say(2, to(right))
		w.say(3, to(left))
		w.say(4, to(right))
		w.flush()
		w.acked(1, 2, 3, 4)
		logs := w.logs()
		require.Equal(w, []int{1, 3}, own(logs[0]))
		require.Equal(w, []int{2, 4}, own(logs[1]))
	})
}

func TestBatchesDrainedWithOldProducerIdShouldSucceedOnSubsequentRetry(t *testing.T) {
	t.Parallel()
	inBubble(t, settings{partitions: 2}, func(w *world) {
		left, right := keyOf(w, 0), keyOf(w, 1)
		w.tap.do(each(
			onEvent(1, act{after: 3 * answersTake}), // on its way while the other partition's epoch is raised
			onEvent(2, act{fate: refused, code: outOfOrderSequence})))
		w.say(1, to(left))
		w.say(2, to(right))
		w.flush()
		w.say(3, to(left))
		w.say(4, to(right))
		w.flush()
		w.acked(1, 2, 3, 4)
		logs := w.logs()
		require.Equal(w, []int{1, 3}, own(logs[0]))
		require.Equal(w, []int{2, 4}, own(logs[1]))
	})
}

func TestCloseWithProducerIdReset(t *testing.T) {
	t.Parallel()
	inBubble(t, settings{}, func(w *world) {
		w.first()
		w.tap.do(slowly(onTry(1, 1, act{fate: refused, code: outOfOrderSequence})))
		w.sayBig(1, 2)
		w.closed = true
		require.NoError(w, w.pub.Close())
		synctest.Wait()
		w.stands(0, 1, 2)
	})
}

func TestForceCloseWithProducerIdReset(t *testing.T) {
	t.Parallel()
	inBubble(t, settings{cfg: shortly}, func(w *world) {
		w.first()
		w.tap.do(slowly(each(
			onTry(1, 1, act{fate: refused, code: outOfOrderSequence}),
			onTry(1, 1000, act{fate: vanishing}))))
		w.sayBig(1, 2)
		w.sleep(time.Second)
		w.closed = true
		begin := time.Now()
		_ = w.pub.Close() // perhaps the deadlines come before its own
		require.LessOrEqual(w, time.Since(begin), shortDeadline+aLittle)
		synctest.Wait()
		require.Error(w, w.answer(1).err)
		require.Error(w, w.answer(2).err)
		w.stands(0)
	})
}

func TestCorrectHandlingOfDuplicateSequenceError(t *testing.T) {
	t.Parallel()
	inBubble(t, settings{}, func(w *world) {
		w.first()
		w.tap.do(slowly(onTry(1, 1, act{fate: lied, code: duplicateSequence})))
		w.sayBig(1, 2)
		w.flush()
		w.acked(1, 2)
		require.EqualValues(w, -1, w.answer(1).receipt.Offset, "the broker does not remember where it is")
		w.stands(0, 1, 2)
		require.Equal(w, 1, w.identical(1))
	})
}

func TestIdempotentUnknownProducerHandlingWhenRetentionLimitReached(t *testing.T) {
	t.Parallel()
	inBubble(t, settings{}, func(w *world) {
		w.first()
		w.tap.do(slowly(each(
			onTry(1, 1, act{fate: refused, code: unknownProducerID}),
			onTry(2, 1, act{fate: refused, code: unknownProducerID}))))
		w.sayBig(1, 2)
		w.together(2)
		w.flush()
		w.stands(0, 1, 2)
		w.raised(1)
		require.Equal(w, []int16{1, 1}, w.epochs(1, 2), "one new epoch for both")
	})
}

func TestUnknownProducerErrorShouldBeRetriedForFutureBatchesWhenFirstFails(t *testing.T) {
	t.Parallel()
	inBubble(t, settings{}, func(w *world) {
		w.first()
		w.tap.do(slowly(each(
			onTry(1, 1, act{fate: refused, code: unknownProducerID}),
			onTry(2, 1, act{fate: refused, code: outOfOrderSequence}),
			onTry(3, 1, act{fate: refused, code: unknownProducerID}))))
		w.sayBig(1, 2, 3)
		w.together(3)
		w.flush()
		w.stands(0, 1, 2, 3)
		require.Equal(w, []int16{1, 1, 1}, w.epochs(1, 2, 3))
	})
}

func TestClusterAuthorizationExceptionInInitProducerIdRequest(t *testing.T) {
	t.Parallel()
	inBubble(t, settings{}, func(w *world) {
		w.broker.Cluster().Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.InitProducerID}, Err: kerr.ClusterAuthorizationFailed})
		w.say(0)
		w.sleep(withinASecond)
		w.failed(0, messaging.ErrNotAuthorized, false)
		require.Empty(w, w.tap.requests())
		w.say(1)
		w.flush()
		w.stands(1)
	})
}

func TestClusterAuthorizationExceptionInProduceRequest(t *testing.T) {
	t.Parallel()
	inBubble(t, settings{}, func(w *world) {
		w.first()
		w.tap.do(onTry(1, 1, act{fate: refused, code: clusterNotAuthorized}))
		w.say(1)
		w.flush()
		w.failed(1, messaging.ErrNotAuthorized, false)
		require.Equal(w, "CLUSTER_AUTHORIZATION_FAILED", w.publishError(1).ErrorType())
		w.say(2)
		w.flush()
		w.stands(0, 2)
	})
}

// TestInitProducerIdRequest: a broker that has just started, or is busy, gives no producer ID at first.
func TestInitProducerIdRequest(t *testing.T) {
	t.Parallel()
	for _, e := range []*kerr.Error{
		kerr.CoordinatorLoadInProgress, kerr.ConcurrentTransactions, kerr.CoordinatorNotAvailable, kerr.NotCoordinator, kerr.RequestTimedOut,
	} {
		t.Run(e.Message, func(t *testing.T) {
			t.Parallel()
			inBubble(t, settings{}, func(w *world) {
				h := w.broker.Cluster().Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.InitProducerID}, Err: e, Count: 3})
				w.sayBig(0, 1)
				w.flush()
				require.Equal(w, 3, h.Hits())
				w.stands(0, 1)
				require.Less(w, w.answer(0).after, withinASecond)
			})
		})
	}
}

func TestIdempotentInitProducerIdWithMaxInFlightOne(t *testing.T) {
	t.Parallel()
	inBubble(t, settings{cfg: func(c *messaging.Config) { c.MaxInFlight = 1 }}, func(w *world) {
		w.tap.do(slowly(onTry(1, 1, act{fate: dropped})))
		w.sayBig(0, 1, 2, 3)
		w.flush()
		w.stands(0, 1, 2, 3)
		rs := w.tap.requests()
		for i := 1; i < len(rs); i++ {
			require.True(w, rs[i-1].fate == dropped || !rs[i-1].told.After(rs[i].at), "one request at a time")
		}
	})
}

// TestCancelInFlightRequestAfterFatalError: what is under way behind a batch that fails for good goes on.
func TestCancelInFlightRequestAfterFatalError(t *testing.T) {
	t.Parallel()
	inBubble(t, settings{}, func(w *world) {
		w.first()
		w.tap.do(slowly(each(
			onTry(1, 1, act{fate: refused, code: clusterNotAuthorized}),
			onTry(3, 1, act{fate: lost}))))
		w.sayBig(1, 2, 3, 4)
		w.flush()
		w.failed(1, messaging.ErrNotAuthorized, false)
		w.acked(2, 3, 4)
		w.stands(0, 2, 3, 4)
	})
}

func TestSequenceNumberIncrement(t *testing.T) {
	t.Parallel()
	inBubble(t, settings{}, func(w *world) {
		w.tap.do(onTry(0, 1, act{fate: lost}))
		w.sayBig(0)
		w.flush()
		require.Equal(w, 2, w.identical(0))
		w.sayBig(1)
		w.flush()
		require.EqualValues(w, 1, w.lastTry(1).seq)
		w.stands(0, 1)
	})
}

func TestBumpEpochWhenOutOfOrderSequenceReceived(t *testing.T) {
	t.Parallel()
	inBubble(t, settings{}, func(w *world) {
		w.first()
		for n := 1; n < 20; n++ {
			w.tap.do(onTry(n, 1, act{fate: refused, code: outOfOrderSequence}))
			w.sayBig(n)
			w.flush()
			require.EqualValues(w, n, w.lastTry(n).epoch)
		}
		require.Len(w, w.log(), 20)
	})
}

// TestIdempotentSplitBatchAndSend: a batch that is too large is halved, while others are under way behind it.
func TestIdempotentSplitBatchAndSend(t *testing.T) {
	t.Parallel()
	inBubble(t, settings{}, func(w *world) {
		w.first()
		w.tap.do(slowly(func(r *request) act {
			if len(r.batches[0].events) > 2 || slices.Contains(r.batches[0].events, 5) {
				return act{fate: refused, code: messageTooLarge}
			}
			return act{}
		}))
		up := w.tap.swallow()
		for n := 1; n <= 9; n++ { // the first alone perhaps; the others gather meanwhile
			w.say(n)
		}
		w.sayBig(10, 11)
		up()
		w.flush()
		w.failed(5, messaging.ErrTooLarge, false)
		w.acked(1, 2, 3, 4, 6, 7, 8, 9, 10, 11)
		w.stands(0, 1, 2, 3, 4, 6, 7, 8, 9, 10, 11)
	})
}

func TestInflightBatchesExpireOnDeliveryTimeout(t *testing.T) {
	t.Parallel()
	inBubble(t, settings{}, func(w *world) {
		w.first()
		w.tap.do(func(*request) act { return act{fate: vanishing} })
		w.sayBig(1)
		w.sleep(20 * time.Second)
		require.False(w, w.answered(1))
		require.GreaterOrEqual(w, len(w.tries(1)), 2, "a lost answer leaves time for another try")
		w.sleep(10*time.Second + aLittle)
		w.failed(1, messaging.ErrTimeout, true)
		require.InDelta(w, 30*time.Second, w.answer(1).after, float64(aLittle))
		w.tap.do(nil)
		w.say(2)
		w.flush()
		w.stands(0, 2)
	})
}

func TestRecordErrorPropagatedToApplication(t *testing.T) {
	t.Parallel()
	inBubble(t, settings{}, func(w *world) {
		w.first()
		w.tap.do(func(r *request) act {
			if slices.Contains(r.batches[0].events, 3) {
				return act{fate: refused, code: invalidRecord}
			}
			return act{after: answersTake}
		})
		for n := 1; n <= 5; n++ {
			w.say(n)
		}
		w.flush()
		pe := w.publishError(3)
		require.Equal(w, "INVALID_RECORD", pe.ErrorType())
		require.False(w, pe.MaybeWritten)
		w.stands(0, 1, 2, 4, 5)
	})
}

func TestWhenFirstBatchExpireNoSendSecondBatchIfGuaranteeOrder(t *testing.T) {
	t.Parallel()
	inBubble(t, settings{cfg: func(c *messaging.Config) { c.MaxInFlight, c.MessageTimeout = 1, shortDeadline }}, func(w *world) {
		w.first()
		w.tap.do(onTry(1, 1000, act{fate: vanishing}))
		w.sayBig(1)
		w.sleep(shortDeadline / 2)
		w.sayBig(2)
		w.sleep(shortDeadline/2 - aLittle)
		require.Empty(w, w.tries(2), "nothing overtakes")
		w.flush()
		w.failed(1, messaging.ErrTimeout, true)
		w.acked(2)
		w.stands(0, 2)
	})
}

func TestExpiredBatchDoesNotRetry(t *testing.T) {
	t.Parallel()
	inBubble(t, settings{cfg: shortly}, func(w *world) {
		w.first()
		w.tap.do(onTry(1, 1000, act{fate: refused, code: notLeader}))
		w.sayBig(1)
		w.sleep(shortDeadline + 2*time.Second)
		w.failed(1, messaging.ErrTimeout, true)
		before := len(w.tries(1))
		w.sleep(time.Minute)
		require.Len(w, w.tries(1), before)
		w.stands(0)
	})
}

func TestExpiredBatchDoesNotSplitOnMessageTooLargeError(t *testing.T) {
	t.Parallel()
	inBubble(t, settings{cfg: shortly}, func(w *world) {
		w.first()
		w.tap.do(func(*request) act { return act{after: answersTake} })
		w.sayBig(1) // so that the next ones share a batch
		w.tap.do(func(r *request) act {
			if slices.Contains(r.batches[0].events, 3) {
				return act{fate: refused, code: messageTooLarge, after: shortDeadline / 4}
			}
			return act{}
		})
		end := w.tap.swallow()
		w.say(2)
		w.say(3)
		w.sleep(shortDeadline + aLittle)
		require.ErrorIs(w, w.answer(2).err, messaging.ErrTimeout)
		require.ErrorIs(w, w.answer(3).err, messaging.ErrTimeout)
		sent := len(w.tries(3))
		end()
		w.sleep(time.Minute)
		require.LessOrEqual(w, len(w.tries(3)), sent+1, "what was on its way arrives, and nothing more")
		w.say(4)
		w.flush()
		w.acked(4)
	})
}

func TestExpiredBatchesInMultiplePartitions(t *testing.T) {
	t.Parallel()
	inBubble(t, settings{partitions: 2, cfg: shortly}, func(w *world) {
		left, right := keyOf(w, 0), keyOf(w, 1)
		w.tap.do(func(*request) act { return act{fate: vanishing} })
		w.say(1, to(left))
		w.say(2, to(right))
		w.sleep(shortDeadline + aLittle)
		w.failed(1, messaging.ErrTimeout, true)
		w.failed(2, messaging.ErrTimeout, true)
		w.tap.do(nil)
		w.say(3, to(left))
		w.say(4, to(right))
		w.flush()
		w.acked(3, 4)
		logs := w.logs()
		require.Equal(w, []int{3}, own(logs[0]))
		require.Equal(w, []int{4}, own(logs[1]))
	})
}

func TestSenderShouldRetryWithBackoffOnRetriableError(t *testing.T) {
	t.Parallel()
	inBubble(t, settings{}, func(w *world) {
		w.first()
		w.tap.do(onTry(1, 1000, act{fate: refused, code: notEnoughReplicas}))
		w.say(1)
		w.sleep(31 * time.Second)
		w.failed(1, messaging.ErrTimeout, false)
		var pauses []time.Duration
		last := time.Time{}
		for _, r := range w.tap.requests() {
			if slices.Contains(r.batches[0].events, 1) {
				if !last.IsZero() {
					pauses = append(pauses, r.at.Sub(last))
				}
				last = r.at
			}
		}
		require.Greater(w, len(pauses), 20)
		require.LessOrEqual(w, pauses[0], 2*pausesOf)
		for i, p := range pauses {
			require.GreaterOrEqual(w, p, pausesOf/2, "pause %d", i)
			require.LessOrEqual(w, p, time.Second+pausesOf, "pause %d", i)
		}
		require.GreaterOrEqual(w, pauses[len(pauses)-2], time.Second/2)

		w.tap.do(onTry(2, 1, act{fate: refused, code: notEnoughReplicas}))
		w.say(2)
		w.flush()
		require.LessOrEqual(w, w.answer(2).after, 2*time.Second)
		w.tap.do(onTry(3, 1, act{fate: refused, code: notEnoughReplicas}))
		w.say(3)
		w.flush()
		require.LessOrEqual(w, w.answer(3).after, 2*pausesOf, "a success ends the growth of the pauses")
		w.stands(0, 2, 3)
	})
}

func TestProducerBatchRetriesWhenPartitionLeaderChanges(t *testing.T) {
	t.Parallel()
	inBubble(t, settings{nodes: 3}, func(w *world) {
		w.first()
		n := 0
		var want []int
		want = append(want, 0)
		for range 20 {
			w.broker.Cluster().ShufflePartitionLeaders()
			for range 3 {
				n++
				want = append(want, n)
				w.sayBig(n)
			}
			w.flush()
			for i := n - 2; i <= n; i++ {
				w.acked(i)
				require.Less(w, w.answer(i).after, withinASecond)
			}
		}
		w.stands(want...)
	})
}

func TestWhenProduceResponseReturnsWithALeaderShipChangeErrorButNoNewLeaderInformation(t *testing.T) {
	t.Parallel()
	for name, code := range map[string]int16{"NOT_LEADER": notLeader, "FENCED_LEADER_EPOCH": fencedLeaderEpoch} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inBubble(t, settings{}, func(w *world) {
				w.first()
				w.tap.do(slowly(onTry(1, 1, act{fate: refused, code: code})))
				w.sayBig(1, 2, 3)
				w.flush()
				w.stands(0, 1, 2, 3)
				require.Less(w, w.answer(3).after, withinASecond)
			})
		})
	}
}

func TestBatchFailureAfterProducerReset(t *testing.T) {
	t.Parallel()
	inBubble(t, settings{}, func(w *world) {
		w.first()
		w.tap.do(slowly(each(
			onTry(1, 1, act{fate: refused, code: outOfOrderSequence}),
			onTry(2, 1, act{fate: refused, code: topicNotAuthorized}))))
		w.sayBig(1, 2, 3)
		w.together(3)
		w.flush()
		w.failed(2, messaging.ErrNotAuthorized, false)
		w.stands(0, 1, 3)
	})
}

func TestBumpEpochAfterTimeoutWithoutPendingInflightRequests(t *testing.T) {
	t.Parallel()
	inBubble(t, settings{cfg: shortly}, func(w *world) {
		w.first()
		w.tap.do(onTry(1, 1000, act{fate: lost}))
		w.sayBig(1)
		w.sleep(shortDeadline + aLittle)
		w.failed(1, messaging.ErrTimeout, true)
		w.sleep(time.Hour)
		w.sayBig(2, 3)
		w.flush()
		w.acked(2, 3)
		w.stands(0, 1, 2, 3)
		require.Equal(w, []int16{1, 1}, w.epochs(2, 3))
	})
}

// TestCancelledInFlight is franz-go's issue 1217: the caller of a batch under way goes, and what comes later is not taken for
// the batch by the broker, acknowledged, and lost.
func TestCancelledInFlight(t *testing.T) {
	t.Parallel()
	for name, a := range map[string]act{
		"lost": {fate: dropped}, "its answer is lost": {fate: lost}, "late": {fate: undead}, "vanished": {fate: vanishing}, "refused": {fate: refused, code: notLeader},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inBubble(t, settings{}, func(w *world) {
				w.first()
				w.tap.do(slowly(onTry(1, 1, a)))
				ctx, cancel := context.WithCancel(w.Context())
				w.sayUntil(ctx, 1, func(e *word) { e.Pad = full() })
				w.sayBig(2)
				cancel()
				synctest.Wait()
				w.failed(1, context.Canceled, true)
				w.sayBig(3)
				w.flush()
				w.tap.release()
				w.sayBig(4)
				w.flush()
				w.acked(2, 3, 4)
				w.standsIn(0, 1, 2, 3, 4)
			})
		})
	}
}

// TestEpochsRunOut: behind epoch 32767 comes another producer ID.
func TestEpochsRunOut(t *testing.T) {
	t.Parallel()
	inBubble(t, settings{}, func(w *world) {
		w.tap.mu.Lock()
		first := true
		w.tap.answers = func(key int16, answer []byte) []byte {
			if key == int16(kmsg.InitProducerID) && first {
				first = false
				answer = slices.Clone(answer)
				// … error, producer ID, epoch, and the tags' count.
				answer[len(answer)-3], answer[len(answer)-2] = 0x7f, 0xfe
			}
			return answer
		}
		w.tap.mu.Unlock()
		w.first()
		require.EqualValues(w, 32766, w.lastTry(0).epoch)
		for n := 1; n <= 3; n++ {
			w.tap.do(slowly(onTry(10*n, 1, act{fate: refused, code: outOfOrderSequence})))
			w.sayBig(10*n, 10*n+1)
			w.flush()
		}
		w.stands(0, 10, 11, 20, 21, 30, 31)
		require.Equal(w, []int16{32767, 32767, 0, 0, 1, 1}, w.epochs(10, 11, 20, 21, 30, 31))
		require.NotEqual(w, w.lastTry(0).id, w.lastTry(20).id)
		require.Equal(w, w.lastTry(0).id, w.lastTry(10).id)
	})
}
