package settings

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/expensevault/sharedlibrary/examples/customservice/internal/consumers"
)

// ErrHelp says that help was asked for, and given.
var ErrHelp = flag.ErrHelp

// Command is what the command line asks for.
type Command struct {
	Settings

	Consume string // the consumer to run alone; "": the service
}

// Parse reads the command line without the program's name. Help goes to out.
// The error tells people what to write instead.
func Parse(args []string, lookupEnv func(string) (string, bool), out io.Writer) (Command, error) {
	c := Command{Settings: Default()}
	flags := c.flags()
	if len(args) > 0 && args[0] == "consume" {
		if len(args) < 2 || !slices.Contains(consumers.Names(), args[1]) && !isHelp(args[1]) {
			return c, fmt.Errorf("consume what? Write consume %s, and then flags", strings.Join(consumers.Names(), "|"))
		}
		c.Consume = args[1]
		args = args[2:]
		if isHelp(c.Consume) {
			args = []string{"-h"}
		}
	}
	if err := fromEnvironment(flags, lookupEnv); err != nil {
		return c, err
	}
	err := flags.Parse(args)
	if errors.Is(err, flag.ErrHelp) {
		help(out)
		return c, ErrHelp
	}
	if err != nil {
		return c, err
	}
	if flags.NArg() > 0 {
		return c, fmt.Errorf("unknown argument %q: the only command is consume, and it comes first", flags.Arg(0))
	}
	return c, c.check()
}

func isHelp(s string) bool {
	return slices.Contains([]string{"-h", "--h", "-help", "--help"}, s)
}

func (c *Command) flags() *flag.FlagSet {
	f := flag.NewFlagSet("customservice", flag.ContinueOnError)
	f.SetOutput(io.Discard)
	f.StringVar(&c.Addr, "addr", c.Addr, "`host:port` where HTTP is served; port 0 takes a free one")
	f.DurationVar(&c.Stop, "stop-timeout", c.Stop, "the `duration` that stopping may take, from the signal on")

	f.BoolVar(&c.Memory, "memory", c.Memory, "keep database and embedded Kafka in memory: all is gone when the process ends")
	f.StringVar(&c.Data, "data", c.Data, "`folder` of the SQLite file and of the embedded Kafka's data; made where it is missing")
	f.StringVar(&c.Database, "database", c.Database,
		"`source` of the data: postgres://user:password@host:port/name, or a SQLite file (default customservice.db in the folder -data)")
	f.StringVar(&c.Redis, "redis", c.Redis,
		"`address` of a Redis for the cache: host:port, or redis://:password@host:port/0 (default a cache in memory)")
	f.DurationVar(&c.CacheTTL, "cache-ttl", c.CacheTTL, "the `duration` that an item stays in the cache")
	f.IntVar(&c.CacheSize, "cache-size", c.CacheSize, "the `number` of items that the cache in memory holds")

	f.StringVar(&c.Kafka, "kafka", c.Kafka,
		"bootstrap `servers`, host:port with commas, over all other settings of Kafka (default those of the settings, and where there are none an embedded Kafka)")
	f.StringVar(&c.Appsettings, "appsettings", c.Appsettings, "`folder` of appsettings.json and appsettings.{environment}.json; both may be missing")
	f.StringVar(&c.Environment, "environment", c.Environment,
		"the `name` in appsettings.{environment}.json (default ASPNETCORE_ENVIRONMENT, DOTNET_ENVIRONMENT or Production)")
	f.IntVar(&c.KafkaPort, "kafka-port", c.KafkaPort, "`port` of the embedded Kafka on 127.0.0.1; 0 takes a free one, which the log tells")
	f.IntVar(&c.Partitions, "partitions", c.Partitions, "the `number` of partitions that new topics get")
	f.IntVar(&c.Replication, "replication", c.Replication, "the `number` of replicas that new topics get; 0 is the broker's default")
	f.StringVar(&c.Publish, "publish", c.Publish, "the `way` of events to Kafka: outbox, with which none is lost or doubled, or direct, "+
		"which is to publish after the commit and to lose what is not acknowledged")
	f.IntVar(&c.Queue, "queue", c.Queue, "the `number` of events that may wait in memory while no broker is reachable, with -publish direct")
	f.StringVar(&c.Consumers, "consumers", c.Consumers, "`names` of the consumers in this process, with commas, or none")

	f.StringVar(&c.LogFormat, "log-format", c.LogFormat, "the `format` of the log on standard error: text or json")
	f.TextVar(&c.LogLevel, "log-level", c.LogLevel, "the least `level` that is logged: debug, info, warn or error")
	return f
}

// Flags returns the names of all flags.
func Flags() []string {
	var names []string
	(&Command{Settings: Default()}).flags().VisitAll(func(f *flag.Flag) { names = append(names, f.Name) })
	return names
}

// Variable is the environment variable of a flag.
func Variable(flagName string) string {
	return Prefix + strings.ToUpper(strings.ReplaceAll(flagName, "-", "_"))
}

func fromEnvironment(flags *flag.FlagSet, lookupEnv func(string) (string, bool)) error {
	var errs []error
	flags.VisitAll(func(f *flag.Flag) {
		name := Variable(f.Name)
		value, ok := lookupEnv(name)
		if !ok || value == "" {
			return
		}
		if err := f.Value.Set(value); err != nil {
			errs = append(errs, fmt.Errorf("environment variable %s=%q: %w", name, value, err))
		}
	})
	return errors.Join(errs...)
}

func help(out io.Writer) {
	var b strings.Builder
	defaults := (&Command{Settings: Default()}).flags()
	b.WriteString(`customservice keeps items, over HTTP, and tells others about them by events over Kafka.

Usage:
  customservice [flags]                                        the service, with its consumers
  customservice consume ` + strings.Join(consumers.Names(), "|") + ` [flags]   one consumer alone

Without flags it needs nothing: SQLite and an embedded Kafka in the folder customservice-data,
a cache in memory.
`)
	for _, section := range []struct {
		title string
		names []string
	}{
		{"HTTP", []string{"addr", "stop-timeout"}},
		{"Data", []string{"memory", "data", "database", "redis", "cache-ttl", "cache-size"}},
		{"Kafka", []string{
			"kafka", "appsettings", "environment", "kafka-port", "partitions", "replication", "publish", "queue", "consumers",
		}},
		{"Log", []string{"log-format", "log-level"}},
	} {
		fmt.Fprintf(&b, "\n%s:\n", section.title)
		for _, name := range section.names {
			f := defaults.Lookup(name)
			placeholder, usage := flag.UnquoteUsage(f)
			if placeholder != "" {
				placeholder = " " + placeholder
			}
			if f.DefValue != "" && f.DefValue != "0" && f.DefValue != "false" {
				usage += " (default " + f.DefValue + ")"
			}
			fmt.Fprintf(&b, "  -%s%s\n      %s\n", name, placeholder, usage)
		}
	}
	fmt.Fprintf(&b, `
Each flag can be given as an environment variable: -cache-ttl as %s. Flags come first.
Secrets belong there, or into files: other users of a machine see its command lines.
The other settings of Kafka stand in appsettings.json, section "Kafka", or in variables such as
Kafka__BootstrapServers.

The page at / shows it all at work; /health, /live, /ready and /metrics (Prometheus) are for machines.
Traces, metrics and the log go to an OTLP receiver where OTEL_EXPORTER_OTLP_ENDPOINT, or the one for
TRACES, METRICS or LOGS, names it (http/protobuf); OTEL_SERVICE_NAME and the others work as everywhere.

Examples:
  customservice -memory
  customservice -database postgres://app:secret@localhost:5434/items -redis localhost:6379 -kafka localhost:9092
  customservice -consumers analytics,notification
  customservice consume audit -kafka localhost:9092 -log-format json
`, Variable("cache-ttl"))
	_, _ = io.WriteString(out, b.String()) // nobody to tell
}
