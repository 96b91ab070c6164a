// Package app puts customservice together, runs it, and stops it in order.
package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/expensevault/sharedlibrary/examples/customservice/internal/broker"
	"github.com/expensevault/sharedlibrary/examples/customservice/internal/cache"
	"github.com/expensevault/sharedlibrary/examples/customservice/internal/event"
	"github.com/expensevault/sharedlibrary/examples/customservice/internal/outgoing"
	"github.com/expensevault/sharedlibrary/examples/customservice/internal/settings"
	"github.com/expensevault/sharedlibrary/examples/customservice/internal/store"
	"github.com/expensevault/sharedlibrary/messaging"
	"github.com/expensevault/sharedlibrary/messaging/embedded"
	"github.com/expensevault/sharedlibrary/messaging/inbox"
	"github.com/expensevault/sharedlibrary/messaging/outbox"
)

// ErrNoBroker says that a consumer alone has nowhere to read from.
var ErrNoBroker = errors.New("a consumer alone needs a broker that others use too: give -kafka host:port or Kafka__BootstrapServers; " +
	"a running customservice logs the address of its embedded Kafka, and -kafka-port fixes it")

// parts is what service and consumers are made of.
type parts struct {
	store     *store.Store
	embedded  *embedded.Broker // nil: a Kafka elsewhere
	config    messaging.Config
	publisher *messaging.KafkaPublisher
	link      *broker.Link
	box       *outbox.Outbox
	signal    outbox.Signal // of commits to box
	relay     *outgoing.Relay
	inbox     *inbox.Inbox   // of all groups: what it cleans is theirs
	close     []func() error // in the order of opening
}

// open opens what everything needs. After an error nothing stays open.
func open(ctx context.Context, s settings.Settings, own bool, log *slog.Logger) (_ *parts, err error) {
	p := &parts{}
	defer func() {
		if err != nil {
			p.closeAll(log)
		}
	}()
	config, noBroker, err := s.LoadKafka(os.LookupEnv)
	if err != nil {
		return nil, err
	}
	if noBroker && !own {
		return nil, ErrNoBroker
	}
	if !s.Memory && (s.Database == "" || noBroker) {
		if err := os.MkdirAll(s.Data, 0o700); err != nil {
			return nil, fmt.Errorf("the folder of the data: %w", err)
		}
	}
	if p.store, err = store.Open(ctx, s.Store(store.Memory)); err != nil {
		return nil, err
	}
	p.close = append(p.close, p.store.Close)
	if noBroker {
		if p.embedded, err = startKafka(ctx, s); err != nil {
			return nil, err
		}
		p.close = append(p.close, p.embedded.Close)
		config.BootstrapServers = p.embedded.Addr()
	}
	p.config = config
	if p.publisher, err = messaging.NewKafkaPublisher(config, messaging.WithLogger(log)); err != nil {
		return nil, err
	}
	p.close = append(p.close, p.publisher.Close)
	p.link = broker.NewLink(config, log, broker.Topics(config, event.Topics(), s.Partitions, s.Replication)...)
	p.box = outbox.New(p.store.Dialect(), outbox.WithEncode(config.Encode))
	p.inbox = inbox.New(p.store.DB(), p.store.Dialect(), event.Service, inbox.WithLogger(log))
	opts := []outbox.Option{outbox.WithSignal(&p.signal)}
	if store.IsPostgres(s.Database) {
		opts = append(opts, outbox.WithListener(outgoing.Listen(s.Database)))
	}
	p.relay = outgoing.NewRelay(p.store.DB(), p.store.Dialect(), p.box, p.publisher, p.link, log, opts...)
	return p, nil
}

func startKafka(ctx context.Context, s settings.Settings) (*embedded.Broker, error) {
	options := []embedded.Option{embedded.WithPartitions(s.Partitions)}
	if !s.Memory {
		options = append(options, embedded.WithDataDir(filepath.Join(s.Data, "kafka")))
	}
	if s.KafkaPort != 0 {
		options = append(options, embedded.WithPort(s.KafkaPort))
	}
	// It outlives ctx: what is on its way when the service is to stop still wants an answer.
	b, err := embedded.Start(context.WithoutCancel(ctx), options...)
	if err != nil {
		return nil, fmt.Errorf("embedded Kafka: %w (another -data or -kafka-port?)", err)
	}
	return b, nil
}

func openCache(s settings.Settings) (cache.Cache, error) {
	if s.Redis == "" {
		return cache.NewMemory(s.CacheTTL, s.CacheSize), nil
	}
	return cache.NewRedis(s.Redis, s.CacheTTL)
}

// closeAll closes what was opened last first.
func (p *parts) closeAll(log *slog.Logger) {
	for _, closeOne := range slices.Backward(p.close) {
		if err := closeOne(); err != nil {
			log.Error("Failed to close", slog.Any("error", err))
		}
	}
}

// settle waits until the topics are in our own Kafka, which does not take long.
// Another one may be away for hours: nobody waits for it.
func (p *parts) settle(ctx context.Context) {
	if p.embedded == nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, settleTimeout)
	defer cancel()
	_ = p.link.Wait(ctx) // events wait for it in any case
}

const settleTimeout = 5 * time.Second

// kafkaName says where Kafka is.
func (p *parts) kafkaName() string {
	if p.embedded != nil {
		return "embedded at " + p.config.BootstrapServers
	}
	return p.config.BootstrapServers
}
