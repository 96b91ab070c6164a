package embedded

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Broker is one or more running brokers. Its methods may be called concurrently.
type Broker struct {
	addr      string
	cluster   *kfake.Cluster
	listeners *listeners
	log       *logger
	unlock    func() error

	cancel context.CancelFunc
	done   chan struct{}
	err    error // of the stop; read after done
}

// Start starts a broker that runs until ctx ends or Close is called. When it returns, the topics exist and clients can
// connect. A port or a folder that is taken is [ErrPortInUse] or [ErrFolderInUse]; every error names the option at fault and
// what to do. After an error nothing is left running.
func Start(ctx context.Context, opts ...Option) (*Broker, error) {
	s := newSettings(opts)
	if err := s.validate(); err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("embedded: not started: %w", context.Cause(ctx))
	}

	unlock := func() error { return nil }
	if s.inFolder {
		dir, err := filepath.Abs(s.folder)
		if err != nil {
			return nil, fmt.Errorf("embedded: WithDataDir(%q): %w", s.folder, err)
		}
		s.folder = dir
		lock, err := lockFolder(dir)
		if err != nil {
			return nil, err
		}
		unlock = lock.Close
		if len(s.users) > 0 {
			if err := forgetUsers(dir); err != nil {
				return nil, errors.Join(err, unlock())
			}
		}
	}

	b := &Broker{
		listeners: &listeners{listen: s.listen, tls: s.tls, log: s.log, ready: make(chan struct{}), conns: make(map[*conn]struct{})},
		log:       &logger{Logger: s.log},
		unlock:    unlock,
		done:      make(chan struct{}),
	}
	defer close(b.listeners.ready)

	var err error
	if b.cluster, err = kfake.NewCluster(s.options(b.log, b.listeners.Listen)...); err != nil {
		if s.inFolder && !strings.HasPrefix(err.Error(), "embedded:") {
			err = fmt.Errorf("embedded: can't use the data folder %s: repair it, empty it, or give WithDataDir another one: %w", s.folder, err)
		}
		return nil, errors.Join(err, unlock())
	}
	for _, t := range s.topics {
		if err := b.ensure(t); err != nil {
			b.stop()
			return nil, errors.Join(err, b.err)
		}
	}
	if s.inFolder && s.autoCreate {
		b.cluster.ControlKey(int16(kmsg.Metadata), b.createAndSave)
	}
	b.addr = strings.Join(b.cluster.ListenAddrs(), ",")
	s.log.Info("embedded Kafka is running", "addr", b.addr, "folder", s.folder)

	ctx, b.cancel = context.WithCancel(ctx)
	context.AfterFunc(ctx, b.stop)
	return b, nil
}

func (b *Broker) ensure(t topic) error {
	if is := b.cluster.TopicInfo(t.name); is != nil {
		if n := len(b.cluster.PartitionInfos(t.name)); n != t.partitions {
			b.log.Warn("the topic keeps the partitions that it has", "topic", t.name, "partitions", n, "asked", t.partitions)
		}
		return nil
	}
	if err := b.cluster.CreateTopic(t.name, int32(t.partitions), nil); err != nil { //nolint:gosec // validated
		return fmt.Errorf("embedded: WithTopics: can't create %q (topics that differ in '.' and '_' alone collide): %w", t.name, err)
	}
	return nil
}

// createAndSave creates the topics that kfake is about to create by itself: those it would write to the folder at Close
// alone, so that after a crash their records are there and no topic to read them from. It runs before kfake looks at the
// request, thus for clients that didn't log in as well.
func (b *Broker) createAndSave(r kmsg.Request) (kmsg.Response, error, bool) {
	req, ok := r.(*kmsg.MetadataRequest)
	if !ok || !req.AllowAutoTopicCreation {
		return nil, nil, false
	}
	for _, t := range req.Topics {
		if t.Topic == nil || !legalTopic(*t.Topic) || b.cluster.TopicInfo(*t.Topic) != nil {
			continue
		}
		if err := b.cluster.CreateTopic(*t.Topic, 0, nil); err != nil {
			b.log.Warn("a topic was not created", "topic", *t.Topic, "error", err)
		}
	}
	return nil, nil, false
}

// Addr is where clients connect: host:port, comma-separated where there are several nodes. It holds after Close too.
func (b *Broker) Addr() string { return b.addr }

// Close stops the broker, waits until its data is saved and its connections are closed, and says what could not be saved.
// Later and concurrent calls wait for the same stop and return the same. After it the port and the folder are free.
func (b *Broker) Close() error {
	b.cancel()
	<-b.done
	return b.err
}

// Done is closed when the broker has stopped, by Close or by the end of its context.
func (b *Broker) Done() <-chan struct{} { return b.done }

// Cluster is the broker's inside, to inject faults, to move leaders and to look at groups in our own tests. What kfake offers
// is not covered by this module's promises: it may change with any release. Its methods must not be called after Close: they
// would wait for ever.
func (b *Broker) Cluster() *kfake.Cluster { return b.cluster }

func (b *Broker) stop() {
	const patience = 10 * time.Second

	defer close(b.done)
	b.log.startKeeping()
	closed := make(chan error, 1)
	go func() {
		b.cluster.Close()
		b.listeners.closeAll()
		closed <- b.unlock()
	}()
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case err := <-closed:
		b.err = errors.Join(b.log.kept(), err)
		b.log.Info("embedded Kafka has stopped", "addr", b.addr)
	case <-timer.C:
		b.listeners.closeAll()
		b.err = fmt.Errorf("embedded: close: the broker is busy since %v: does a function given to Cluster().Control wait?", patience)
	}
}
