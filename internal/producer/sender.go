package producer

import (
	"cmp"
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
	// While requests are in flight, or as long as the linger says, what waits for one broker gathers until there is so much of it, or so long.
	gatherBytes = 256 << 10
	gatherTime  = 5 * time.Millisecond
)

// sender carries the batches of the partitions that one broker leads.
type sender struct {
	p      *Producer
	broker int32
	wake   chan struct{} // of one token
	conn   *wire.Conn    // that carried the last request; the sender's own

	// Guarded by the producer's mutex.
	ready    []*partition
	waiting  int // bytes, more or less, that the partitions in ready have
	requests int // not answered
	woken    bool
	timer    *time.Timer // ends the gathering
	timed    bool        // it runs
	overdue  bool        // it has ended
	trouble  trouble
}

// place names a partition.
type place struct {
	topic     string
	partition int32
}

// flight is one partition's part in a request.
type flight struct {
	pt     *partition
	b      *batch
	waited int64 // before its first request
	before error // why it is sent again; nil: it is not
}

// request is one on its way. Its answer is acted on when the write has returned as well: until then the bytes are in use.
type request struct {
	flights  []flight
	since    int64 // when it was sent
	version  int16
	written  bool
	answered bool
	answers  map[place]answer
	err      error // why there is no answer
}

func (p *Producer) senderOf(broker int32) *sender {
	s := p.senders[broker]
	if s == nil {
		s = &sender{p: p, broker: broker, wake: make(chan struct{}, 1)}
		s.timer = time.AfterFunc(time.Hour, s.gathered)
		s.timer.Stop()
		p.senders[broker] = s
		p.wg.Add(1)
		go s.run()
	}
	return s
}

// stir wakes the sender if what waits should go now; otherwise that is certain in a little while.
func (s *sender) stir() {
	switch {
	case s.woken || s.requests >= s.p.params.MaxInFlight || len(s.ready) == 0:
	case !s.gathers():
		s.woken = true
		kick(s.wake)
	case !s.timed:
		s.timed = true
		d := s.p.params.Linger
		if d == 0 {
			d = gatherTime
		}
		s.timer.Reset(d)
	}
}

// gathers reports whether what waits should wait for company.
func (s *sender) gathers() bool {
	return (s.requests > 0 || s.p.params.Linger > 0) && s.waiting < gatherBytes && !s.overdue
}

// gathered ends the gathering.
func (s *sender) gathered() {
	s.p.mu.Lock()
	defer s.p.unlock()
	s.timed, s.overdue = false, true
	s.stir()
}

func (s *sender) run() {
	defer s.p.wg.Done()
	defer s.timer.Stop()
	for {
		select {
		case <-s.wake:
		case <-s.p.ctx.Done():
			return
		}
		for s.send() {
		}
	}
}

// send makes and writes one request; false when there is nothing to send now.
func (s *sender) send() bool {
	r := &request{flights: s.collect()}
	if len(r.flights) == 0 {
		return false
	}
	for _, f := range r.flights {
		if err := f.b.build(s.p.params.Compression); err != nil { // a codec that can't write to memory: not to be expected
			s.notSent(r, err)
			return true
		}
	}
	conn, err := s.p.params.Cluster.Conn(s.p.ctx, s.broker, cluster.Produce)
	if err != nil {
		s.notSent(r, err)
		return true
	}
	if s.conn != conn {
		s.conn = conn
		if s.p.params.Acks == 0 {
			// All that a broker that does not lead any more can do without an answer is to close the connection.
			s.p.refresh()
		}
	}
	var ok bool
	r.version, ok = conn.Version(protocol.Produce, produceLowest, produceHighest)
	if !ok {
		s.notSent(r, errNoVersion)
		return true
	}
	slices.SortStableFunc(r.flights, func(a, b flight) int { return strings.Compare(a.pt.topic.name, b.pt.topic.name) })
	ts := make([]target, len(r.flights))
	for i, f := range r.flights {
		ts[i] = target{f.pt.topic.name, f.pt.id, f.b.bytes}
	}
	timeout := s.p.attempt
	req := wire.Request{
		Key: protocol.Produce, Version: r.version,
		Body:     produceBody(s.p.params.Acks, int32(timeout.Milliseconds()), ts),
		NoAnswer: s.p.params.Acks == 0,
	}
	s.p.observeSend(r)
	// The broker waits for its followers as long as the request says; the answer needs a little more.
	err = conn.Send(req, timeout+timeout/4, func(a wire.Answer, err error) { s.answered(r, a, err) })
	if err != nil {
		s.notSent(r, err)
		return true
	}
	s.p.mu.Lock()
	defer s.p.unlock()
	if r.written = true; r.answered {
		s.conclude(r)
	}
	return true
}

// collect takes what is ready, a batch of each partition.
func (s *sender) collect() []flight {
	p := s.p
	p.mu.Lock()
	defer p.unlock()
	s.woken = false
	if len(s.ready) == 0 || s.requests >= p.params.MaxInFlight {
		return nil
	}
	if s.gathers() {
		s.stir()
		return nil
	}
	var (
		fs   = make([]flight, 0, len(s.ready))
		size int
		n    int
	)
	for n < len(s.ready) && size < maxRequestBytes {
		pt := s.ready[n]
		n++
		pt.listed = false
		if pt.sender != s {
			p.schedule(pt)
			continue
		}
		if b := p.take(pt); b != nil {
			size += b.rb.Len()
			f := flight{pt: pt, b: b, waited: p.now() - b.born, before: nil}
			if b.sent {
				f.before = cmp.Or(pt.err, errResent)
			}
			b.sent = true
			fs = append(fs, f)
		}
	}
	s.ready = slices.Delete(s.ready, 0, n)
	s.waiting, s.overdue = 0, false
	for _, pt := range s.ready {
		for _, b := range pt.queue {
			s.waiting += b.rb.Len()
		}
	}
	if len(fs) > 0 {
		s.requests++
	}
	for _, f := range fs {
		p.schedule(f.pt) // what did not fit
	}
	return fs
}

// notSent handles a request that certainly did not leave.
func (s *sender) notSent(r *request, err error) {
	p := s.p
	p.mu.Lock()
	defer p.unlock()
	s.requests--
	p.troubled(&s.trouble, err)
	p.needMetadata()
	_, refused := errors.AsType[*wire.AuthError](err)
	for _, f := range r.flights {
		f.pt.seq.unsent(f.b)
		f.pt.err, f.pt.failed = err, true
		p.settleDrained(f.pt)
		if refused { // waiting helps nobody
			p.failPartition(f.pt, err)
		}
		p.schedule(f.pt)
	}
	s.stir()
}

// answered runs in the connection's reader.
func (s *sender) answered(r *request, a wire.Answer, err error) {
	if err == nil && s.p.params.Acks != 0 {
		var list []answer
		if list, err = parseAnswers(r.version, a.Body); err == nil {
			r.answers = make(map[place]answer, len(list))
			for _, an := range list {
				r.answers[place{an.topic, an.partition}] = an
			}
		}
	}
	s.p.observeAnswer(r, err)
	s.p.mu.Lock()
	defer s.p.unlock()
	r.err = err
	if r.answered = true; r.written {
		s.conclude(r)
	}
}

// conclude acts on the answer to a request, or on its absence.
func (s *sender) conclude(r *request) {
	p := s.p
	s.requests--
	if r.err != nil {
		// Lost on the way there, or back.
		p.troubled(&s.trouble, r.err)
		p.needMetadata()
	}
	for _, f := range r.flights {
		an, ok := r.answers[place{f.pt.topic.name, f.pt.id}]
		switch {
		case r.err != nil:
			f.pt.seq.silent(f.b)
			f.pt.err, f.pt.failed = r.err, true
		case p.params.Acks == 0:
			s.verdict(f.pt, f.b, answer{offset: -1})
		case !ok:
			f.pt.seq.silent(f.b)
			f.pt.err, f.pt.failed = errMalformed, true
			p.troubled(&s.trouble, errMalformed)
		default:
			s.verdict(f.pt, f.b, an)
		}
		p.settleDrained(f.pt)
		p.schedule(f.pt)
	}
	s.stir()
}

// verdict acts on the broker's answer to a batch.
func (s *sender) verdict(pt *partition, b *batch, an answer) {
	p := s.p
	before := pt.seq.reset
	out, maybe := pt.seq.answered(b, an.code, blamesOne(an.code))
	if kerr.OfProduce(an.code).Refresh {
		p.needMetadata()
	}
	switch out {
	case outDone:
		p.recovered(&s.trouble)
		pt.tries, pt.err = 0, nil
		p.finish(b, Result{Partition: pt.id, Offset: an.offset}, nil, false)
	case outAgain:
		pt.err, pt.failed = brokerError(an), true
		p.troubled(&s.trouble, pt.err)
		if pt.seq.reset && !before {
			p.log(slog.LevelWarn, "The broker does not know the producer's sequence: raising the epoch",
				slog.String("messaging.destination.name", pt.topic.name),
				slog.Int("messaging.destination.partition.id", int(pt.id)), slog.String("error.type", an.code.Name()))
		}
	case outSplit:
		b.split = true
		if an.code == kerr.MessageTooLarge || an.code == kerr.RecordListTooLarge {
			pt.most = b.rb.Len() / 2
		}
	case outRefused:
		pt.tries = 0
		p.finish(b, Result{}, brokerError(an), maybe)
	}
}

func blamesOne(c kerr.Code) bool {
	switch c { //nolint:exhaustive // all others are about the batch, the topic or us
	case kerr.MessageTooLarge, kerr.RecordListTooLarge, kerr.InvalidRecord, kerr.InvalidTimestamp:
		return true
	}
	return false
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
