package producer_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"hash/crc32"
	"io"
	"net"
	"strconv"
	"sync"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/expensevault/sharedlibrary/messaging/embedded"
)

// tap stands between a client and the brokers, on a network in memory, and lets a script decide about each produce request.
type tap struct {
	front, back *embedded.Network
	doors       []net.Listener
	wg          sync.WaitGroup

	mu      sync.Mutex
	script  func(r *request) act                  // of produce requests; nil: all pass
	answers func(key int16, answer []byte) []byte // changes other answers; nil: none
	seen    []*request                            // produce requests, in their order
	dials   []time.Time
	links   map[*link]struct{}
	hole    chan struct{} // closed when the black hole is over; nil: there is none
	shut    bool          // nobody listens
	zombies []func()
}

// request is a produce request as the tap saw it.
type request struct {
	n       int // the first is 0
	link    int
	at      time.Time
	batches []sealed
	code    int16 // that the client was told, about the first batch; -1: nothing
	told    time.Time
	fate    fate
}

// sealed is one partition's part of it.
type sealed struct {
	partition int32
	id        int64
	epoch     int16
	seq       int32
	events    []int // their numbers
	sum       uint32
}

// fate is what becomes of a request.
type fate uint8

const (
	passes    fate = iota
	refused        // answered with code, and not delivered
	lied           // delivered, and answered with code
	lost           // delivered, and its answer is lost with the connection
	muted          // delivered, and the connection brings no answers any more
	halved         // cut in the middle with the connection
	dropped        // not delivered, the connection is cut
	undead         // as dropped, but release delivers it
	vanishing      // not delivered, and the connection brings no answers any more
)

// act is what a script wants.
type act struct {
	fate   fate
	code   int16
	before time.Duration // the request waits
	after  time.Duration // the answer waits until so long after the request
}

func newTap(back *embedded.Network, addresses []string) (*tap, error) {
	t := &tap{front: &embedded.Network{}, back: back, links: map[*link]struct{}{}}
	for _, a := range addresses {
		l, err := t.front.Listen("tcp", a)
		if err != nil {
			t.close()
			return nil, err
		}
		t.doors = append(t.doors, l)
		t.wg.Go(func() { t.serve(l, a) })
	}
	return t, nil
}

func (t *tap) serve(l net.Listener, address string) {
	for {
		client, err := l.Accept()
		if err != nil {
			return
		}
		broker, err := t.back.DialContext(context.Background(), "tcp", address)
		if err != nil {
			_ = client.Close()
			continue
		}
		t.mu.Lock()
		k := &link{t: t, id: len(t.dials), client: client, broker: broker, due: make(chan due, 1000)}
		t.dials = append(t.dials, time.Now())
		if t.shut {
			_, _ = client.Close(), broker.Close()
			t.mu.Unlock()
			continue
		}
		t.links[k] = struct{}{}
		t.mu.Unlock()
		t.wg.Go(k.up)
		t.wg.Go(k.down)
	}
}

// dial is the client's.
func (t *tap) dial(ctx context.Context, network, address string) (net.Conn, error) {
	t.mu.Lock()
	hole := t.hole
	t.mu.Unlock()
	if hole != nil {
		select {
		case <-hole:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	return t.front.DialContext(ctx, network, address)
}

func (t *tap) do(script func(r *request) act) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.script = script
}

// requests are those so far.
func (t *tap) requests() []*request {
	t.mu.Lock()
	defer t.mu.Unlock()
	out := make([]*request, len(t.seen))
	for i, r := range t.seen {
		seen := *r // its answer is noted while others look
		out[i] = &seen
	}
	return out
}

// swallow holds everything back, in both directions, until the function that it returns is called. It arrives then.
func (t *tap) swallow() (end func()) {
	t.mu.Lock()
	defer t.mu.Unlock()
	hole := make(chan struct{})
	t.hole = hole
	return sync.OnceFunc(func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		t.hole = nil
		close(hole)
	})
}

func (t *tap) pass() {
	t.mu.Lock()
	hole := t.hole
	t.mu.Unlock()
	if hole != nil {
		<-hole
	}
}

// cut ends every connection.
func (t *tap) cut() {
	t.mu.Lock()
	defer t.mu.Unlock()
	for k := range t.links {
		k.end()
	}
}

// down has nobody listen, until up is called.
func (t *tap) down() (up func()) {
	t.mu.Lock()
	t.shut = true
	t.mu.Unlock()
	t.cut()
	synctest.Wait() // the clients know
	return func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		t.shut = false
	}
}

// release delivers the undead.
func (t *tap) release() {
	t.mu.Lock()
	zs := t.zombies
	t.zombies = nil
	t.mu.Unlock()
	for _, deliver := range zs {
		deliver()
	}
}

func (t *tap) close() {
	for _, l := range t.doors {
		_ = l.Close()
	}
	t.mu.Lock()
	if t.hole != nil {
		close(t.hole)
		t.hole = nil
	}
	t.mu.Unlock()
	t.cut()
	t.release()
	t.wg.Wait()
}

// link is one connection of the client, and ours to the broker.
type link struct {
	t              *tap
	id             int
	client, broker net.Conn
	due            chan due
	once           sync.Once
}

// due is an answer to come, in its order.
type due struct {
	key    int16
	canned []byte // nil: the broker's
	code   int16
	fate   fate
	after  time.Duration
	req    *request // nil: not a produce request
	v      int16

	correlation [4]byte
}

func (k *link) end() {
	k.once.Do(func() {
		_ = k.client.Close()
		_ = k.broker.Close()
	})
}

func (k *link) up() {
	defer func() {
		k.end()
		close(k.due)
		k.t.mu.Lock()
		defer k.t.mu.Unlock()
		delete(k.t.links, k)
	}()
	for {
		frame, err := readFrame(k.client)
		if err != nil {
			return
		}
		k.t.pass()
		key, version := int16(binary.BigEndian.Uint16(frame[4:])), int16(binary.BigEndian.Uint16(frame[6:]))
		if key != int16(kmsg.Produce) {
			k.due <- due{key: key, v: version, correlation: [4]byte(frame[8:12])}
			if _, err := k.broker.Write(frame); err != nil {
				return
			}
			continue
		}
		r, a := k.t.judge(k.id, frame)
		if a.before > 0 {
			<-time.After(a.before)
			k.t.pass()
		}
		d := due{key: key, code: a.code, fate: a.fate, after: a.after, req: r, v: version}
		switch a.fate {
		case refused:
			d.canned = refusal(frame, version, a.code)
			k.due <- d
			continue
		case vanishing:
			k.due <- d
			continue
		case halved:
			_, _ = k.broker.Write(frame[:len(frame)/2])
			return
		case dropped:
			return
		case undead:
			k.bury(frame)
			return
		case passes, lied, lost, muted:
		}
		k.due <- d
		if _, err := k.broker.Write(frame); err != nil {
			return
		}
	}
}

// bury keeps the connection to the broker, and the request, for release.
func (k *link) bury(frame []byte) {
	k.once.Do(func() { _ = k.client.Close() })
	k.t.mu.Lock()
	defer k.t.mu.Unlock()
	k.t.zombies = append(k.t.zombies, func() {
		_ = k.broker.SetDeadline(time.Now().Add(10 * time.Second))
		_, _ = k.broker.Write(frame)
		_, _ = readFrame(k.broker) // it has acted on it
		_ = k.broker.Close()
	})
}

func (k *link) down() {
	ended := false
	for d := range k.due {
		if ended {
			continue
		}
		frame := d.canned
		if frame == nil && d.fate != vanishing {
			var err error
			if frame, err = readFrame(k.broker); err != nil {
				k.refuseLogin(d)
				k.end()
				ended = true
				continue
			}
		}
		if d.req != nil && d.after > 0 {
			<-time.After(time.Until(d.req.at.Add(d.after)))
		}
		k.t.pass()
		switch d.fate {
		case lost:
			k.end()
			ended = true
			continue
		case muted, vanishing:
			ended = true
			continue
		case lied:
			frame = reword(frame, d.v, d.code)
		case passes, refused, halved, dropped, undead:
		}
		if d.req != nil {
			k.t.mu.Lock()
			d.req.told, d.req.code = time.Now(), codeOf(frame, d.v)
			k.t.mu.Unlock()
		} else {
			k.t.mu.Lock()
			change := k.t.answers
			k.t.mu.Unlock()
			if change != nil {
				frame = change(d.key, frame)
			}
		}
		if _, err := k.client.Write(frame); err != nil {
			k.end()
			ended = true
		}
	}
	if !ended {
		k.end()
	}
}

// refuseLogin says what Kafka does about a wrong password before it closes the connection; the embedded broker closes it only.
func (k *link) refuseLogin(d due) {
	if d.key != int16(kmsg.SASLAuthenticate) {
		return
	}
	res := kmsg.NewPtrSASLAuthenticateResponse()
	res.SetVersion(d.v)
	res.ErrorCode = saslFailed
	out := res.AppendTo(append(make([]byte, 4, 64), d.correlation[:]...))
	binary.BigEndian.PutUint32(out, uint32(len(out)-4))
	_, _ = k.client.Write(out)
}

func (t *tap) judge(link int, frame []byte) (*request, act) {
	t.mu.Lock()
	defer t.mu.Unlock()
	r := &request{n: len(t.seen), link: link, at: time.Now(), code: -1, batches: batchesOf(frame)}
	t.seen = append(t.seen, r)
	if t.script == nil {
		return r, act{}
	}
	a := t.script(r)
	r.fate = a.fate
	return r, a
}

func readFrame(r io.Reader) ([]byte, error) {
	var head [4]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return nil, err
	}
	frame := make([]byte, 4+binary.BigEndian.Uint32(head[:]))
	copy(frame, head[:])
	_, err := io.ReadFull(r, frame[4:])
	return frame, err
}

// produceRequest decodes a frame; the versions that are used have no tagged fields.
func produceRequest(frame []byte) *kmsg.ProduceRequest {
	version := int16(binary.BigEndian.Uint16(frame[6:]))
	client := max(0, int(int16(binary.BigEndian.Uint16(frame[12:]))))
	req := kmsg.NewPtrProduceRequest()
	req.SetVersion(version)
	if req.IsFlexible() || req.ReadFrom(frame[14+client:]) != nil {
		return kmsg.NewPtrProduceRequest()
	}
	return req
}

func batchesOf(frame []byte) []sealed {
	var out []sealed
	for _, t := range produceRequest(frame).Topics {
		for _, p := range t.Partitions {
			b := kmsg.NewRecordBatch()
			if b.ReadFrom(p.Records) != nil {
				continue
			}
			out = append(out, sealed{p.Partition, b.ProducerID, b.ProducerEpoch, b.FirstSequence, numbersIn(b.Records), crc32.ChecksumIEEE(p.Records)})
		}
	}
	return out
}

// numbersIn finds the events in uncompressed records.
func numbersIn(records []byte) []int {
	var out []int
	mark := []byte(`"n":`)
	for {
		at := bytes.Index(records, mark)
		if at < 0 {
			return out
		}
		records = records[at+len(mark):]
		n, _ := strconv.Atoi(string(records[:bytes.IndexAny(records, ",}")]))
		out = append(out, n)
	}
}

// refusal is an answer of its own.
func refusal(frame []byte, version, code int16) []byte {
	res := kmsg.NewPtrProduceResponse()
	res.SetVersion(version)
	for _, t := range produceRequest(frame).Topics {
		rt := kmsg.NewProduceResponseTopic()
		rt.Topic = t.Topic
		for _, p := range t.Partitions {
			rp := kmsg.NewProduceResponseTopicPartition()
			rp.Partition, rp.ErrorCode, rp.BaseOffset = p.Partition, code, -1
			rt.Partitions = append(rt.Partitions, rp)
		}
		res.Topics = append(res.Topics, rt)
	}
	return answerFrame(frame[8:12], res)
}

func answerFrame(correlation []byte, res *kmsg.ProduceResponse) []byte {
	out := append(make([]byte, 4, 64), correlation...)
	out = res.AppendTo(out)
	binary.BigEndian.PutUint32(out, uint32(len(out)-4))
	return out
}

func produceResponse(frame []byte, version int16) *kmsg.ProduceResponse {
	res := kmsg.NewPtrProduceResponse()
	res.SetVersion(version)
	if res.ReadFrom(frame[8:]) != nil {
		return kmsg.NewPtrProduceResponse()
	}
	return res
}

// reword has an answer say something else of all partitions.
func reword(frame []byte, version, code int16) []byte {
	res := produceResponse(frame, version)
	for i := range res.Topics {
		for j := range res.Topics[i].Partitions {
			res.Topics[i].Partitions[j].ErrorCode, res.Topics[i].Partitions[j].BaseOffset = code, -1
		}
	}
	return answerFrame(frame[4:8], res)
}

func codeOf(frame []byte, version int16) int16 {
	for _, t := range produceResponse(frame, version).Topics {
		for _, p := range t.Partitions {
			return p.ErrorCode
		}
	}
	return -1
}
