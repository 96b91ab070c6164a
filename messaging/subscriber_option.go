package messaging

import (
	"fmt"
	"slices"
	"time"

	"github.com/expensevault/sharedlibrary/internal/consumer"
)

const (
	defaultDeadLetterTopic = "{topic}-dlt"
	defaultDrainTimeout    = 10 * time.Second
	defaultSessionTimeout  = 45 * time.Second
	defaultMaxBatchBytes   = 16 << 20
	mostBatchBytes         = 1 << 30
)

type subscriberOptions struct {
	commonOptions

	retry           retryPolicy
	deadLetterTopic string
	instanceID      string
	balancers       []consumer.Balancer
	sessionTimeout  time.Duration
	drainTimeout    time.Duration
	maxBatchBytes   int
	retryDelays     []time.Duration
	retryTopic      string
	unhandled       UnhandledPolicy
	startLatest     bool
	concurrency     int
	outOfRange      OutOfRange
	linked          bool
	polls           bool
}

type subscriberOption func(*subscriberOptions)

func (f subscriberOption) applySubscriber(o *subscriberOptions) { f(o) }

// WithDeadLetterTopic sets the name of the topic that takes what cannot be
// handled; the default is "{topic}-dlt". {topic} stands for the record's topic,
// as it is named on the broker, and {group} for the consumer group: groups that
// share a topic share its dead letters unless the name has the group in it. The
// header dlt-original-consumer-group tells them apart in any case.
//
// The subscriber creates no topic. Create this one too, for example with
// EnsureTopics, and let the service write to it: while a dead letter
// cannot be written, the record's key waits.
func WithDeadLetterTopic(template string) SubscriberOption {
	return subscriberOption(func(o *subscriberOptions) { o.deadLetterTopic = template })
}

// WithInstanceID makes the subscriber a static member of its group, under an ID
// that no other member uses at the same time: when it stops and returns within
// the session timeout, it gets its partitions back without a rebalance. It does
// not leave the group when it stops, so its partitions wait until it returns or
// the session timeout is over. A second member of the same ID ends the
// first one's Run with an error. When it returns with other topics, or topics
// have grown meanwhile, the group shares out anew after some seconds. By
// default, and with "", it is a dynamic member. Needs Kafka 2.3.
//
// Source: https://cwiki.apache.org/confluence/display/KAFKA/KIP-345
func WithInstanceID(id string) SubscriberOption {
	return subscriberOption(func(o *subscriberOptions) { o.instanceID = id })
}

// WithSessionTimeout sets after how long without a heartbeat the group takes the
// subscriber for dead and gives its partitions to others; the default is 45 s.
// The broker has limits of its own, 6 s to 30 min by default. It does not limit
// how long a handler may take: heartbeats go on meanwhile.
func WithSessionTimeout(d time.Duration) SubscriberOption {
	return subscriberOption(func(o *subscriberOptions) { o.sessionTimeout = d })
}

// WithDrainTimeout sets how long handlers may go on when Run is to stop, or when
// their partition goes to another member, before their contexts end; the
// default is 10 s. With zero they end at once.
func WithDrainTimeout(d time.Duration) SubscriberOption {
	return subscriberOption(func(o *subscriberOptions) { o.drainTimeout = d })
}

// WithStartLatest lets a group that has no position in a topic begin with what
// is published from then on. By default it begins with the oldest record
// that the topic holds, so that nothing is missed. Partitions of a topic in which the group has a
// position, and topics and partitions that appear while Run runs, are read from
// their beginning in either case: what they hold was published since the group began.
func WithStartLatest() SubscriberOption {
	return subscriberOption(func(o *subscriberOptions) { o.startLatest = true })
}

// WithMaxBatchBytes bounds what a batch may decompress to; the default is
// 16 MiB, and 1 GiB the most. A larger one, or one of zstd that asks for a larger
// window (8 MiB are always allowed), ends [Subscriber.Run] with an error: there
// is no telling what it holds, so it is neither skipped nor a dead letter. Each
// partition that is being handled may take that much memory at once. Producers
// bound their batches before compression, most to 1 MiB or less.
func WithMaxBatchBytes(n int) SubscriberOption {
	return subscriberOption(func(o *subscriberOptions) { o.maxBatchBytes = n })
}

// WithProcessLinkOnly has the span of a handler begin a trace of its own, with a
// link to the span in which the event was made. By default it is in the event's
// trace, below that span, and links to it as well.
func WithProcessLinkOnly() SubscriberOption {
	return subscriberOption(func(o *subscriberOptions) { o.linked = true })
}

// WithPollSpans makes spans of fetches that brought records, or failed, and of
// commits too, each a trace of its own: many, and of use to whoever looks at the
// library rather than at events. Their durations are measured in any case.
func WithPollSpans() SubscriberOption {
	return subscriberOption(func(o *subscriberOptions) { o.polls = true })
}

// checkBalancers refuses what the engine would.
func checkBalancers(bs []consumer.Balancer) error {
	for i, b := range bs {
		if b != consumer.CooperativeSticky && b != consumer.Range {
			return fmt.Errorf("messaging: WithBalancers: %s is none: give CooperativeSticky, Range or both", b)
		}
		if slices.Contains(bs[:i], b) {
			return fmt.Errorf("messaging: WithBalancers: %s is named twice", b)
		}
	}
	return nil
}
