package messaging

import (
	"time"

	"github.com/expensevault/sharedlibrary/internal/backoff"
)

type handlerOptions struct {
	retry    *retryPolicy // nil: the subscriber's
	batch    int
	batchSet bool
	majors   []string // nil: that of the type
}

type handlerOption func(*handlerOptions)

func (f handlerOption) applyHandler(h *handlerOptions) { f(h) }

// RetryOption is an option of one handler, or of a subscriber for every handler without one.
type RetryOption interface {
	HandlerOption
	SubscriberOption
}

type retryOption retryPolicy

func (o retryOption) applyHandler(h *handlerOptions) { p := retryPolicy(o); h.retry = &p }

func (o retryOption) applySubscriber(s *subscriberOptions) { s.retry = retryPolicy(o) }

// WithRetry sets how often a record is tried before it goes to the dead-letter
// topic, the first time included, and the pauses between: each is twice the
// last, from shortest to longest, less up to a half of itself at random. The
// record's key waits meanwhile, and no other, so that its order is kept.
//
// The default is 5 attempts with pauses from 250 ms to 10 s: about 3 seconds in
// all. One attempt is no retry. Less, or a longest below shortest, is an error of
// [NewSubscriber] and a panic of [Handle].
func WithRetry(attempts int, shortest, longest time.Duration) RetryOption {
	return retryOption{attempts: attempts, pauses: backoff.Policy{Min: shortest, Max: longest}}
}
