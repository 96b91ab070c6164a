//go:build outboxcrash

package outbox_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/expensevault/sharedlibrary/messaging/outbox"
)

// crashPoints are all places at which a relay can die, in the order in which it comes to them.
func crashPoints() []string {
	return []string{"beat", "acquired", "rebuilt", "recovered", "identified", "look", "fetched", "unmarked", "marked", "send", "sent", "acknowledged", "finished"}
}

// TestCrashAtEveryPoint has a relay die at each place, and another one take over.
func TestCrashAtEveryPoint(t *testing.T) {
	t.Parallel()
	eachDatabase(t, func(t *testing.T, db *database) {
		for _, point := range crashPoints() {
			for _, nth := range []int{1, 3} {
				t.Run(fmt.Sprintf("%s %d", point, nth), func(t *testing.T) {
					fresh(t, db)
					k, l := newKafka(), newLedger()
					f := newFreezer(t, point, nth)
					for i := range 30 {
						l.publish(t, db, fmt.Sprint("k", i%10), 1)
					}
					start(t, f.context(t), db, k, outbox.WithLease(time.Hour), outbox.WithBatchRows(2))
					if point == "beat" && nth == 3 {
						return // a quarter of the lease later
					}
					f.wait(t)
					l.publish(t, db, "later", 2)
					expire(t, db)
					start(t, t.Context(), db, k)
					overtaken(t, db)
					l.check(t, k.records(topicName))
					// The dead one was only frozen, and goes on as if nothing had been.
					f.thaw()
					l.publish(t, db, "after", 5)
					emptied(t, db)
					l.check(t, k.records(topicName))
				})
			}
		}
	})
}
