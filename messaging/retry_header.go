package messaging

import (
	"slices"
)

// The headers of a record that is to be handled again by one group alone: from
// a retry topic, or after a redrive. A record without headerRetryGroup is
// nobody's retry, and keeps the others.
const (
	headerRetryGroup     = "retry-consumer-group"
	headerRetryAttempt   = "retry-attempt" // how often it was tried
	headerRetryDueAt     = "retry-due-at"
	headerRetryTopic     = "retry-original-topic"
	headerRetryPartition = "retry-original-partition"
	headerRetryOffset    = "retry-original-offset"
	headerRetryTimestamp = "retry-original-timestamp"
)

func retryHeader(name string) bool {
	switch name {
	case headerRetryGroup, headerRetryAttempt, headerRetryDueAt, headerRetryTopic, headerRetryPartition, headerRetryOffset, headerRetryTimestamp:
		return true
	}
	return false
}

// retryGroup is the group that a record is for alone; false where it is for all.
func retryGroup(headers []Header) (string, bool) {
	for _, h := range slices.Backward(headers) {
		if h.Key == headerRetryGroup {
			return string(h.Value), true
		}
	}
	return "", false
}
