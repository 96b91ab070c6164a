package embedded

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"

	"github.com/twmb/franz-go/pkg/kfake"
)

// Broker is a running one. It is safe for concurrent use.
type Broker struct {
	cluster *kfake.Cluster
	lock    *os.File // of the data folder; nil in memory
	stop    func() bool
	once    sync.Once
	done    chan struct{}
}

// Start starts a broker with the defaults: one node, a free port on 127.0.0.1,
// data in memory, no topics, topics of 6 partitions where the creator names no
// number, and none created by mere use. It accepts connections when Start
// returns, and stops when ctx ends or by Close.
//
// The error is about the port (in use), or the folder (not writable, or another
// broker's at the moment).
func Start(ctx context.Context, opts ...Option) (*Broker, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	o := options{partitions: 6, nodes: 1}
	for _, opt := range opts {
		opt(&o)
	}
	if err := o.validate(); err != nil {
		return nil, fmt.Errorf("embedded: %w", err)
	}
	b := &Broker{done: make(chan struct{})}
	if o.dir != "" {
		lock, err := lockFolder(o.dir)
		if err != nil {
			return nil, err
		}
		b.lock = lock
	}
	c, err := kfake.NewCluster(o.kfake()...)
	if err != nil {
		b.unlock()
		if o.port != 0 && errors.Is(err, syscall.EADDRINUSE) {
			return nil, fmt.Errorf("embedded: port %d is in use: stop what listens there, or leave WithPort out for a free one: %w", o.port, err)
		}
		return nil, fmt.Errorf("embedded: %w", err)
	}
	b.cluster = c
	b.stop = context.AfterFunc(ctx, b.close)
	return b, nil
}

// Addr is where clients connect: host:port, several separated by commas.
func (b *Broker) Addr() string { return strings.Join(b.cluster.ListenAddrs(), ",") }

// Cluster is what the broker is made of, for faults on command in tests. Its
// own API is no part of this module's promises.
func (b *Broker) Cluster() *kfake.Cluster { return b.cluster }

// Close stops the broker and returns when it has; data in a folder is then
// complete. Later calls do nothing. The error is always nil.
func (b *Broker) Close() error {
	b.stop()
	b.close()
	return nil
}

func (b *Broker) close() {
	b.once.Do(func() {
		b.cluster.Close()
		b.unlock()
		close(b.done)
	})
	<-b.done
}

func (b *Broker) unlock() {
	if b.lock != nil {
		_ = b.lock.Close() // frees the lock
	}
}

// lockFolder makes the folder and keeps other brokers out of it until the file is closed.
func lockFolder(dir string) (*os.File, error) {
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return nil, fmt.Errorf("embedded: data folder: %w", err)
	}
	f, err := os.OpenFile(filepath.Join(dir, "embedded.lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("embedded: data folder: %w", err)
	}
	if err := flock(f); err != nil {
		_ = f.Close()
		return nil, fmt.Errorf("embedded: the data folder %s belongs to another running broker: stop it, or use another folder: %w", dir, err)
	}
	return f, nil
}

// TB is what [Run] needs of a [testing.TB]; a type of its own keeps package testing out of programs.
type TB interface {
	Helper()
	Cleanup(func())
	Fatalf(format string, args ...any)
}

// Run starts a broker for a test, and stops it when the test ends. It fails the test where Start returns an error.
func Run(t TB, opts ...Option) *Broker {
	t.Helper()
	b, err := Start(context.Background(), opts...)
	if err != nil {
		t.Fatalf("%v", err)
		return nil
	}
	t.Cleanup(func() { _ = b.Close() })
	return b
}
