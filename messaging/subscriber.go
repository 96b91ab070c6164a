package messaging

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/expensevault/sharedlibrary/internal/cluster"
	"github.com/expensevault/sharedlibrary/internal/consumer"
	"github.com/expensevault/sharedlibrary/internal/recordbatch"
)

// Subscriber reads the topics of a [Mux] as a member of a consumer group and has
// every record handled, at least once:
//
//   - A record is finished when its handler has returned nil, or its dead letter
//     is acknowledged. Only then is its offset committed, and never that of a
//     partition that the group has meanwhile given to another member. What was
//     finished but not yet committed when a process dies is handled again.
//   - The records of a key are handled one after the other, in order. Those of
//     different keys are handled in parallel, in one partition too, see
//     [WithConcurrency]; records without a key have no order.
//   - A handler that fails is tried again, see [WithRetry], while its key
//     waits and the others go on. What still fails, fails as [Permanent], or cannot be decoded goes to
//     the dead-letter topic, see [WithDeadLetterTopic], and the key goes on.
//   - While a dead letter cannot be written, its key waits; nothing is lost.
//
// A partition has one offset in the group: below it everything is finished. While
// a key waits, what other keys have finished above it stands in the
// metadata of the committed offset, up to 4 KB of it, so that after a crash or a rebalance it is not
// handled again. Clients of another kind in the same group leave it alone. A key
// can wait until its own records behind it take some MB, or 131,072 of its partition
// were finished meanwhile; then the partition waits with it.
//
// A dead letter has key, value and headers byte for byte, and in headers of its
// own, all text: dlt-original-topic, -partition, -offset, -timestamp and
// -consumer-group, dlt-error-type, dlt-error-message, dlt-attempts and
// dlt-failed-at. Headers of these names that the record has already, from an
// earlier time among the dead letters, are left out. Where the broker's acknowledgement of a dead letter is lost, it
// may stand in the topic twice, with the same original offset.
type Subscriber struct {
	cfg     *Config // by pointer: fmt would show the secrets of a value in an unexported field
	group   string
	topics  []string // on the broker
	opts    subscriberOptions
	deliver pipeline // without what lives as long as one Run
	control consumer.Control
	running atomic.Bool
	end     atomic.Pointer[error] // what Run returned last
}

// NewSubscriber returns a member of the group for the topics that mux has
// handlers for by now, under the names that [Config.Topics] gives them. It does
// not connect.
//
// It returns an error for settings that [Config.Validate] refuses, an empty
// group, a mux without handlers, two topics of the mux that have the same name
// on the broker, and options that are not valid.
func NewSubscriber(cfg Config, group string, mux *Mux, opts ...SubscriberOption) (*Subscriber, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	o := subscriberOptions{
		retry: defaultRetry(), deadLetterTopic: defaultDeadLetterTopic,
		sessionTimeout: defaultSessionTimeout, drainTimeout: defaultDrainTimeout,
		maxBatchBytes: defaultMaxBatchBytes, concurrency: defaultConcurrency, retryTopic: defaultRetryTopic,
	}
	for _, opt := range opts {
		opt.applySubscriber(&o)
	}
	switch {
	case group == "":
		return nil, errors.New("messaging: the subscriber has no consumer group: give one that no other service uses")
	case mux == nil || len(mux.Topics()) == 0:
		return nil, fmt.Errorf("messaging: the subscriber of group %q has nothing to handle: register handlers before NewSubscriber", group)
	case o.sessionTimeout <= 0:
		return nil, fmt.Errorf("messaging: WithSessionTimeout(%s): give more than zero", o.sessionTimeout)
	case o.drainTimeout < 0:
		return nil, fmt.Errorf("messaging: WithDrainTimeout(%s): give zero or more", o.drainTimeout)
	case o.maxBatchBytes < 1 || o.maxBatchBytes > mostBatchBytes:
		return nil, fmt.Errorf("messaging: WithMaxBatchBytes(%d): give 1 to %d", o.maxBatchBytes, mostBatchBytes)
	}
	if err := errors.Join(checkBalancers(o.balancers), o.retry.validate(), o.validateFlow(), o.checkRetryTopics()); err != nil {
		return nil, err
	}
	s := &Subscriber{cfg: &cfg, group: group, opts: o, deliver: pipeline{
		log: o.logger(), mux: mux, group: group, retry: o.retry, unhandled: o.unhandled, skipped: &sync.Map{},
		routes: make(map[string]*route), deadLetterTopics: make(map[string]string),
		stages: make(map[string]retryStage), retryTopics: make(map[string][]string),
		watch: o.observed(cfg.ClientID),
	}}
	s.deliver.watch.linked, s.deliver.watch.polls = o.linked, o.polls
	for _, name := range mux.Topics() {
		if err := s.subscribe(name); err != nil {
			return nil, err
		}
	}
	for _, topic := range slices.Clone(s.topics) {
		if err := s.subscribeRetries(topic); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// subscribe adds a topic of the mux.
func (s *Subscriber) subscribe(name string) error {
	d := &s.deliver
	topic := s.cfg.TopicName(name)
	if err := checkTopicName(topic); err != nil {
		return fmt.Errorf("messaging: Config.Topics[%q]: %w", name, err)
	}
	if other := d.routes[topic]; other != nil {
		return fmt.Errorf("messaging: Config.Topics gives the topics %s and %s, which have different handlers, the same name %s",
			other.topic, name, topic)
	}
	dead := strings.NewReplacer("{topic}", topic, "{group}", s.group).Replace(s.opts.deadLetterTopic)
	if err := checkTopicName(dead); err != nil {
		return fmt.Errorf("messaging: WithDeadLetterTopic(%q): %w", s.opts.deadLetterTopic, err)
	}
	if dead == topic {
		return fmt.Errorf("messaging: WithDeadLetterTopic(%q): the dead letters of %s would go to that topic itself", s.opts.deadLetterTopic, topic)
	}
	d.routes[topic] = d.mux.route(name)
	d.deadLetterTopics[topic] = dead
	s.topics = append(s.topics, topic)
	return nil
}

// Run joins the group and blocks. When ctx ends, no further record is begun,
// handlers may go on for the drain timeout, see [WithDrainTimeout], what they
// finished is committed, and Run returns nil. Handlers get a context with ctx's
// values that does not end with it, but with the drain timeout, or when their
// partition was lost to another member.
//
// Brokers that are away and topics that are missing are waited for. Run returns
// an error where waiting does not help: [ErrAuthentication], [ErrNotAuthorized],
// settings that the broker refuses, another member with the same instance ID;
// and where a batch in the log cannot be read, which is never skipped: one that
// is over [WithMaxBatchBytes], one whose checksum does not match or that is
// malformed, fetched repeatedly, and one of a message format older than v2. The
// error names its offset. Run may be called again after it has returned; a second call at the same time
// is an error.
func (s *Subscriber) Run(ctx context.Context) (err error) {
	if !s.running.CompareAndSwap(false, true) {
		return fmt.Errorf("messaging: the subscriber of group %q runs already", s.group)
	}
	defer func() {
		s.end.Store(&err)
		s.running.Store(false)
	}()

	params, err := s.cfg.clusterParams(s.deliver.log)
	if err != nil {
		return err
	}
	params.Wire.Dial = s.opts.dial
	conns := cluster.New(params)
	defer conns.Close()
	dead, err := s.deadLetterPublisher()
	if err != nil {
		return err
	}
	defer s.deliver.watch.watchEngine(s.group, &s.control)()
	deliver := s.deliver
	deliver.write = func(ctx context.Context, r Record) error {
		return dead.publish(ctx, r) // not PublishRecords: see there
	}
	err = consumer.Run(contextWithCodec(ctx, s.opts.codec), s.engineParams(conns, &deliver))
	if closeErr := dead.Close(); err == nil && closeErr != nil { //nolint:contextcheck // it is bounded, and ctx has ended
		// Its record is not finished, and will be handled again.
		deliver.log.WarnContext(ctx, "A dead letter was not acknowledged when the subscriber stopped", "error", closeErr)
	}
	if err != nil {
		return fmt.Errorf("messaging: the subscriber of group %q: %w%s", s.group, engineError(err), s.batchAdvice(err))
	}
	return nil
}

// batchAdvice says what an operator can do about a batch that cannot be read.
func (s *Subscriber) batchAdvice(err error) string {
	batch, ok := errors.AsType[*recordbatch.BatchError](err)
	if !ok {
		return ""
	}
	if errors.Is(err, recordbatch.ErrBatchTooLarge) {
		return fmt.Sprintf(": it stays there; to read it, raise WithMaxBatchBytes, which is %d", s.opts.maxBatchBytes)
	}
	return fmt.Sprintf(": it stays there; to go on without it, stop the group's members and set the group's offset of %s/%d beyond it",
		batch.Topic, batch.Partition)
}

func (s *Subscriber) engineParams(conns *cluster.Cluster, deliver *pipeline) consumer.Params {
	return consumer.Params{ //nolint:exhaustruct_v5 // zero is the engine's default
		Cluster:          conns,
		Logger:           deliver.log,
		Group:            s.group,
		InstanceID:       s.opts.instanceID,
		Balancers:        s.opts.balancers,
		Topics:           s.topics,
		SessionTimeout:   s.opts.sessionTimeout,
		RebalanceTimeout: max(time.Minute, 2*s.opts.drainTimeout),
		DrainTimeout:     max(s.opts.drainTimeout, 1), // zero is the engine's own default
		MaxBatchBytes:    s.opts.maxBatchBytes,
		StartLatest:      s.opts.startLatest,
		OutOfRange:       s.opts.outOfRange.engine(),
		Concurrency:      s.opts.concurrency,
		Batch:            deliver.batchSize,
		Control:          &s.control,
		Observer:         &engineObserver{observed: &deliver.watch, group: s.group},
		Handle:           deliver.handle,
	}
}

// deadLetterPublisher returns the publisher of dead letters.
func (s *Subscriber) deadLetterPublisher() (*KafkaPublisher, error) {
	opts := []PublisherOption{WithLogger(s.deliver.log), WithTracerProvider(s.opts.tracers), WithMeterProvider(s.opts.meters)}
	if s.opts.dial != nil {
		opts = append(opts, WithDialer(s.opts.dial))
	}
	return newSafePublisher(*s.cfg, opts...)
}

// newSafePublisher returns a publisher that is as safe as can be, whatever events need.
func newSafePublisher(cfg Config, opts ...PublisherOption) (*KafkaPublisher, error) {
	cfg.Acks, cfg.EnableIdempotence, cfg.MaxInFlight = AcksAll, true, min(cfg.MaxInFlight, 5)
	return NewKafkaPublisher(cfg, opts...)
}
