package embedded

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"syscall"
)

// Network is a network in memory: brokers listen on it by [WithListen], clients dial by its DialContext. Nothing outside sees
// it, and whoever waits on it is durably blocked as testing/synctest has it, so that a broker and its clients can live in a
// bubble, where timeouts of minutes pass at once:
//
//	synctest.Test(t, func(t *testing.T) {
//		var network embedded.Network
//		broker := embedded.Run(t, embedded.WithListen(network.Listen))
//		publisher, err := messaging.NewKafkaPublisher(cfg, messaging.WithDialer(network.DialContext))
//
// Broker and clients must be closed before the bubble ends; t.Cleanup is early enough. A connection holds 64 KiB in each
// direction before a write waits for the reader, and honours deadlines. The zero value is ready to use; it must not be copied
// after that. Its methods may be called concurrently.
type Network struct {
	mu    sync.Mutex
	doors map[netip.AddrPort]*door
	last  uint16 // the last port that was chosen
}

// Listen is [net.Listen] of this network. Hosts are IP addresses; an empty host, and localhost, is 127.0.0.1. Port 0 is a free
// one. Where somebody listens already the error is syscall.EADDRINUSE's.
func (n *Network) Listen(network, address string) (net.Listener, error) {
	at, err := memoryAddr(address)
	if err != nil {
		return nil, &net.OpError{Op: "listen", Net: network, Err: err}
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.doors == nil {
		n.doors = map[netip.AddrPort]*door{}
	}
	if at.Port() == 0 {
		at = n.free(at.Addr())
	}
	if n.doors[at] != nil {
		return nil, &net.OpError{Op: "listen", Net: network, Addr: net.TCPAddrFromAddrPort(at), Err: syscall.EADDRINUSE}
	}
	d := &door{network: n, at: at, visitors: make(chan *memoryConn), closed: make(chan struct{})}
	n.doors[at] = d
	return d, nil
}

// free is a port where nobody listens, other than the last one: who comes late to a broker that is gone meets no other.
func (n *Network) free(host netip.Addr) netip.AddrPort {
	const first = 20_000
	for {
		n.last = max(first, n.last+1)
		if at := netip.AddrPortFrom(host, n.last); n.doors[at] == nil {
			return at
		}
	}
}

// DialContext is [net.Dialer.DialContext] of this network. Where nobody listens the error is syscall.ECONNREFUSED's, at once.
func (n *Network) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	fail := func(err error) (net.Conn, error) { return nil, &net.OpError{Op: "dial", Net: network, Err: err} }
	at, err := memoryAddr(address)
	if err != nil {
		return fail(err)
	}
	n.mu.Lock()
	d := n.doors[at]
	from := n.free(at.Addr())
	n.mu.Unlock()
	if d == nil {
		return fail(syscall.ECONNREFUSED)
	}
	here, there := connect(net.TCPAddrFromAddrPort(from), net.TCPAddrFromAddrPort(at))
	select {
	case d.visitors <- there:
		return here, nil
	case <-d.closed:
		return fail(syscall.ECONNREFUSED)
	case <-ctx.Done():
		return fail(ctx.Err())
	}
}

func memoryAddr(address string) (netip.AddrPort, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return netip.AddrPort{}, err
	}
	if host == "" || host == "localhost" {
		host = "127.0.0.1"
	}
	at, err := netip.ParseAddrPort(net.JoinHostPort(host, port))
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("embedded: %q is no address of a network in memory: give an IP address and a port's number: %w", address, err)
	}
	return at, nil
}

// door is a listener.
type door struct {
	network  *Network
	at       netip.AddrPort
	visitors chan *memoryConn
	closed   chan struct{}
	once     sync.Once
}

func (d *door) Accept() (net.Conn, error) {
	select {
	case c := <-d.visitors:
		return c, nil
	case <-d.closed:
		return nil, &net.OpError{Op: "accept", Net: "tcp", Addr: d.Addr(), Err: net.ErrClosed}
	}
}

func (d *door) Close() error {
	d.once.Do(func() {
		d.network.mu.Lock()
		defer d.network.mu.Unlock()
		delete(d.network.doors, d.at)
		close(d.closed)
	})
	return nil
}

func (d *door) Addr() net.Addr { return net.TCPAddrFromAddrPort(d.at) }
