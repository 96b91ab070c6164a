package producer_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/expensevault/sharedlibrary/messaging"
)

// TestChaos plays whatever chance wants, and holds that the log and every answer are true. ITEST_CHAOS_SEEDS is how many
// stories there are, ITEST_CHAOS_SEED the one to tell again.
func TestChaos(t *testing.T) {
	t.Parallel()
	seeds, err := strconv.ParseUint(os.Getenv("ITEST_CHAOS_SEEDS"), 10, 32)
	if err != nil {
		seeds = 60
	}
	first := uint64(0)
	if one, err := strconv.ParseUint(os.Getenv("ITEST_CHAOS_SEED"), 10, 64); err == nil {
		first, seeds = one, 1
	}
	for seed := first; seed < first+seeds; seed++ {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			t.Parallel()
			chaos(t, rand.New(rand.NewPCG(seed, 5)))
		})
	}
}

func chaos(t *testing.T, chance *rand.Rand) {
	t.Helper()
	between := func(from, to time.Duration) time.Duration { return from + time.Duration(chance.Int64N(int64(to-from))) }
	s := settings{nodes: 1 + 2*chance.IntN(2), cfg: func(c *messaging.Config) {
		c.MessageTimeout = between(2*time.Second, 30*time.Second)
		c.RequestTimeout = between(time.Second, 10*time.Second)
		c.MaxInFlight = 1 + chance.IntN(5)
	}}
	fates := rand.New(rand.NewPCG(chance.Uint64(), 6))
	trouble := chance.Float64() / 2
	inBubble(t, s, func(w *world) {
		w.tap.do(fateful(fates, trouble))
		n, events := 0, 20+chance.IntN(60)
		end := func() {}
		for n < events {
			switch d := chance.IntN(100); {
			case d < 45:
				for range 1 + chance.IntN(10) {
					w.say(n)
					n++
				}
			case d < 65:
				for range 1 + chance.IntN(4) {
					w.sayBig(n)
					n++
				}
			case d < 75:
				ctx, cancel := context.WithTimeout(w.Context(), between(time.Millisecond, 5*time.Second))
				w.sayUntil(ctx, n, func(e *word) {
					if chance.IntN(2) == 0 {
						e.Pad = full()
					}
				})
				n++
				context.AfterFunc(ctx, cancel)
			case d < 80:
				w.tap.cut()
			case d < 84:
				w.broker.Cluster().ShufflePartitionLeaders()
			case d < 88:
				end()
				end = w.tap.swallow()
			case d < 92:
				w.tap.release()
			default:
				end()
			}
			if chance.IntN(3) == 0 {
				w.sleep(between(time.Millisecond, 3*time.Second))
			}
		}
		end()
		w.tap.do(nil)
		w.flush()
		w.say(n)
		w.flush()
		w.tap.release()
		synctest.Wait()
		w.say(n + 1)
		w.flush()
		w.acked(n, n+1)
		log := w.truth()
		require.True(w, slices.IsSorted(log), "%v", log)
		for i := range n {
			a := w.answer(i)
			require.LessOrEqual(w, a.after, w.cfg.MessageTimeout+aLittle, "event %d", i)
		}
	})
}

// fateful lets requests have any fate that a real network and broker could give them.
func fateful(chance *rand.Rand, trouble float64) func(*request) act {
	arrived := map[int]bool{} // events that may stand in the log
	return func(r *request) act {
		a := act{after: time.Duration(chance.Int64N(int64(200 * time.Millisecond)))}
		es := r.batches[0].events
		was := arrived[es[0]]
		if chance.Float64() > trouble {
			arrived[es[0]] = true
			return a
		}
		again := []int16{unknownTopic, leaderNotAvailable, notLeader, requestTimedOut, notEnoughReplicas, notEnoughAfterAppend, kafkaStorageError, fencedLeaderEpoch}
		pick := func(codes []int16) int16 { return codes[chance.IntN(len(codes))] }
		switch chance.IntN(12) {
		case 0, 1:
			a.fate, a.code = refused, pick(again)
		case 2, 3:
			a.fate, a.code = lied, pick([]int16{notLeader, requestTimedOut, notEnoughAfterAppend, kafkaStorageError})
		case 4:
			a.fate = lost
		case 5:
			a.fate = muted
		case 6:
			a.fate = halved
		case 7:
			a.fate = dropped
		case 8:
			a.fate = undead
		case 9:
			a.fate = vanishing
		case 10:
			a.before = time.Duration(chance.Int64N(int64(3 * time.Second)))
		default:
			switch {
			case was: // a broker that has the batch says so
			case chance.IntN(3) == 0:
				a.fate, a.code = refused, pick([]int16{topicNotAuthorized, invalidRecord, messageTooLarge})
			default:
				a.fate, a.code = refused, pick([]int16{outOfOrderSequence, unknownProducerID})
			}
		}
		switch a.fate {
		case passes, lied, lost, muted, undead:
			arrived[es[0]] = true
		case refused, halved, dropped, vanishing:
		}
		return a
	}
}
