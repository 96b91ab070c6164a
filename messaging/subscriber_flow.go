package messaging

import (
	"errors"
	"fmt"

	"github.com/expensevault/sharedlibrary/internal/consumer"
)

const (
	defaultConcurrency = 16
	mostConcurrency    = 1 << 16
)

// WithConcurrency sets how many handlers of the subscriber run at once, over all
// of its topics and partitions; the default is 16. Records of one key are never
// handled at once, however many there are. It is for handlers that wait, for a
// database for example: what they wait for has to bear so many of them. One is
// for handlers that must never run at once.
//
// Zero or less, or more than 65,536, is an error of [NewSubscriber].
func WithConcurrency(n int) SubscriberOption {
	return subscriberOption(func(o *subscriberOptions) { o.concurrency = n })
}

// OutOfRange says where a group goes on that stands at an offset which the log
// does not hold: retention has removed it before it was handled, or the topic was deleted and
// created anew. Whatever is chosen, it is logged with the number of records that were skipped.
type OutOfRange uint8

const (
	// OutOfRangeEarliest goes on with the oldest record that the topic holds. It is the default.
	OutOfRangeEarliest OutOfRange = iota
	// OutOfRangeLatest goes on with what is published from then on.
	OutOfRangeLatest
	// OutOfRangeStop has [Subscriber.Run] end with an [OutOfRangeError], so that a human decides; see [Subscriber.Seek].
	OutOfRangeStop
)

// WithOutOfRange sets the policy for offsets that the log does not hold.
func WithOutOfRange(policy OutOfRange) SubscriberOption {
	return subscriberOption(func(o *subscriberOptions) { o.outOfRange = policy })
}

// OutOfRangeError says that the group stands at an offset which the log does not hold, with [OutOfRangeStop].
type OutOfRangeError struct {
	Topic     string // as on the broker
	Partition int32
	Offset    int64 // where the group stands
	Start     int64 // the oldest offset that the log holds
}

func (e *OutOfRangeError) Error() string {
	return fmt.Sprintf("offset %d of %s/%d is out of range: the log begins at %d; stop the group's members and have it go on elsewhere with Seek, or choose another WithOutOfRange",
		e.Offset, e.Topic, e.Partition, e.Start)
}

// ErrorType is "offset_out_of_range".
func (e *OutOfRangeError) ErrorType() string { return "offset_out_of_range" }

// engineError is an error of the engine in the terms of this package.
func engineError(err error) error {
	if e, ok := errors.AsType[*consumer.OutOfRangeError](err); ok {
		return &OutOfRangeError{Topic: e.Topic, Partition: e.Partition, Offset: e.Offset, Start: e.Start}
	}
	return classify(err)
}

// validateFlow looks at the options of this file.
func (o *subscriberOptions) validateFlow() error {
	if o.concurrency < 1 || o.concurrency > mostConcurrency {
		return fmt.Errorf("messaging: WithConcurrency(%d): give 1 to %d", o.concurrency, mostConcurrency)
	}
	if o.outOfRange > OutOfRangeStop {
		return fmt.Errorf("messaging: WithOutOfRange(%d): there is no such policy", o.outOfRange)
	}
	return nil
}

func (o OutOfRange) engine() consumer.OutOfRange {
	switch o {
	case OutOfRangeLatest:
		return consumer.ToLatest
	case OutOfRangeStop:
		return consumer.StopRun
	case OutOfRangeEarliest:
	}
	return consumer.ToEarliest
}
