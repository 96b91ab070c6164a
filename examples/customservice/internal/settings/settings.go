// Package settings reads what the operator of customservice sets: flags over
// environment variables over defaults, and Kafka's own settings from
// appsettings.json and the environment.
package settings

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/expensevault/sharedlibrary/examples/customservice/internal/consumers"
	"github.com/expensevault/sharedlibrary/messaging"
)

// Prefix begins the names of the environment variables: that of the flag
// cache-ttl is CUSTOMSERVICE_CACHE_TTL.
const Prefix = "CUSTOMSERVICE_"

// How events leave: with the row that they tell of, or after it by best effort, as in the guide.
const (
	Outbox = "outbox"
	Direct = "direct"
)

// Settings are all settings but Kafka's own.
type Settings struct {
	Addr string        // where HTTP is served
	Stop time.Duration // how long stopping may take

	Memory   bool   // keep nothing when the process ends
	Data     string // the folder of what is kept
	Database string // a PostgreSQL URL or a SQLite file; "": a SQLite file in Data
	Redis    string // host:port or a redis:// URL; "": a cache in memory

	CacheTTL  time.Duration
	CacheSize int

	Kafka       string // bootstrap servers, over all other settings
	Appsettings string // the folder of appsettings.json
	Environment string // of appsettings.{Environment}.json; "": as messaging.Load has it
	KafkaPort   int    // of the embedded Kafka; 0: a free one
	Partitions  int
	Replication int    // 0: the broker's default
	Publish     string // Outbox or Direct
	Queue       int    // events that may wait for a broker, with Direct
	Consumers   string

	LogFormat string
	LogLevel  slog.Level
}

// Default returns the defaults.
func Default() Settings {
	return Settings{
		Addr:        "127.0.0.1:8080",
		Stop:        15 * time.Second,
		Data:        "customservice-data",
		CacheTTL:    5 * time.Minute,
		CacheSize:   10_000,
		Appsettings: ".",
		Partitions:  6,
		Publish:     Outbox,
		Queue:       10_000,
		Consumers:   strings.Join(consumers.Names(), ","),
		LogFormat:   "text",
		LogLevel:    slog.LevelInfo,
	}
}

// InProcess returns the consumers that run in the service's process.
func (s Settings) InProcess() []string {
	if s.Consumers == "none" {
		return nil
	}
	var out []string
	for name := range strings.SplitSeq(s.Consumers, ",") {
		if name = strings.TrimSpace(name); name != "" {
			out = append(out, name)
		}
	}
	return out
}

// check reports everything that is wrong.
func (s Settings) check() error {
	var errs []error
	wrong := func(ok bool, format string, args ...any) {
		if !ok {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	wrong(!s.Memory || s.Database == "", "-memory and -database exclude one another: leave one of them out")
	wrong(s.Memory || s.Data != "", "-data is empty: name a folder, or give -memory")
	wrong(s.Stop > 0, "-stop-timeout %s: give more than zero", s.Stop)
	wrong(s.CacheTTL >= time.Millisecond, "-cache-ttl %s: give a millisecond or more", s.CacheTTL)
	wrong(s.CacheSize > 0, "-cache-size %d: give 1 or more", s.CacheSize)
	wrong(s.KafkaPort >= 0 && s.KafkaPort <= 65535, "-kafka-port %d: give a port up to 65535, or 0 for a free one", s.KafkaPort)
	wrong(s.Partitions > 0, "-partitions %d: give 1 or more", s.Partitions)
	wrong(s.Replication >= 0, "-replication %d: give 1 or more, or 0 for the broker's default", s.Replication)
	wrong(s.Publish == Outbox || s.Publish == Direct, "-publish %q: give %s or %s", s.Publish, Outbox, Direct)
	wrong(s.Queue > 0, "-queue %d: give 1 or more", s.Queue)
	wrong(slices.Contains([]string{"text", "json"}, s.LogFormat), "-log-format %q: give text or json", s.LogFormat)
	seen := map[string]bool{}
	for _, name := range s.InProcess() {
		wrong(slices.Contains(consumers.Names(), name), "-consumers %q: choose from %s, or none", name, strings.Join(consumers.Names(), ","))
		wrong(!seen[name], "-consumers: %s stands there twice", name)
		seen[name] = true
	}
	return errors.Join(errs...)
}

// Store is the database's source, as store.Open takes it; memory is what stands for one in memory.
func (s Settings) Store(memory string) string {
	switch {
	case s.Memory:
		return memory
	case s.Database != "":
		return s.Database
	default:
		return filepath.Join(s.Data, "customservice.db")
	}
}

// LoadKafka returns Kafka's settings. Embedded says that no broker is named
// anywhere, so that the service is to bring its own.
func (s Settings) LoadKafka(lookupEnv func(string) (string, bool)) (cfg messaging.Config, embedded bool, err error) {
	cfg, err = messaging.Load(s.Appsettings, s.Environment, lookupEnv)
	if err != nil {
		return cfg, false, err
	}
	if s.Kafka != "" {
		cfg.BootstrapServers = s.Kafka
		return cfg, false, cfg.Validate()
	}
	named, err := s.namesBroker(lookupEnv)
	return cfg, !named, err
}

// namesBroker looks where messaging.Load does: what it returns does not tell a
// default from the same value set.
func (s Settings) namesBroker(lookupEnv func(string) (string, bool)) (bool, error) {
	env := func(name string) string { v, _ := lookupEnv(name); return v }
	if env("Kafka__BootstrapServers") != "" || env("KAFKA_BOOTSTRAP_SERVERS") != "" {
		return true, nil
	}
	environment := s.Environment
	for _, name := range []string{env("ASPNETCORE_ENVIRONMENT"), env("DOTNET_ENVIRONMENT"), "Production"} {
		if environment == "" {
			environment = name
		}
	}
	set := regexp.MustCompile(`(?i)"BootstrapServers"\s*:\s*"[^"]`)
	for _, file := range []string{"appsettings.json", "appsettings." + environment + ".json"} {
		text, err := os.ReadFile(filepath.Join(s.Appsettings, file)) //nolint:gosec // the operator says where
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return false, err
		}
		if set.Match(text) {
			return true, nil
		}
	}
	return false, nil
}
