package outbox

import "github.com/expensevault/sharedlibrary/messaging"

// maxBatchBytes is what the records of a batch may have together, as sizeOf counts.
const maxBatchBytes = 1_000_000

func sizeOf(r *messaging.Record) int {
	n := len(r.Key) + len(r.Value) + 16
	for _, h := range r.Headers {
		n += len(h.Key) + len(h.Value) + 4
	}
	return n
}
