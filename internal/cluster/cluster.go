// Package cluster knows a Kafka cluster from the outside: its brokers, who
// leads which partition, and one connection to each broker and purpose.
package cluster

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
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
)

// Any stands for whichever broker answers.
const Any int32 = -1

// authPause is how long a refusal of our credentials is believed: at most three tries a minute.
const authPause = 20 * time.Second

// Params is what New needs.
type Params struct {
	Seeds          []string // host:port
	Wire           wire.Params
	RequestTimeout time.Duration // of requests whose caller names none
	Logger         *slog.Logger
}

// Cluster is safe for concurrent use.
type Cluster struct {
	params Params

	mu       sync.Mutex
	closed   bool
	brokers  map[int32]string // addresses as metadata told
	conns    map[connKey]*slot
	refused  error // the last AuthError
	refusedA time.Time
}

type connKey struct {
	addr string
	lane Lane
}

// slot holds at most one live connection; sem (of one token) lets one caller at a time dial it.
type slot struct {
	sem  chan struct{}
	conn *wire.Conn // guarded by sem
}

// New returns a cluster that has not dialled yet.
func New(p Params) *Cluster {
	return &Cluster{params: p, brokers: map[int32]string{}, conns: map[connKey]*slot{}}
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
func (c *Cluster) Conn(ctx context.Context, broker int32, lane Lane) (*wire.Conn, error) {
	if broker != Any {
		addr, ok := c.addr(broker)
		if !ok {
			return nil, fmt.Errorf("cluster: broker %d is not in the metadata", broker)
		}
		return c.dial(ctx, connKey{addr, lane})
	}
	errs := []error{errors.New("cluster: no broker can be reached")}
	for _, addr := range c.addrs() {
		conn, err := c.dial(ctx, connKey{addr, lane})
		if err == nil {
			return conn, nil
		}
		errs = append(errs, err)
		var auth *wire.AuthError
		if ctx.Err() != nil || errors.Is(err, ErrClosed) || errors.As(err, &auth) {
			break
		}
	}
	return nil, join(errs)
}

// join puts errors on one line.
func join(errs []error) error {
	err := errs[0]
	for _, e := range errs[1:] {
		err = fmt.Errorf("%w: %w", err, e)
	}
	return err
}

func (c *Cluster) addr(broker int32) (string, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	a, ok := c.brokers[broker]
	return a, ok
}

// addrs lists where to ask: brokers with a live connection would do best, but a random one spreads the load.
func (c *Cluster) addrs() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	known := make([]string, 0, len(c.brokers)+len(c.params.Seeds))
	for _, a := range c.brokers {
		known = append(known, a)
	}
	shuffle := func(s []string) { rand.Shuffle(len(s), func(i, j int) { s[i], s[j] = s[j], s[i] }) }
	shuffle(known)
	seeds := slices.Clone(c.params.Seeds)
	shuffle(seeds)
	for _, a := range seeds {
		if !slices.Contains(known, a) {
			known = append(known, a)
		}
	}
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
	if s.conn != nil && s.conn.Usable() {
		if !s.conn.Expired(time.Now()) {
			return s.conn, nil
		}
		s.conn.Retire()
	}
	s.conn = nil
	if err := c.refusal(); err != nil {
		return nil, err
	}
	conn, err := wire.Dial(ctx, &c.params.Wire, key.addr)
	if err != nil {
		c.noteRefusal(err)
		return nil, err
	}
	c.mu.Lock()
	closed := c.closed
	c.refused = nil
	c.mu.Unlock()
	if closed {
		conn.Close()
		return nil, ErrClosed
	}
	s.conn = conn
	return conn, nil
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

// refusal repeats the last AuthError for a while, so that wrong credentials do
// not hammer the brokers and lock the account.
func (c *Cluster) refusal() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.refused != nil && time.Since(c.refusedA) < authPause {
		return c.refused
	}
	return nil
}

func (c *Cluster) noteRefusal(err error) {
	if _, ok := errors.AsType[*wire.AuthError](err); !ok {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.refused, c.refusedA = err, time.Now()
}

// Close ends every connection and answers what is pending. It does not wait
// for dials under way: they end with their context and are thrown away.
func (c *Cluster) Close() {
	c.mu.Lock()
	c.closed = true
	slots := c.conns
	c.conns = map[connKey]*slot{}
	c.mu.Unlock()
	for _, s := range slots {
		select {
		case s.sem <- struct{}{}:
			if s.conn != nil {
				s.conn.Close()
				s.conn = nil
			}
			<-s.sem
		default: // dialling: dial sees closed and throws it away
		}
	}
}

func hostPort(host string, port int32) string {
	return net.JoinHostPort(host, strconv.Itoa(int(port)))
}
