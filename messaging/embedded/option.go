package embedded

import (
	"crypto/tls"
	"errors"
	"fmt"

	"github.com/twmb/franz-go/pkg/kfake"
)

// Option changes a default of [Start].
type Option func(*options)

type options struct {
	port       int
	nodes      int
	dir        string
	partitions int
	topics     []topics
	auto       bool
	raw        []kfake.Opt
}

type topics struct {
	partitions int
	names      []string
}

// WithPort listens on this port instead of a free one; nodes after the first take the ports behind it.
func WithPort(port int) Option { return func(o *options) { o.port = port } }

// WithNodes makes a cluster of n nodes; partitions have their leaders spread over them.
func WithNodes(n int) Option { return func(o *options) { o.nodes = n } }

// WithDataDir keeps the data in a folder, which is made where it is missing;
// topics, records and groups are there again after the next Start. What was
// acknowledged survives a crash of the process, and of the machine.
func WithDataDir(dir string) Option { return func(o *options) { o.dir = dir } }

// WithPartitions sets how many partitions a topic has whose creator names no number; the default is 6.
func WithPartitions(n int) Option { return func(o *options) { o.partitions = n } }

// WithTopics creates topics at the start; those that a data folder brought along stay as they are.
func WithTopics(partitions int, names ...string) Option {
	return func(o *options) { o.topics = append(o.topics, topics{partitions, names}) }
}

// WithAutoCreateTopics creates a topic when a client that allows it asks for one that is not there.
func WithAutoCreateTopics() Option { return func(o *options) { o.auto = true } }

// WithTLS makes the port a TLS one.
func WithTLS(cfg *tls.Config) Option {
	return func(o *options) { o.raw = append(o.raw, kfake.TLS(cfg)) }
}

// WithUser asks for authentication, and knows this user, who may do everything.
// The mechanism is PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512.
func WithUser(mechanism, user, password string) Option {
	return func(o *options) {
		o.raw = append(o.raw, kfake.EnableSASL(), kfake.Superuser(mechanism, user, password))
	}
}

// WithOptions passes options to what the broker is made of; they are no part of this module's promises.
func WithOptions(opts ...kfake.Opt) Option {
	return func(o *options) { o.raw = append(o.raw, opts...) }
}

func (o *options) validate() error {
	switch {
	case o.nodes < 1:
		return fmt.Errorf("WithNodes(%d): a cluster has at least one node", o.nodes)
	case o.partitions < 1:
		return fmt.Errorf("WithPartitions(%d): a topic has at least one partition", o.partitions)
	case o.port < 0 || o.port+o.nodes-1 > 65535:
		return fmt.Errorf("WithPort(%d): ports go from 1 to 65535", o.port)
	}
	for _, t := range o.topics {
		if t.partitions < 1 {
			return fmt.Errorf("WithTopics(%d): a topic has at least one partition", t.partitions)
		}
		for _, name := range t.names {
			if name == "" {
				return errors.New("WithTopics: a topic has a name")
			}
		}
	}
	return nil
}

func (o *options) kfake() []kfake.Opt {
	out := []kfake.Opt{kfake.NumBrokers(o.nodes), kfake.DefaultNumPartitions(o.partitions)}
	if o.port != 0 {
		ports := make([]int, o.nodes)
		for i := range ports {
			ports[i] = o.port + i
		}
		out = append(out, kfake.Ports(ports...))
	}
	if o.dir != "" {
		out = append(out, kfake.DataDir(o.dir), kfake.SyncWrites())
	}
	if o.auto {
		out = append(out, kfake.AllowAutoTopicCreation())
	}
	for _, t := range o.topics {
		out = append(out, kfake.SeedTopics(int32(t.partitions), t.names...)) //nolint:gosec // as many partitions as an int32 has, no machine holds
	}
	return append(out, o.raw...)
}
