package embedded

import (
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"

	"github.com/twmb/franz-go/pkg/kfake"
)

// Option changes what [Start] and [Run] start. Nil is no change. Of two options of the same name the last one holds,
// except [WithTopics], [WithUser] and [WithOptions], which add up.
type Option func(*settings)

type settings struct {
	port       int
	nodes      int
	folder     string
	inFolder   bool
	partitions int
	topics     []topic
	autoCreate bool
	users      []user
	tls        *tls.Config
	log        *slog.Logger
	listen     func(network, address string) (net.Listener, error)
	kfake      []kfake.Opt
}

type topic struct {
	name       string
	partitions int
}

type user struct{ mechanism, name, password string }

func newSettings(opts []Option) *settings {
	s := &settings{nodes: 1, partitions: 6, log: slog.New(slog.DiscardHandler), listen: net.Listen}
	for _, opt := range opts {
		if opt != nil {
			opt(s)
		}
	}
	return s
}

// WithPort listens on 127.0.0.1:port; with [WithNodes] the others listen on the ports after it. Default, and 0: a free port,
// chosen by the operating system for each node.
func WithPort(port int) Option { return func(s *settings) { s.port = port } }

// WithNodes starts n nodes that share the partitions' leadership, the last one being the controller. Default: 1.
func WithNodes(n int) Option { return func(s *settings) { s.nodes = n } }

// WithDataDir keeps the data in dir, which is created (for this user alone) where it is missing, and takes up what an earlier
// broker left there: topics, records, committed offsets, producer states. Each batch and each commit is synced to the disk
// before it is acknowledged. Default: in memory, gone with the broker.
//
// One broker at a time: a second one gets [ErrFolderInUse]. The lock is the operating system's on the file embedded.lock; it
// ends with the process, however that ends, so the file is never in the way and need not be removed.
//
// The number of nodes and the ports may change between two starts.
func WithDataDir(dir string) Option {
	return func(s *settings) { s.folder, s.inFolder = dir, true }
}

// WithPartitions is how many partitions a topic gets that is created without a number. Default: 6.
func WithPartitions(n int) Option { return func(s *settings) { s.partitions = n } }

// WithTopics creates the topics that don't exist yet; 0 partitions means [WithPartitions]. A topic that an earlier
// broker left in the folder keeps its partitions; where the number differs, a warning is logged.
func WithTopics(partitions int, names ...string) Option {
	return func(s *settings) {
		for _, name := range names {
			s.topics = append(s.topics, topic{name, partitions})
		}
	}
}

// WithAutoCreateTopics creates a topic when a client asks for its metadata and allows its creation, as kafka-go's writer and
// Java's producer do by default. Off by default, so that a mistyped topic is an error.
func WithAutoCreateTopics() Option { return func(s *settings) { s.autoCreate = true } }

// WithUser demands a login, and lets this user in, who may do everything. The mechanism is PLAIN, SCRAM-SHA-256 or
// SCRAM-SHA-512; a user may have several. Default: nobody logs in. For users with fewer rights see kfake.EnableACLs and
// kfake.User with [WithOptions].
//
// The users are those of the options, whatever an earlier broker left in the folder. There the PLAIN passwords lie readable:
// choose none that is used elsewhere.
func WithUser(mechanism, name, password string) Option {
	return func(s *settings) { s.users = append(s.users, user{mechanism, name, password}) }
}

// WithTLS speaks TLS alone, on every port; nil speaks none, which is the default. The certificate must be valid for the IP
// address 127.0.0.1, by which the brokers announce themselves. Client certificates are asked for as cfg says.
func WithTLS(cfg *tls.Config) Option { return func(s *settings) { s.tls = cfg } }

// WithLogger logs the broker's life at Info, what it could not do at Warn and Error, its groups' inner life at Debug. Default,
// and nil: nothing is logged.
func WithLogger(log *slog.Logger) Option {
	return func(s *settings) {
		if log == nil {
			log = slog.New(slog.DiscardHandler)
		}
		s.log = log
	}
}

// WithListen listens with fn in place of [net.Listen]; a [Network] brings a broker into a testing/synctest bubble this way. Nil
// is net.Listen.
func WithListen(fn func(network, address string) (net.Listener, error)) Option {
	return func(s *settings) {
		if fn == nil {
			fn = net.Listen
		}
		s.listen = fn
	}
}

// WithOptions hands options to kfake, after this package's own, which they can undo: kfake.ListenFn and kfake.TLS are better
// given as [WithListen] and [WithTLS]. For our own tests: what kfake offers may change with any release of this module.
func WithOptions(opts ...kfake.Opt) Option {
	return func(s *settings) { s.kfake = append(s.kfake, opts...) }
}

func (s *settings) validate() error {
	var errs []error
	refuse := func(format string, args ...any) { errs = append(errs, fmt.Errorf("embedded: "+format, args...)) }

	if s.nodes < 1 {
		refuse("WithNodes(%d): give 1 or more", s.nodes)
	}
	if last := s.port + s.nodes - 1; s.port != 0 && (s.port < 1 || last > 65535) {
		refuse("WithPort(%d) with %d node(s): every port must lie in 1..65535, or be 0 for a free one", s.port, s.nodes)
	}
	if s.inFolder && s.folder == "" {
		refuse(`WithDataDir(""): give a folder, or leave the option out to keep the data in memory`)
	}
	if s.partitions < 1 {
		refuse("WithPartitions(%d): give 1 or more", s.partitions)
	}
	asked := make(map[string]int, len(s.topics))
	for i, t := range s.topics {
		if !legalTopic(t.name) {
			refuse("WithTopics: %q is no name for a topic: use 1 to 249 of a-z, A-Z, 0-9, '.', '_' and '-'", t.name)
		}
		if t.partitions < 0 {
			refuse("WithTopics(%d, %q): give 1 partition or more, or 0 for the default", t.partitions, t.name)
		}
		if t.partitions == 0 {
			t.partitions = s.partitions
			s.topics[i] = t
		}
		if n, twice := asked[t.name]; twice && n != t.partitions {
			refuse("WithTopics asks for %q with %d and with %d partitions: choose one", t.name, n, t.partitions)
		}
		asked[t.name] = t.partitions
	}
	for _, u := range s.users {
		switch u.mechanism {
		case "PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512":
		default:
			refuse("WithUser(%q, %q, …): the mechanism must be PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512", u.mechanism, u.name)
		}
		if u.name == "" || u.password == "" {
			refuse("WithUser(%q, %q, …): give a name and a password", u.mechanism, u.name)
		}
	}
	if s.tls != nil && len(s.tls.Certificates) == 0 && s.tls.GetCertificate == nil && s.tls.GetConfigForClient == nil {
		refuse("WithTLS: the tls.Config has no certificate: set Certificates to one that is valid for 127.0.0.1")
	}
	return errors.Join(errs...)
}

// legalTopic is Kafka's rule, which kfake doesn't know.
func legalTopic(name string) bool {
	const legal = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-"
	return name != "" && len(name) <= 249 && name != "." && name != ".." && strings.Trim(name, legal) == ""
}

func (s *settings) options(log *logger, listen func(network, address string) (net.Listener, error)) []kfake.Opt {
	opts := []kfake.Opt{
		kfake.NumBrokers(s.nodes),
		kfake.DefaultNumPartitions(s.partitions),
		kfake.ListenFn(listen),
		kfake.WithLogger(log),
	}
	if s.port != 0 {
		ports := make([]int, s.nodes)
		for i := range ports {
			ports[i] = s.port + i
		}
		opts = append(opts, kfake.Ports(ports...))
	}
	if s.inFolder {
		opts = append(opts, kfake.DataDir(s.folder), kfake.SyncWrites())
	}
	if s.autoCreate {
		opts = append(opts, kfake.AllowAutoTopicCreation())
	}
	if len(s.users) > 0 {
		opts = append(opts, kfake.EnableSASL())
	}
	for _, u := range s.users {
		opts = append(opts, kfake.Superuser(u.mechanism, u.name, u.password))
	}
	return append(opts, s.kfake...)
}
