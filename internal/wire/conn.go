// Package wire is one connection to one Kafka broker: dialled, secured,
// authenticated, and pipelined. Requests are answered in the order in which
// they were sent, and each of them has a deadline at every moment.
//
// Bodies are kafka-go's protocol messages, or bytes of the caller's own where
// copying matters (produce and fetch).
package wire

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"github.com/segmentio/kafka-go/protocol"
)

// maxFrame is the largest answer that is read; beyond it the peer is no Kafka broker or a hostile one.
const maxFrame = 100 << 20

var (
	// ErrClosed is the error of a request on a connection that Close ended.
	ErrClosed = errors.New("wire: the connection was closed")
	// ErrTimeout is the error of a request whose answer did not come in time. Whether the broker acted on it is unknown.
	ErrTimeout = errors.New("wire: no answer in time")
)

// Request is what is sent. Exactly one of Message and Body is set.
type Request struct {
	Message protocol.Message

	// Body is the request's body in the given version, for callers with an encoder of their own.
	Key     protocol.ApiKey
	Version int16
	Body    net.Buffers

	// NoAnswer marks the one request that Kafka does not answer: produce with acks 0.
	NoAnswer bool
}

// Answer is what came back: Message for a request with one, otherwise the frame behind its header.
type Answer struct {
	Message protocol.Message
	Body    []byte
}

// Conn is safe for concurrent use.
type Conn struct {
	addr     string
	clientID string
	nc       net.Conn
	br       *bufio.Reader
	versions map[protocol.ApiKey]versions
	expires  time.Time // the end of the SASL session; zero when it has none

	write sync.Mutex // held while a request is written: the order on the wire is the order of pending
	next  int32      // the correlation ID of the next request, guarded by write

	mu      sync.Mutex
	pending []call        // sent and not answered, oldest first
	err     error         // why the connection is over
	retired bool          // no new requests; over when pending is empty
	done    chan struct{} // closed once the reader is gone and every call is answered
}

type call struct {
	id       int32
	key      protocol.ApiKey
	version  int16
	raw      bool
	deadline time.Time
	answer   func(Answer, error)
}

type versions struct{ min, max int16 }

// Addr is the address that was dialled.
func (c *Conn) Addr() string { return c.addr }

// Version is the highest version of an API that the broker offers, at most
// highest; ok is false when there is none from lowest on.
func (c *Conn) Version(key protocol.ApiKey, lowest, highest int16) (v int16, ok bool) {
	r, ok := c.versions[key]
	v = min(r.max, highest)
	return v, ok && v >= lowest && v >= r.min
}

// Usable reports whether new requests are accepted.
func (c *Conn) Usable() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err == nil && !c.retired
}

// Expired reports whether the SASL session is near its end: what is sent later may be cut off.
func (c *Conn) Expired(now time.Time) bool { return !c.expires.IsZero() && now.After(c.expires) }

// Send writes a request and returns; answer is called exactly once, from
// the reader's goroutine, with what came back within timeout; it must not block. An error
// that Send itself returns means that nothing was sent, and answer is not called.
//
// A request that is not answered in time ends the connection: what follows it
// on the wire could not be told apart.
func (c *Conn) Send(req Request, timeout time.Duration, answer func(Answer, error)) error {
	if timeout <= 0 {
		return ErrTimeout
	}
	cl := call{key: req.Key, version: req.Version, raw: req.Message == nil, answer: answer}
	if req.Message != nil {
		cl.key = req.Message.ApiKey()
		v, ok := c.Version(cl.key, cl.key.MinVersion(), cl.key.MaxVersion())
		if !ok {
			r := c.versions[cl.key]
			return fmt.Errorf("wire: %s has no common version of %s (broker %d to %d, here %d to %d)",
				c.addr, cl.key, r.min, r.max, cl.key.MinVersion(), cl.key.MaxVersion())
		}
		cl.version = v
		if p, ok := req.Message.(protocol.PreparedMessage); ok {
			p.Prepare(v)
		}
	}
	cl.deadline = time.Now().Add(timeout)
	if err := c.writeRequest(req, cl); err != nil {
		return err
	}
	if req.NoAnswer {
		answer(Answer{}, c.Err())
	}
	return nil
}

func (c *Conn) writeRequest(req Request, cl call) error {
	c.write.Lock()
	defer c.write.Unlock()
	cl.id = c.next
	frame, err := c.frame(req, cl)
	if err != nil {
		return err
	}
	c.next++
	if err := c.enqueue(cl, req.NoAnswer); err != nil {
		return err
	}
	_ = c.nc.SetWriteDeadline(cl.deadline) // fails only on a closed connection, as the write will
	if _, err := frame.WriteTo(c.nc); err != nil {
		// Part of it may have reached the broker, so its fate is unknown, as that of its predecessors.
		c.fail(fmt.Errorf("wire: write to %s: %w", c.addr, timeoutError(err)))
	}
	return nil
}

// enqueue registers the call before its bytes are written, so that no answer can come before it.
func (c *Conn) enqueue(cl call, noAnswer bool) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return c.err
	}
	if c.retired {
		return ErrClosed
	}
	if noAnswer {
		return nil
	}
	c.pending = append(c.pending, cl)
	if len(c.pending) == 1 {
		_ = c.nc.SetReadDeadline(cl.deadline)
	}
	return nil
}

// Do sends a message and waits for its answer, until ctx ends or timeout has passed.
// When ctx ends first the answer is dropped; the request may still take effect.
func (c *Conn) Do(ctx context.Context, msg protocol.Message, timeout time.Duration) (protocol.Message, error) {
	type result struct {
		a   Answer
		err error
	}
	ch := make(chan result, 1)
	if err := c.Send(Request{Message: msg}, timeout, func(a Answer, err error) { ch <- result{a, err} }); err != nil {
		return nil, err
	}
	select {
	case r := <-ch:
		return r.a.Message, r.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// frame is the whole request: size, header, body.
func (c *Conn) frame(req Request, cl call) (net.Buffers, error) {
	if req.Message != nil {
		var b bytes.Buffer
		if err := protocol.WriteRequest(&b, cl.version, cl.id, c.clientID, req.Message); err != nil {
			return nil, fmt.Errorf("wire: encode %s: %w", cl.key, err)
		}
		return net.Buffers{b.Bytes()}, nil
	}
	size := 10 + len(c.clientID)
	for _, p := range req.Body {
		size += len(p)
	}
	h := make([]byte, 0, 14+len(c.clientID))
	h = binary.BigEndian.AppendUint32(h, uint32(size))
	h = binary.BigEndian.AppendUint16(h, uint16(cl.key))
	h = binary.BigEndian.AppendUint16(h, uint16(cl.version))
	h = binary.BigEndian.AppendUint32(h, uint32(cl.id))
	h = binary.BigEndian.AppendUint16(h, uint16(len(c.clientID)))
	h = append(h, c.clientID...)
	return append(net.Buffers{h}, req.Body...), nil
}

// read answers the pending calls until the connection ends.
func (c *Conn) read() {
	defer close(c.done)
	for {
		frame, err := c.readFrame()
		if err != nil {
			c.fail(err)
			break
		}
		cl, ok := c.pop()
		if !ok {
			c.fail(fmt.Errorf("wire: %s answered what was not asked", c.addr))
			break
		}
		a, err := decode(cl, frame)
		if err != nil {
			// The answer to this call is lost, and with it the trust in the stream.
			err = fmt.Errorf("wire: answer of %s to %s: %w", c.addr, cl.key, err)
			cl.answer(Answer{}, err)
			c.fail(err)
			break
		}
		cl.answer(a, nil)
	}
	c.mu.Lock()
	calls := c.pending
	c.pending = nil
	err := c.err
	c.mu.Unlock()
	for _, cl := range calls {
		cl.answer(Answer{}, err)
	}
}

// readFrame blocks without a deadline while nothing is pending, so that the end
// of an idle connection is noticed at once and not by the next request.
func (c *Conn) readFrame() ([]byte, error) {
	var head [4]byte
	n := 0
	for n < len(head) {
		m, err := c.br.Read(head[n:])
		n += m
		if err == nil {
			continue
		}
		if n == 0 && isTimeout(err) && c.idle() {
			continue // a deadline left over from the last call
		}
		return nil, c.readError(err)
	}
	size := int32(binary.BigEndian.Uint32(head[:]))
	if size < 4 || size > maxFrame {
		return nil, fmt.Errorf("wire: %s does not speak Kafka here: frame starts with %q%s", c.addr, head[:], hint(head[:]))
	}
	frame := make([]byte, 4+size)
	copy(frame, head[:])
	if _, err := io.ReadFull(c.br, frame[4:]); err != nil {
		return nil, c.readError(err)
	}
	return frame, nil
}

// idle clears the deadline when no call is pending.
func (c *Conn) idle() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.pending) > 0 || c.err != nil {
		return false
	}
	_ = c.nc.SetReadDeadline(time.Time{})
	return true
}

func (c *Conn) readError(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("wire: %s closed the connection: %w", c.addr, io.ErrUnexpectedEOF)
	}
	return fmt.Errorf("wire: read from %s: %w", c.addr, timeoutError(err))
}

func (c *Conn) pop() (call, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.pending) == 0 {
		return call{}, false
	}
	cl := c.pending[0]
	c.pending = c.pending[1:]
	switch {
	case len(c.pending) > 0:
		_ = c.nc.SetReadDeadline(c.pending[0].deadline)
	case c.retired:
		c.failLocked(ErrClosed)
	default:
		_ = c.nc.SetReadDeadline(time.Time{})
	}
	return cl, true
}

func decode(cl call, frame []byte) (a Answer, err error) {
	defer func() {
		if r := recover(); r != nil { // kafka-go's decoder panics on some malformed input
			err = fmt.Errorf("malformed: %v", r)
		}
	}()
	id := int32(binary.BigEndian.Uint32(frame[4:]))
	if id != cl.id {
		return Answer{}, fmt.Errorf("correlation ID %d, want %d", id, cl.id)
	}
	if cl.raw {
		return Answer{Body: frame[8:]}, nil
	}
	_, a.Message, err = protocol.ReadResponse(bytes.NewReader(frame), cl.key, cl.version)
	return a, err
}

// Err is why the connection is over, nil while it is not.
func (c *Conn) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

// Retire refuses new requests and ends the connection when the pending ones are answered.
func (c *Conn) Retire() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.retired = true
	if len(c.pending) == 0 {
		c.failLocked(ErrClosed)
	}
}

// Close ends the connection; every pending call is answered with [ErrClosed] before it returns.
// It must not be called from an answer function.
func (c *Conn) Close() {
	c.fail(ErrClosed)
	<-c.done
}

func (c *Conn) fail(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.failLocked(err)
}

// failLocked keeps the first reason and closes the socket; the reader then answers what is pending.
func (c *Conn) failLocked(err error) {
	if c.err == nil {
		c.err = err
	}
	_ = c.nc.Close()
}

func isTimeout(err error) bool {
	var ne net.Error
	return errors.As(err, &ne) && ne.Timeout()
}

func timeoutError(err error) error {
	if isTimeout(err) {
		return fmt.Errorf("%w (%w)", ErrTimeout, err)
	}
	return err
}

// hint recognises the answers that a wrong port gives.
func hint(head []byte) string {
	switch {
	case bytes.HasPrefix(head, []byte("HTTP")):
		return "; this is an HTTP server"
	case head[0] == 0x15 && head[1] == 3:
		return "; the broker expects TLS: set SecurityProtocol to SSL or SASL_SSL"
	}
	return ""
}
