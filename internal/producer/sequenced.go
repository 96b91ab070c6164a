package producer

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/segmentio/kafka-go/protocol"
	"github.com/segmentio/kafka-go/protocol/initproducerid"

	"github.com/expensevault/sharedlibrary/internal/cluster"
	"github.com/expensevault/sharedlibrary/internal/kerr"
	"github.com/expensevault/sharedlibrary/internal/recordbatch"
	"github.com/expensevault/sharedlibrary/internal/wire"
)

// Why a batch of a kept identity was not taken.
var (
	// ErrFenced says that a newer epoch of the identity has written to the partition.
	ErrFenced = errors.New("producer: fenced by a newer epoch of the producer's identity")
	// ErrSequence says that the sequence does not follow what the partition's leader knows of the identity.
	ErrSequence = errors.New("producer: the sequence does not follow what the broker knows")
)

// Sequenced is one batch with a place in the sequence of an identity that its
// caller keeps. Equal ones have equal bytes.
type Sequenced struct {
	ID        int64
	Epoch     int16
	Sequence  int32 // of the first record
	Topic     string
	Partition int32
	Records   []Record // their topics do not count
}

// ProduceSequenced sends a batch until it is acknowledged, the answer is final,
// ctx ends or MessageTimeout has passed, and returns the offset of its first
// record, -1 where the broker has forgotten it. Nothing is numbered or raised
// here: what the broker says to the numbers is the caller's to act on.
//
// Batches of one identity and partition must be sent one at a time. It shares
// nothing with Produce but the connections.
func (p *Producer) ProduceSequenced(ctx context.Context, s *Sequenced) (offset int64, err error) {
	called := p.now()
	ctx, end, err := p.bounded(ctx)
	if err != nil {
		return 0, err
	}
	defer end()
	rb := recordbatch.Builder{Pool: &p.memory}
	defer rb.Free()
	for i := range s.Records {
		r := &s.Records[i]
		rb.Append(r.Millis, r.Key, r.Value, r.Headers)
	}
	if rb.Count() == 0 {
		return 0, &Error{Err: errors.New("producer: a batch without records")}
	}
	batch, err := rb.Finish(p.params.Compression)
	if err != nil {
		return 0, &Error{Err: err}
	}
	recordbatch.Stamp(batch, s.ID, s.Epoch, s.Sequence)

	var (
		maybe bool
		last  error
		stale bool
	)
	for n := 0; ; n++ {
		if n > 0 && !p.params.Backoff.Wait(ctx, n-1) {
			return 0, &Error{Err: p.overdue(ctx, last), MaybeWritten: maybe}
		}
		an, sent, err := p.trySequenced(ctx, s, batch, stale, func() { p.observeTry(s.Topic, n, called, last) })
		stale = true
		if err != nil {
			maybe, last = maybe || sent, err
			if _, refused := errors.AsType[*wire.AuthError](err); refused || isFinal(err) {
				return 0, &Error{Err: err, MaybeWritten: maybe}
			}
			continue
		}
		v := kerr.OfProduce(an.code)
		switch v.Verdict {
		case kerr.Done:
			return an.offset, nil
		case kerr.Retry:
			maybe, last, stale = maybe || v.Possibly, brokerError(an), v.Refresh
			continue
		case kerr.Sequence:
			kind := ErrSequence
			if an.code == kerr.InvalidProducerEpoch {
				kind = ErrFenced
			}
			return 0, &Error{Err: fmt.Errorf("%w: %w", kind, brokerError(an)), MaybeWritten: maybe}
		case kerr.Fail:
			err := brokerError(an)
			if an.code == kerr.ProducerFenced {
				err = fmt.Errorf("%w: %w", ErrFenced, err)
			}
			return 0, &Error{Err: err, MaybeWritten: maybe || v.Possibly}
		}
	}
}

// trySequenced makes one try; sent says whether it may have reached the broker.
func (p *Producer) trySequenced(ctx context.Context, s *Sequenced, batch []byte, stale bool, sending func()) (an answer, sent bool, err error) {
	leader, err := p.leaders.of(ctx, p.params.Cluster, s.Topic, s.Partition, stale)
	if err != nil {
		return answer{}, false, err
	}
	conn, err := p.params.Cluster.Conn(ctx, leader, cluster.Produce)
	if err != nil {
		return answer{}, false, err
	}
	version, ok := conn.Version(protocol.Produce, produceLowest, produceHighest)
	if !ok {
		return answer{}, false, errNoVersion
	}
	type result struct {
		a   wire.Answer
		err error
	}
	ch := make(chan result, 1)
	timeout := p.attempt
	sending()
	began := p.now()
	err = conn.Send(wire.Request{
		Key: protocol.Produce, Version: version,
		Body: produceBody(-1, int32(timeout.Milliseconds()), []target{{s.Topic, s.Partition, batch}}),
	}, timeout+timeout/4, func(a wire.Answer, err error) { ch <- result{a, err} })
	if err != nil {
		return answer{}, false, err
	}
	var res result
	select {
	case res = <-ch:
	case <-ctx.Done():
		return answer{}, true, ctx.Err()
	}
	if o := p.params.Observer; o != nil {
		o.Answered(time.Duration(p.now()-began), res.err)
	}
	if res.err != nil {
		return answer{}, true, res.err
	}
	list, err := parseAnswers(version, res.a.Body)
	if err != nil || len(list) != 1 || list[0].topic != s.Topic || list[0].partition != s.Partition {
		return answer{}, true, errMalformed
	}
	return list[0], true, nil
}

// NewID asks the cluster for a producer ID that nobody has used.
func (p *Producer) NewID(ctx context.Context) (id int64, epoch int16, err error) {
	ctx, end, err := p.bounded(ctx)
	if err != nil {
		return 0, 0, err
	}
	defer end()
	var last error
	for n := 0; ; n++ {
		if n > 0 && !p.params.Backoff.Wait(ctx, n-1) {
			return 0, 0, &Error{Err: p.overdue(ctx, last)}
		}
		res, err := p.initID(ctx)
		if err == nil {
			return res.ProducerID, res.ProducerEpoch, nil
		}
		if _, refused := errors.AsType[*wire.AuthError](err); refused || isFinal(err) {
			return 0, 0, &Error{Err: err}
		}
		last = err
	}
}

func (p *Producer) initID(ctx context.Context) (*initproducerid.Response, error) {
	msg, err := p.params.Cluster.Do(ctx, cluster.Any, cluster.Control,
		&initproducerid.Request{TransactionTimeoutMs: 60_000, ProducerID: -1, ProducerEpoch: -1}, p.attempt)
	if err != nil {
		return nil, fmt.Errorf("producer ID: %w", err)
	}
	res, ok := msg.(*initproducerid.Response)
	if !ok {
		return nil, errMalformed
	}
	if code := kerr.Code(res.ErrorCode); code != kerr.None {
		return nil, fmt.Errorf("producer ID: %w", code)
	}
	return res, nil
}

// PartitionFor is where Produce would put a record with this key, as far as the
// brokers' metadata tells, which is five minutes old at most; any partition for a record that may go anywhere.
func (p *Producer) PartitionFor(ctx context.Context, topic string, key []byte) (int32, error) {
	var out int32
	err := p.withLeaders(ctx, topic, func(leaders []int32) error {
		hash, ok := p.params.Partitioner(key)
		if !ok {
			hash = rand.Uint32()
		}
		out = int32(hash % uint32(len(leaders)))
		return nil
	})
	return out, err
}

// Leader is the broker that leads a partition.
func (p *Producer) Leader(ctx context.Context, topic string, partition int32) (broker int32, err error) {
	err = p.withLeaders(ctx, topic, func(leaders []int32) error {
		if partition < 0 || int(partition) >= len(leaders) || leaders[partition] == noLeader {
			return kerr.LeaderNotAvailable
		}
		broker = leaders[partition]
		return nil
	})
	return broker, err
}

// withLeaders calls use with the leaders of a topic, and again with newer ones
// while it, or the brokers, fail with what another try may cure.
func (p *Producer) withLeaders(ctx context.Context, topic string, use func([]int32) error) error {
	ctx, end, err := p.bounded(ctx)
	if err != nil {
		return err
	}
	defer end()
	var last error
	for n := 0; ; n++ {
		if n > 0 && !p.params.Backoff.Wait(ctx, n-1) {
			return &Error{Err: p.overdue(ctx, last)}
		}
		leaders, err := p.leaders.topic(ctx, p.params.Cluster, topic, n > 0)
		if err == nil {
			err = use(leaders)
		}
		if err == nil {
			return nil
		}
		if _, refused := errors.AsType[*wire.AuthError](err); refused || isFinal(err) {
			return &Error{Err: err}
		}
		last = err
	}
}

// bounded ends ctx after MessageTimeout, and when the producer is closed.
func (p *Producer) bounded(ctx context.Context) (context.Context, func(), error) {
	p.mu.Lock()
	shut := p.shut
	p.mu.Unlock()
	if shut {
		return nil, nil, &Error{Err: ErrClosed}
	}
	ctx, cancel := context.WithTimeoutCause(ctx, p.params.MessageTimeout, ErrTimeout)
	stop := context.AfterFunc(p.ctx, cancel)
	return ctx, func() { stop(); cancel() }, nil
}

// overdue is why a bounded call has ended.
func (p *Producer) overdue(ctx context.Context, last error) error {
	switch {
	case p.ctx.Err() != nil:
		return ErrClosed
	case errors.Is(context.Cause(ctx), ErrTimeout):
		return p.timeoutError(last)
	case last != nil && !errors.Is(last, ctx.Err()):
		return fmt.Errorf("%w; the last try: %w", ctx.Err(), last)
	}
	return ctx.Err()
}

// isFinal reports whether another try would meet the same error. A topic that is missing is
// asked for a while before that is believed; see leaders.
func isFinal(err error) bool {
	if errors.Is(err, errMissing) || errors.Is(err, errNoVersion) {
		return true
	}
	var code kerr.Code
	if !errors.As(err, &code) {
		return false
	}
	return kerr.OfProduce(code).Verdict == kerr.Fail
}

var (
	errNoVersion = errors.New("producer: the broker has no version of Produce from 3 to 8")
	// errMissing marks a topic that the brokers do not know for some time.
	errMissing = errors.New("producer: the brokers know no such topic")
)

// leaders remembers who leads the partitions of the topics that sequenced batches go to.
type leaders struct {
	mu     sync.Mutex
	topics map[string]*led
}

type led struct {
	leaders []int32 // noLeader where there is none
	asked   time.Time
	missing time.Time // since when; zero: it is not
}

func (l *leaders) of(ctx context.Context, c *cluster.Cluster, topic string, partition int32, stale bool) (int32, error) {
	all, err := l.topic(ctx, c, topic, stale)
	if err != nil {
		return noLeader, err
	}
	if partition < 0 || int(partition) >= len(all) || all[partition] == noLeader {
		return noLeader, fmt.Errorf("partition %d of topic %s: %w", partition, topic, kerr.LeaderNotAvailable)
	}
	return all[partition], nil
}

func (l *leaders) topic(ctx context.Context, c *cluster.Cluster, topic string, stale bool) ([]int32, error) {
	l.mu.Lock()
	if t := l.topics[topic]; t != nil && !stale && len(t.leaders) > 0 && time.Since(t.asked) < metadataMaxAge {
		defer l.mu.Unlock()
		return t.leaders, nil
	}
	l.mu.Unlock()

	md, err := c.Metadata(ctx, topic)
	if err != nil {
		return nil, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.topics == nil {
		l.topics = map[string]*led{}
	}
	t := l.topics[topic]
	if t == nil {
		t = &led{}
		l.topics[topic] = t
	}
	mt := md.Topics[topic]
	switch {
	case mt == nil:
		return nil, fmt.Errorf("metadata of topic %s: %w", topic, errMalformed)
	case mt.Err == kerr.UnknownTopicOrPartition:
		if t.missing.IsZero() {
			t.missing = time.Now()
		}
		if time.Since(t.missing) >= missingGrace {
			delete(l.topics, topic)
			return nil, fmt.Errorf("%w: %w", errMissing, mt.Err)
		}
		return nil, mt.Err
	case mt.Err != kerr.None:
		return nil, fmt.Errorf("metadata of topic %s: %w", topic, mt.Err)
	case len(mt.Partitions) == 0:
		return nil, fmt.Errorf("metadata of topic %s: %w", topic, kerr.LeaderNotAvailable)
	}
	t.missing, t.asked = time.Time{}, time.Now()
	t.leaders = make([]int32, len(mt.Partitions))
	for i, part := range mt.Partitions {
		t.leaders[i] = noLeader
		if part.Leader >= 0 {
			t.leaders[i] = part.Leader
		}
	}
	return t.leaders, nil
}
