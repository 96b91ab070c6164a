package main

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

const (
	produceKey  = 0 // of the Kafka protocol
	largest     = 100 << 20
	undeadDelay = 700 * time.Millisecond
)

// network is the way from the publisher to the brokers. Frames of the Kafka protocol pass it whole, or as the faults want it.
type network struct {
	lose   atomic.Int64 // so many answers to produce requests are lost, after the broker has acted on them
	halve  atomic.Int64 // so many produce requests are cut in the middle
	undead atomic.Int64 // so many produce requests seem lost, and reach the broker later
	delay  atomic.Int64 // of each frame, in ns; 0: none
	rate   atomic.Int64 // bytes per second and connection; 0: as they come
	passed atomic.Int64 // produce requests that were delayed, or held in a hole
	hits   atomic.Int64 // faults that happened
	onHit  atomic.Pointer[func()]

	doors []net.Listener
	wg    sync.WaitGroup

	mu    sync.Mutex
	links map[*link]struct{}
	hole  chan struct{} // closed when the black hole is over; nil: there is none
	late  int           // undead requests under way
}

// newNetwork opens a door for each broker.
func newNetwork(ctx context.Context, k *kafka) (*network, error) {
	n := &network{links: map[*link]struct{}{}}
	for _, b := range k.brokers {
		door, err := new(net.ListenConfig).Listen(ctx, "tcp", b.front)
		if err != nil {
			n.close()
			return nil, err
		}
		n.doors = append(n.doors, door)
		n.wg.Go(func() { n.serve(ctx, door, b.back) })
	}
	return n, nil
}

func (n *network) addresses() string {
	out := make([]string, len(n.doors))
	for i, d := range n.doors {
		out[i] = d.Addr().String()
	}
	return strings.Join(out, ",")
}

func (n *network) serve(ctx context.Context, door net.Listener, back string) {
	for {
		client, err := door.Accept()
		if err != nil {
			return
		}
		n.wg.Go(func() {
			broker, err := (&net.Dialer{Timeout: 5 * time.Second}).DialContext(ctx, "tcp", back)
			if err != nil {
				reset(client)
				return
			}
			l := &link{n: n, client: client, broker: broker}
			n.mu.Lock()
			n.links[l] = struct{}{}
			n.mu.Unlock()
			n.wg.Go(l.down)
			l.up()
		})
	}
}

func (n *network) close() {
	for _, d := range n.doors {
		_ = d.Close()
	}
	n.heal()
	n.cut()
	n.wg.Wait()
}

// heal ends every fault of the network.
func (n *network) heal() {
	for _, f := range []*atomic.Int64{&n.lose, &n.halve, &n.undead, &n.delay, &n.rate} {
		f.Store(0)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.hole != nil {
		close(n.hole)
		n.hole = nil
	}
}

// swallow holds everything back until heal is called. As on a real network it then arrives, if only by retransmission,
// also what its sender has given up meanwhile.
func (n *network) swallow() {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.hole == nil {
		n.hole = make(chan struct{})
	}
}

// cut resets every connection and returns how many there were.
func (n *network) cut() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	for l := range n.links {
		reset(l.client)
		reset(l.broker)
	}
	return len(n.links)
}

// settled waits until nothing is under way that may still reach a broker.
func (n *network) settled(ctx context.Context) error {
	n.heal()
	for {
		n.mu.Lock()
		rest := n.late
		n.mu.Unlock()
		if rest == 0 {
			return pause(ctx, time.Second)
		}
		if err := pause(ctx, 50*time.Millisecond); err != nil {
			return err
		}
	}
}

func (n *network) hit() {
	n.hits.Add(1)
	if f := n.onHit.Load(); f != nil {
		(*f)()
	}
}

// hold waits for the end of a black hole, and as long as the network is slow.
func (n *network) hold(produce bool) {
	n.mu.Lock()
	hole := n.hole
	n.mu.Unlock()
	if hole != nil {
		if produce {
			n.passed.Add(1)
		}
		<-hole
	}
	if d := time.Duration(n.delay.Load()); d > 0 {
		if produce {
			n.passed.Add(1)
		}
		<-time.After(d + rand.N(d)) //nolint:gosec // jitter
	}
}

// write is as slow as the network.
func (n *network) write(to net.Conn, frame []byte) error {
	rate := n.rate.Load()
	if rate == 0 {
		_, err := to.Write(frame)
		return err
	}
	for part := range slices.Chunk(frame, 4096) {
		if _, err := to.Write(part); err != nil {
			return err
		}
		<-time.After(time.Duration(int64(len(part)) * int64(time.Second) / rate))
	}
	return nil
}

// link is one connection of the publisher, and ours to the broker.
type link struct {
	n              *network
	client, broker net.Conn

	mu      sync.Mutex
	waiting []bool // requests without an answer yet: is it a produce request?
}

// up carries requests.
func (l *link) up() {
	defer l.end()
	in := bufio.NewReaderSize(l.client, 64<<10)
	for {
		frame, err := readFrame(in)
		if err != nil {
			return
		}
		produce := len(frame) >= 6 && binary.BigEndian.Uint16(frame[4:]) == produceKey
		l.n.hold(produce)
		switch {
		case produce && take(&l.n.undead):
			l.undead(frame)
			return
		case produce && take(&l.n.halve):
			_, _ = l.broker.Write(frame[:len(frame)/2])
			reset(l.client)
			l.n.hit()
			return
		}
		l.mu.Lock()
		l.waiting = append(l.waiting, produce)
		l.mu.Unlock()
		if l.n.write(l.broker, frame) != nil {
			return
		}
	}
}

// undead delivers a request after its sender believes it lost.
func (l *link) undead(frame []byte) {
	l.n.mu.Lock()
	l.n.late++
	l.n.mu.Unlock()
	defer func() {
		l.n.mu.Lock()
		l.n.late--
		l.n.mu.Unlock()
	}()
	reset(l.client)
	l.n.hit()
	<-time.After(undeadDelay)
	_, _ = l.broker.Write(frame)
	<-time.After(time.Second) // the broker acts on it
}

// down carries answers.
func (l *link) down() {
	in := bufio.NewReaderSize(l.broker, 64<<10)
	for alive := true; ; {
		frame, err := readFrame(in)
		if err != nil {
			reset(l.client)
			return
		}
		l.mu.Lock()
		produce := len(l.waiting) > 0 && l.waiting[0]
		l.waiting = l.waiting[min(1, len(l.waiting)):]
		l.mu.Unlock()
		if !alive {
			continue
		}
		if produce && take(&l.n.lose) {
			reset(l.client)
			l.n.hit()
			alive = false
			continue
		}
		l.n.hold(false)
		alive = l.n.write(l.client, frame) == nil
	}
}

func (l *link) end() {
	l.n.mu.Lock()
	delete(l.n.links, l)
	l.n.mu.Unlock()
	reset(l.client)
	_ = l.broker.Close()
}

func readFrame(r io.Reader) ([]byte, error) {
	var head [4]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return nil, err
	}
	size := binary.BigEndian.Uint32(head[:])
	if size > largest {
		return nil, errors.New("not a frame of the Kafka protocol")
	}
	frame := make([]byte, 4+size)
	copy(frame, head[:])
	_, err := io.ReadFull(r, frame[4:])
	return frame, err
}

// reset closes at once, and what is not yet read is lost.
func reset(c net.Conn) {
	if tc, ok := c.(*net.TCPConn); ok {
		_ = tc.SetLinger(0)
	}
	_ = c.Close()
}

func take(n *atomic.Int64) bool {
	for {
		v := n.Load()
		if v <= 0 {
			return false
		}
		if n.CompareAndSwap(v, v-1) {
			return true
		}
	}
}

// pause waits, or returns ctx's error.
func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
