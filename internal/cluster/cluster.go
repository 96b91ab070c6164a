// Package cluster knows a Kafka cluster from the outside: its brokers, who
// leads which partition, and one connection to each broker and purpose.
package cluster

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"net"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/segmentio/kafka-go/protocol"

	"github.com/expensevault/sharedlibrary/internal/wire"
)

// ErrClosed is what every call on a closed cluster returns.
var ErrClosed = errors.New("cluster: closed")

// Lane keeps what must not wait for each other on connections of its own: a
// broker answers the requests of one connection one after the other.
type Lane uint8

// The lanes.
const (
	Control Lane = iota // metadata, producer IDs, administration
	Produce
	Fetch // long polls
	Group // the group's coordinator; JoinGroup blocks for as long as a rebalance takes
	Heartbeat
	Offsets // the group's commits, which go on while JoinGroup blocks
)

// Any stands for whichever broker answers.
const Any int32 = -1

// Params is what New needs.
type Params struct {
	Seeds          []string // host:port
	Wire           wire.Params
	RequestTimeout time.Duration // of requests whose caller names none
	Logger         *slog.Logger
	// Credential tells what the brokers would be shown now from what they were shown before; nil: it never changes.
	Credential func() uint64
}

// Cluster is safe for concurrent use.
type Cluster struct {
	params Params

	mu      sync.Mutex
	closed  bool
	brokers map[int32]string // addresses as metadata told
	conns   map[connKey]*slot
	retired []*wire.Conn       // replaced, and perhaps with answers to come
	failed  map[string]failure // addresses that could not be dialled the last time
	proven  bool               // a broker has accepted us
	good    uint64             // the credential that was accepted last
}

type connKey struct {
	addr string
	lane Lane
}

// slot holds at most one live connection; sem (of one token) lets one caller at a time dial it.
type slot struct {
	sem  chan struct{}
	conn *wire.Conn // guarded by Cluster.mu
}

// New returns a cluster that has not dialled yet.
func New(p Params) *Cluster {
	return &Cluster{params: p, brokers: map[int32]string{}, conns: map[connKey]*slot{}, failed: map[string]failure{}}
}

// RequestTimeout is the timeout of requests whose caller names none.
func (c *Cluster) RequestTimeout() time.Duration { return c.params.RequestTimeout }

// Do sends a message to a broker, or to whichever answers when broker is [Any].
// It waits at most for timeout (the cluster's own when zero), the dialling aside.
func (c *Cluster) Do(ctx context.Context, broker int32, lane Lane, msg protocol.Message, timeout time.Duration) (protocol.Message, error) {
	conn, err := c.Conn(ctx, broker, lane)
	if err != nil {
		return nil, err
	}
	if timeout <= 0 {
		timeout = c.params.RequestTimeout
	}
	return conn.Do(ctx, msg, timeout)
}

// Conn returns a live connection to a broker, dialling where there is none.
// For [Any] the brokers that are known are tried in random order, then the seeds.
// Where credentials that have been good are refused it waits a little: they may be about to be replaced.
func (c *Cluster) Conn(ctx context.Context, broker int32, lane Lane) (*wire.Conn, error) {
	for {
		conn, err := c.tryConn(ctx, broker, lane)
		if err == nil || !c.hope(err) {
			return conn, err
		}
		timer := time.NewTimer(hopePause)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return nil, err
		}
	}
}

func (c *Cluster) tryConn(ctx context.Context, broker int32, lane Lane) (*wire.Conn, error) {
	if broker != Any {
		addr, ok := c.addr(broker)
		if !ok {
			return nil, fmt.Errorf("cluster: broker %d is not in the metadata", broker)
		}
		return c.dial(ctx, connKey{addr, lane})
	}
	var errs []error
	for _, addr := range c.addrs() {
		conn, err := c.dial(ctx, connKey{addr, lane})
		if err == nil {
			return conn, nil
		}
		errs = append(errs, err)
		if ctx.Err() != nil || errors.Is(err, ErrClosed) {
			break
		}
	}
	return nil, nobody(errs)
}

// nobody is the error of all addresses. It unwraps to an AuthError only if that
// is what all of them said: one that is down may accept us when it is back.
func nobody(errs []error) error {
	refused := func(err error) bool {
		_, ok := errors.AsType[*wire.AuthError](err)
		return ok
	}
	all := !slices.ContainsFunc(errs, func(err error) bool { return !refused(err) })
	out := errors.New("cluster: no broker can be reached")
	for _, err := range errs {
		if refused(err) && !all {
			out = fmt.Errorf("%w: %v", out, err) //nolint:errorlint // see above
		} else {
			out = fmt.Errorf("%w: %w", out, err)
		}
	}
	return out
}

func (c *Cluster) addr(broker int32) (string, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	a, ok := c.brokers[broker]
	return a, ok
}

// addrs lists where to ask, in random order to spread the load; where nobody
// answered the last time comes last.
func (c *Cluster) addrs() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	known := slices.Collect(maps.Values(c.brokers))
	shuffle := func(s []string) { rand.Shuffle(len(s), func(i, j int) { s[i], s[j] = s[j], s[i] }) }
	shuffle(known)
	seeds := slices.Clone(c.params.Seeds)
	shuffle(seeds)
	for _, a := range seeds {
		if !slices.Contains(known, a) {
			known = append(known, a)
		}
	}
	slices.SortStableFunc(known, func(a, b string) int { return c.failed[a].at.Compare(c.failed[b].at) })
	return known
}

func (c *Cluster) dial(ctx context.Context, key connKey) (*wire.Conn, error) {
	s, err := c.slot(key)
	if err != nil {
		return nil, err
	}
	select {
	case s.sem <- struct{}{}:
		defer func() { <-s.sem }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	old, err := c.current(s)
	if err != nil || old != nil && !old.Expired(time.Now()) {
		return old, err
	}
	conn, err := c.connect(ctx, key.addr)
	if err != nil {
		if old != nil && old.Usable() {
			return old, nil // its session has not ended yet
		}
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		go conn.Close() // it waits for its reader, which nobody else has to
		return nil, ErrClosed
	}
	if old != nil {
		old.Retire()
		c.retired = append(slices.DeleteFunc(c.retired, func(r *wire.Conn) bool { return r.Err() != nil }), old)
	}
	s.conn = conn
	return conn, nil
}

// current is the slot's connection if it can be used, nil if not.
func (c *Cluster) current(s *slot) (*wire.Conn, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return nil, ErrClosed
	}
	if s.conn == nil || !s.conn.Usable() {
		s.conn = nil
	}
	return s.conn, nil
}

// connect dials, unless the address has refused our credentials not long ago.
func (c *Cluster) connect(ctx context.Context, addr string) (*wire.Conn, error) {
	credential := c.credential()
	if err := c.refusal(addr, credential); err != nil {
		return nil, err
	}
	conn, err := wire.Dial(ctx, &c.params.Wire, addr)
	c.mu.Lock()
	defer c.mu.Unlock()
	if err == nil {
		delete(c.failed, addr)
		c.proven, c.good = true, credential
		return conn, nil
	}
	if ctx.Err() == nil {
		c.failed[addr] = c.failed[addr].next(time.Now(), err, credential)
	}
	return nil, err
}

func (c *Cluster) slot(key connKey) (*slot, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return nil, ErrClosed
	}
	s := c.conns[key]
	if s == nil {
		s = &slot{sem: make(chan struct{}, 1)}
		c.conns[key] = s
	}
	return s, nil
}

// Close ends every connection and answers what is pending. It does not wait
// for dials under way: they end with their context and are thrown away.
func (c *Cluster) Close() {
	c.mu.Lock()
	c.closed = true
	conns := c.retired
	for _, s := range c.conns {
		if s.conn != nil {
			conns = append(conns, s.conn)
		}
	}
	c.conns, c.retired = map[connKey]*slot{}, nil
	c.mu.Unlock()
	for _, conn := range conns {
		conn.Close()
	}
}

func hostPort(host string, port int32) string {
	return net.JoinHostPort(host, strconv.Itoa(int(port)))
}
