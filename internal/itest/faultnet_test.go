package itest

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

const produceKey = 0 // of the Kafka protocol

var errCut = errors.New("faultnet: connection reset")

// faultNet is a dialer whose connections fail on command.
type faultNet struct {
	lose   atomic.Int64 // so many answers to produce requests are lost, after the broker has acted on them
	halve  atomic.Int64 // so many produce requests are cut in the middle
	undead atomic.Int64 // so many produce requests seem lost, and reach the broker when release is called
	lie    atomic.Int64 // so many answers about one partition say lieCode instead of what the broker said
	hit    atomic.Int64 // faults that really happened
	onHit  func()       // called when a request becomes undead, or an answer a lie; may be nil

	lieCode int16

	mu      sync.Mutex
	conns   map[*faultConn]struct{}
	hole    chan struct{} // closed when the black hole is over; nil: there is none
	zombies []func()
}

func newFaultNet() *faultNet { return &faultNet{conns: map[*faultConn]struct{}{}} }

func (n *faultNet) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	if hole := n.blackHole(); hole != nil {
		select {
		case <-hole:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	nc, err := new(net.Dialer).DialContext(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	c := &faultConn{Conn: nc, n: n}
	n.mu.Lock()
	n.conns[c] = struct{}{}
	n.mu.Unlock()
	return c, nil
}

func (n *faultNet) blackHole() chan struct{} {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.hole
}

// swallow makes everything that is sent from now on vanish, until the function that it returns is called.
func (n *faultNet) swallow() (end func()) {
	n.mu.Lock()
	defer n.mu.Unlock()
	hole := make(chan struct{})
	n.hole = hole
	return func() {
		n.mu.Lock()
		defer n.mu.Unlock()
		n.hole = nil
		close(hole)
	}
}

// cut closes every connection.
func (n *faultNet) cut() {
	n.mu.Lock()
	defer n.mu.Unlock()
	for c := range n.conns {
		_ = c.Conn.Close()
		n.hit.Add(1)
	}
	n.conns = map[*faultConn]struct{}{}
}

// release delivers what seemed lost.
func (n *faultNet) release() {
	n.mu.Lock()
	zs := n.zombies
	n.zombies = nil
	n.mu.Unlock()
	for _, deliver := range zs {
		deliver()
	}
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

type faultConn struct {
	net.Conn
	n *faultNet

	mu      sync.Mutex
	produce bool   // the last request
	left    int    // bytes of it that are to come
	held    []byte // of an undead request
	undead  bool
}

func (c *faultConn) Write(b []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.n.blackHole() != nil {
		c.n.hit.Add(1)
		return len(b), nil
	}
	if c.left == 0 && len(b) >= 6 {
		c.left = 4 + int(binary.BigEndian.Uint32(b))
		c.produce = binary.BigEndian.Uint16(b[4:]) == produceKey
		c.undead = c.produce && take(&c.n.undead)
		if c.produce && !c.undead && take(&c.n.halve) {
			c.n.hit.Add(1)
			_, _ = c.Conn.Write(b[:len(b)/2])
			_ = c.Conn.Close()
			return len(b) / 2, errCut
		}
	}
	c.left -= len(b)
	if !c.undead {
		return c.Conn.Write(b)
	}
	c.held = append(c.held, b...)
	if c.left > 0 {
		return len(b), nil
	}
	c.n.hit.Add(1)
	held := c.held
	c.n.mu.Lock()
	delete(c.n.conns, c)
	c.n.zombies = append(c.n.zombies, func() {
		_ = c.SetDeadline(time.Now().Add(10 * time.Second))
		_, _ = c.Conn.Write(held)
		_, _ = io.ReadFull(c.Conn, make([]byte, 8)) // the broker has acted on it
		_ = c.Conn.Close()
	})
	c.n.mu.Unlock()
	if c.n.onHit != nil {
		c.n.onHit()
	}
	return 0, errCut
}

// Close keeps an undead connection open below.
func (c *faultConn) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.undead {
		return c.SetReadDeadline(time.Unix(1, 0)) // who reads is told at once
	}
	return c.Conn.Close()
}

func (c *faultConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.mu.Lock()
	produce, undead := c.produce, c.undead
	c.mu.Unlock()
	if undead {
		return 0, errCut
	}
	if err == nil && produce && take(&c.n.lose) {
		c.n.hit.Add(1)
		_ = c.Conn.Close()
		return 0, errCut
	}
	if err == nil && produce && n > 26 && take(&c.n.lie) {
		c.n.hit.Add(1)
		at := 4 + 4 + 4 + 2 + int(binary.BigEndian.Uint16(b[12:])) + 4 + 4 // size, correlation ID, topics, name, partitions, index
		binary.BigEndian.PutUint16(b[at:], uint16(c.n.lieCode))
		binary.BigEndian.PutUint64(b[at+2:], ^uint64(0)) // no offset
		if c.n.onHit != nil {
			c.n.onHit()
		}
	}
	return n, err
}
