package embedded

import (
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"sync"
	"syscall"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// listeners makes kfake's listeners and knows their connections. kfake trusts its clients: it allocates whatever size a
// request announces and dereferences nil for a request that it doesn't know, so a browser at its port would end the process.
type listeners struct {
	listen func(network, address string) (net.Listener, error)
	tls    *tls.Config
	log    *slog.Logger
	ready  chan struct{} // closed when the topics exist: nobody meets a broker that is half there

	mu     sync.Mutex
	closed bool
	conns  map[*conn]struct{}
}

func (ls *listeners) Listen(network, address string) (net.Listener, error) {
	l, err := ls.listen(network, address)
	if inUse(err) {
		return nil, fmt.Errorf("embedded: %w: something, maybe an earlier run, listens on %s already: stop it, give WithPort another "+
			"port, or leave WithPort out to get a free one: %w", ErrPortInUse, address, err)
	}
	if err != nil {
		return nil, fmt.Errorf("embedded: can't listen on %s: give WithPort another port, or leave it out to get a free one: %w", address, err)
	}
	return &listener{Listener: l, all: ls}, nil
}

func inUse(err error) bool {
	const wsaeaddrinuse = syscall.Errno(10048) // Windows' number, which package syscall doesn't map to EADDRINUSE
	return errors.Is(err, syscall.EADDRINUSE) || errors.Is(err, wsaeaddrinuse)
}

// closeAll closes the connections that are open, and any that is accepted from now on.
func (ls *listeners) closeAll() {
	ls.mu.Lock()
	ls.closed = true
	conns := ls.conns
	ls.conns = nil
	ls.mu.Unlock()
	for c := range conns {
		_ = c.Conn.Close() // the peer is told by the closed socket; there is nothing else to do
	}
}

func (ls *listeners) add(c *conn) bool {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	if ls.closed {
		return false
	}
	ls.conns[c] = struct{}{}
	return true
}

func (ls *listeners) remove(c *conn) {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	delete(ls.conns, c)
}

type listener struct {
	net.Listener

	all *listeners
}

func (l *listener) Accept() (net.Conn, error) {
	<-l.all.ready
	for {
		raw, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		if l.all.tls != nil {
			raw = tls.Server(raw, l.all.tls)
		}
		c := &conn{Conn: raw, all: l.all}
		if l.all.add(c) {
			return c, nil
		}
		_ = raw.Close() // the broker has stopped meanwhile
	}
}

// conn reads the length and the key of each request before kfake does, and refuses what kfake would not survive.
type conn struct {
	net.Conn

	all  *listeners
	head [6]byte // of the request being read: its length (int32) and its API key (int16)
	next int     // the first byte of head that kfake has not got
	left int     // bytes of the request after head that kfake has not got
}

func (c *conn) Read(p []byte) (int, error) {
	if c.left == 0 {
		if err := c.readHead(); err != nil {
			return 0, err
		}
	}
	if c.next < len(c.head) {
		n := copy(p, c.head[c.next:])
		c.next += n
		return n, nil
	}
	n, err := c.Conn.Read(p[:min(len(p), c.left)])
	c.left -= n
	return n, err
}

func (c *conn) readHead() error {
	const (
		least = 8         // key, version, correlation ID
		most  = 100 << 20 // Kafka's socket.request.max.bytes
	)
	if _, err := io.ReadFull(c.Conn, c.head[:]); err != nil {
		return err
	}
	size := binary.BigEndian.Uint32(c.head[:])
	key := int16(binary.BigEndian.Uint16(c.head[4:])) //nolint:gosec // the protocol's int16
	if size < least || size > most || kmsg.RequestForKey(key) == nil {
		c.all.log.Warn("closed a connection that doesn't speak Kafka, or speaks TLS to a port without it",
			"remote", c.RemoteAddr(), "begins", string(c.head[:]))
		return errNotKafka
	}
	c.next, c.left = 0, int(size)-2
	return nil
}

func (c *conn) Close() error {
	c.all.remove(c)
	return c.Conn.Close()
}
