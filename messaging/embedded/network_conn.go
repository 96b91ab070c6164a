package embedded

import (
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"time"
)

// memoryRoom is how many bytes a connection holds in each direction.
const memoryRoom = 64 << 10

// memoryConn is one end of a connection.
type memoryConn struct {
	in, out    *stream
	here, peer net.Addr
}

func connect(here, peer net.Addr) (a, b *memoryConn) {
	to, from := newStream(), newStream()
	return &memoryConn{in: from, out: to, here: here, peer: peer}, &memoryConn{in: to, out: from, here: peer, peer: here}
}

func (c *memoryConn) Read(p []byte) (int, error)  { return c.in.read(p) }
func (c *memoryConn) Write(p []byte) (int, error) { return c.out.write(p) }
func (c *memoryConn) LocalAddr() net.Addr         { return c.here }
func (c *memoryConn) RemoteAddr() net.Addr        { return c.peer }

// Close lets the peer read what was written; what the peer has written and nobody read is lost.
func (c *memoryConn) Close() error {
	c.in.mu.Lock()
	again := c.in.noReader
	c.in.noReader, c.in.data = true, nil
	c.in.changed.Broadcast()
	c.in.mu.Unlock()
	if again {
		return net.ErrClosed
	}
	c.out.mu.Lock()
	defer c.out.mu.Unlock()
	c.out.noWriter = true
	c.out.changed.Broadcast()
	return nil
}

func (c *memoryConn) SetDeadline(t time.Time) error {
	c.in.set(&c.in.readBy, t)
	c.out.set(&c.out.writeBy, t)
	return nil
}

func (c *memoryConn) SetReadDeadline(t time.Time) error {
	c.in.set(&c.in.readBy, t)
	return nil
}

func (c *memoryConn) SetWriteDeadline(t time.Time) error {
	c.out.set(&c.out.writeBy, t)
	return nil
}

// stream is one direction of a connection. It waits on a condition, which synctest takes for durably blocked, unlike a mutex.
type stream struct {
	mu       sync.Mutex
	changed  *sync.Cond
	data     []byte
	noReader bool // its end was closed
	noWriter bool
	readBy   limit
	writeBy  limit
}

// limit is a deadline.
type limit struct {
	at    time.Time // zero: none
	timer *time.Timer
}

func newStream() *stream {
	s := &stream{}
	s.changed = sync.NewCond(&s.mu)
	return s
}

func (s *stream) set(l *limit, t time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if l.timer != nil {
		l.timer.Stop()
		l.timer = nil
	}
	l.at = t
	if d := time.Until(t); !t.IsZero() && d > 0 {
		l.timer = time.AfterFunc(d, func() {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.changed.Broadcast()
		})
	}
	s.changed.Broadcast()
}

func (l *limit) passed() bool { return !l.at.IsZero() && !time.Now().Before(l.at) }

func (s *stream) read(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		switch {
		case s.noReader:
			return 0, net.ErrClosed
		case s.readBy.passed():
			return 0, os.ErrDeadlineExceeded
		case len(p) == 0:
			return 0, nil
		case len(s.data) > 0:
			n := copy(p, s.data)
			if s.data = s.data[n:]; len(s.data) == 0 {
				s.data = nil
			}
			s.changed.Broadcast()
			return n, nil
		case s.noWriter:
			return 0, io.EOF
		}
		s.changed.Wait()
	}
}

func (s *stream) write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for written := 0; ; {
		switch {
		case s.noWriter:
			return written, net.ErrClosed
		case s.noReader:
			return written, syscall.EPIPE
		case s.writeBy.passed():
			return written, os.ErrDeadlineExceeded
		}
		if n := min(len(p)-written, memoryRoom-len(s.data)); n > 0 {
			s.data = append(s.data, p[written:written+n]...)
			written += n
			s.changed.Broadcast()
		}
		if written == len(p) {
			return written, nil
		}
		s.changed.Wait()
	}
}
