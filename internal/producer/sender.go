package producer

import (
	"errors"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/segmentio/kafka-go/protocol"

	"github.com/expensevault/sharedlibrary/internal/cluster"
	"github.com/expensevault/sharedlibrary/internal/kerr"
	"github.com/expensevault/sharedlibrary/internal/wire"
)

const (
	// maxBatchBytes stays below the brokers' default of message.max.bytes, 1048588, with the batch's own header.
	maxBatchBytes = 1_000_000
	// maxRequestBytes bounds what one write carries; brokers take 100 MiB.
	maxRequestBytes = 8 << 20
)

// sender carries the batches of the partitions that one broker leads.
type sender struct {
	p      *Producer
	broker int32
	kick   chan struct{} // of one token
	conn   *wire.Conn    // that carried the last request; the sender's own

	// Guarded by the producer's mutex.
	ready    []*partition
	requests int // not answered
	trouble  trouble
}

// place names a partition.
type place struct {
	topic     string
	partition int32
}

// flight is one partition's part in a request.
type flight struct {
	pt *partition
	b  *batch
}

func (s *sender) run() {
	defer s.p.wg.Done()
	for {
		select {
		case <-s.kick:
		case <-s.p.ctx.Done():
			return
		}
		for s.send() {
		}
	}
}

// send makes and writes one request; false when there is nothing to send now.
func (s *sender) send() bool {
	fs := s.collect()
	if len(fs) == 0 {
		return false
	}
	for _, f := range fs {
		if err := f.b.build(s.p.params.Compression); err != nil { // a codec that can't write to memory: not to be expected
			s.notSent(fs, err)
			return true
		}
	}
	conn, err := s.p.params.Cluster.Conn(s.p.ctx, s.broker, cluster.Produce)
	if err != nil {
		s.notSent(fs, err)
		return true
	}
	if s.conn != conn {
		s.conn = conn
		if s.p.params.Acks == 0 {
			// All that a broker that does not lead any more can do without an answer is to close the connection.
			s.p.refresh()
		}
	}
	version, ok := conn.Version(protocol.Produce, produceLowest, produceHighest)
	if !ok {
		s.notSent(fs, errors.New("producer: the broker has no version of Produce from 3 to 8"))
		return true
	}
	slices.SortStableFunc(fs, func(a, b flight) int { return strings.Compare(a.pt.topic.name, b.pt.topic.name) })
	ts := make([]target, len(fs))
	for i, f := range fs {
		ts[i] = target{f.pt.topic.name, f.pt.id, f.b.bytes}
	}
	timeout := s.p.attempt
	req := wire.Request{
		Key: protocol.Produce, Version: version,
		Body:     produceBody(s.p.params.Acks, int32(timeout.Milliseconds()), ts),
		NoAnswer: s.p.params.Acks == 0,
	}
	s.markSent(fs)
	// The broker waits for its followers as long as the request says; the answer needs a little more.
	err = conn.Send(req, timeout+timeout/4, func(a wire.Answer, err error) { s.answered(fs, version, a, err) })
	if err != nil {
		s.unmarkSent(fs)
		s.notSent(fs, err)
	}
	return true
}

// collect takes what is ready, sealing batches where there are none.
func (s *sender) collect() []flight {
	p := s.p
	p.mu.Lock()
	defer p.unlock()
	var (
		fs   []flight
		size int
	)
	for len(s.ready) > 0 && s.requests < p.params.MaxInFlight && size < maxRequestBytes {
		pt := s.ready[0]
		s.ready = s.ready[1:]
		pt.listed = false
		if pt.leader != s.broker {
			p.schedule(pt)
			continue
		}
		if pt.batch == nil {
			pt.batch = p.seal(pt)
		}
		if pt.batch == nil {
			continue
		}
		pt.flying = true
		size += pt.batch.size
		fs = append(fs, flight{pt, pt.batch})
	}
	if len(fs) > 0 {
		s.requests++
	}
	return fs
}

// markSent comes before the write: an answer, or a Close, may come before the write returns.
func (s *sender) markSent(fs []flight) {
	s.p.mu.Lock()
	defer s.p.unlock()
	for _, f := range fs {
		f.b.before, f.b.maybe = f.b.maybe, true
	}
}

// unmarkSent takes markSent back: nothing of the request reached the connection.
func (s *sender) unmarkSent(fs []flight) {
	s.p.mu.Lock()
	defer s.p.unlock()
	for _, f := range fs {
		f.b.maybe = f.b.before
	}
}

// notSent handles a request that certainly did not leave.
func (s *sender) notSent(fs []flight, err error) {
	p := s.p
	p.mu.Lock()
	defer p.unlock()
	s.requests--
	p.troubled(&s.trouble, err)
	p.needMetadata()
	_, refused := errors.AsType[*wire.AuthError](err)
	for _, f := range fs {
		f.pt.flying = false
		f.pt.err = err
		p.again(f.pt)
		if refused { // waiting helps nobody
			p.failPartition(f.pt, err)
		}
	}
	p.scheduleAll(s)
}

// answered runs in the connection's reader.
func (s *sender) answered(fs []flight, version int16, a wire.Answer, err error) {
	p := s.p
	var answers map[place]answer
	if err == nil && p.params.Acks != 0 {
		var list []answer
		if list, err = parseAnswers(version, a.Body); err == nil {
			answers = make(map[place]answer, len(list))
			for _, an := range list {
				answers[place{an.topic, an.partition}] = an
			}
		}
	}
	p.mu.Lock()
	defer p.unlock()
	s.requests--
	if err != nil {
		// Lost on the way there, or back.
		p.troubled(&s.trouble, err)
		p.needMetadata()
	}
	for _, f := range fs {
		f.pt.flying = false
		switch {
		case err != nil:
			f.pt.err = err
			p.again(f.pt)
		case p.params.Acks == 0:
			s.verdict(f.pt, answer{offset: -1})
		default:
			an, ok := answers[place{f.pt.topic.name, f.pt.id}]
			if !ok {
				f.pt.err = errMalformed
				p.troubled(&s.trouble, errMalformed)
				p.again(f.pt)
				continue
			}
			s.verdict(f.pt, an)
		}
	}
	p.scheduleAll(s)
}

// verdict acts on the broker's answer to pt.batch.
func (s *sender) verdict(pt *partition, an answer) {
	p, b := s.p, pt.batch
	act, v := pt.seq.answered(int32(len(b.entries)), an.code, b.before)
	if v.Refresh {
		p.needMetadata()
	}
	if !v.Possibly && an.code != kerr.None {
		// This try wrote nothing, so that what is left open is what was open before it.
		b.maybe = b.before
	}
	switch act {
	case actDone:
		p.recovered(&s.trouble)
		p.acknowledge(pt, b, an.offset)
	case actAgain:
		pt.err = brokerError(an)
		p.troubled(&s.trouble, pt.err)
		p.again(pt)
	case actRestamp:
		pt.err = brokerError(an)
		p.troubled(&s.trouble, pt.err)
		p.log(slog.LevelWarn, "The broker does not know the producer's sequence: raising the epoch",
			slog.String("messaging.destination.name", pt.topic.name),
			slog.Int("messaging.destination.partition.id", int(pt.id)), slog.String("error.type", an.code.Name()))
		for _, e := range b.entries {
			e.maybe = e.maybe || b.maybe // what sequencer.answered trusts in is no promise to the caller
		}
		b.maybe = false
		p.again(pt)
	case actFail:
		p.refuse(pt, b, an)
	}
}

func (p *Producer) acknowledge(pt *partition, b *batch, base int64) {
	var ss []settlement
	for i, e := range b.entries {
		off := base
		if off >= 0 {
			off += int64(i)
		}
		ss = p.settle(ss, e, Result{Partition: pt.id, Offset: off}, nil, false)
	}
	pt.batch, pt.tries, pt.limit, pt.err = nil, 0, 0, nil
	p.later(ss)
	p.schedule(pt)
}

// refuse gives up a batch that the broker does not take. Where one record may
// be to blame, the others are tried without it.
func (p *Producer) refuse(pt *partition, b *batch, an answer) {
	if len(b.entries) > 1 && !b.maybe && blamesOne(an.code) {
		pt.limit = (len(b.entries) + 1) / 2
		pt.unseal()
		p.schedule(pt)
		return
	}
	var ss []settlement
	for _, e := range b.entries {
		ss = p.settle(ss, e, Result{}, brokerError(an), b.maybe)
	}
	pt.batch, pt.tries = nil, 0
	p.later(ss)
	p.schedule(pt)
}

func blamesOne(c kerr.Code) bool {
	switch c { //nolint:exhaustive // all others are about the batch, the topic or us
	case kerr.MessageTooLarge, kerr.RecordListTooLarge, kerr.InvalidRecord, kerr.InvalidTimestamp:
		return true
	}
	return false
}

// again arranges for another try of pt.batch, after a pause.
func (p *Producer) again(pt *partition) {
	b := pt.batch
	switch {
	case !b.maybe:
		pt.unseal() // what is cancelled or too late is left out of the next
	case !b.unsettled():
		// Its callers have their answer, "possibly written". Nobody pays for
		// certainty now, and the next epoch makes sure that nothing overtakes it.
		pt.seq.dropped(true)
		pt.batch = nil
	}
	if p.ctx.Err() != nil {
		return
	}
	pt.tries++
	pt.paused = true
	pt.timer = time.AfterFunc(p.params.Backoff.Pause(pt.tries-1), func() {
		p.mu.Lock()
		defer p.unlock()
		pt.paused = false
		p.schedule(pt)
	})
}

// schedule lists pt with its leader's sender if there is something to send.
func (p *Producer) schedule(pt *partition) {
	if pt.listed || pt.flying || pt.paused || !pt.hasWork() || p.ctx.Err() != nil {
		return
	}
	if pt.leader == noLeader {
		p.needMetadata()
		return
	}
	if p.params.Idempotent && pt.seq.needsID() && !p.adoptID(pt) {
		return
	}
	s := p.senders[pt.leader]
	if s == nil {
		s = &sender{p: p, broker: pt.leader, kick: make(chan struct{}, 1)}
		p.senders[pt.leader] = s
		p.wg.Add(1)
		go s.run()
	}
	pt.listed = true
	s.ready = append(s.ready, pt)
	kick(s.kick)
}

// unlist takes pt off the ready list of the broker that led it.
func (p *Producer) unlist(pt *partition) {
	if s := p.senders[pt.leader]; pt.listed && s != nil {
		s.ready = slices.DeleteFunc(s.ready, func(o *partition) bool { return o == pt })
		pt.listed = false
	}
}

// scheduleAll wakes a sender that waited for one of its requests.
func (p *Producer) scheduleAll(s *sender) {
	if len(s.ready) > 0 {
		kick(s.kick)
	}
}

func kick(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

func brokerError(an answer) error {
	if an.message == "" {
		return an.code
	}
	return &BrokerError{Code: an.code, Message: an.message}
}

// BrokerError is a code with the broker's own words.
type BrokerError struct {
	Code    kerr.Code
	Message string
}

func (e *BrokerError) Error() string { return e.Code.Error() + ": " + e.Message }

func (e *BrokerError) Unwrap() error { return e.Code }
