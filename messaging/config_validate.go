package messaging

import (
	"errors"
	"fmt"
	"math"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/expensevault/sharedlibrary/events"
)

// The limits of settings are librdkafka's where it has one.
//
// Source: https://github.com/confluentinc/librdkafka/blob/master/CONFIGURATION.md
const (
	maxMessageTimeout     = math.MaxInt32 * time.Millisecond
	maxRequestTimeout     = 900_000 * time.Millisecond
	maxRetryBackoff       = 300_000 * time.Millisecond
	maxLinger             = 900_000 * time.Millisecond // librdkafka's
	maxMaxInFlight        = 1_000_000
	maxIdempotentInFlight = 5 // a broker remembers the last five batches of a producer
	maxClientID           = 255
	maxCustomTopic        = 249 - len("-retry-99") // Kafka's limit, less what is added for retry and dead-letter topics
)

func securityProtocols() []string { return []string{"PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"} }
func saslMechanisms() []string    { return []string{"PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"} }
func partitioners() []string      { return []string{PartitionerCRC32, PartitionerMurmur2} }
func compressions() []string      { return []string{"none", "gzip", "snappy", "lz4", "zstd"} }
func headerSets() []string        { return []string{HeadersCloudEvents, HeadersBasic, HeadersNone} }

// SettingError is what is wrong with one setting. [Config.Validate] and [Load]
// return one for each problem, joined; [errors.As] finds the first.
type SettingError struct {
	Setting string // as the operator spells it, such as MessageTimeoutMs
	Value   string // as it is; empty when it is not set, and always for a secret
	Source  string // where Load read it: file:line, or an environment variable; empty otherwise
	Problem string // what is wrong and what to do
}

func (e *SettingError) Error() string {
	var b strings.Builder
	b.WriteString("messaging: setting " + e.Setting)
	if e.Value != "" {
		b.WriteString(" = " + strconv.Quote(shorten(e.Value)))
	}
	if e.Source != "" {
		b.WriteString(" (" + e.Source + ")")
	}
	return b.String() + ": " + e.Problem
}

// shorten keeps a long value from filling a log line.
func shorten(s string) string {
	const enough = 100
	if len(s) <= enough {
		return s
	}
	return s[:enough] + "…"
}

// problems collects what is wrong.
type problems []*SettingError

func (p *problems) add(setting, value, format string, args ...any) {
	*p = append(*p, &SettingError{Setting: setting, Value: value, Problem: fmt.Sprintf(format, args...)})
}

func (p *problems) err() error {
	errs := make([]error, len(*p))
	for i, e := range *p {
		errs[i] = e
	}
	return errors.Join(errs...)
}

const startFrom = "start from DefaultConfig or Load, which set it"

// Validate returns nil for settings that can be used, and otherwise a
// [*SettingError] for each problem, joined. It opens no file and no connection.
// Nothing is filled in: a Config that does not come from [DefaultConfig] or
// [Load] is refused for what it lacks.
func (c Config) Validate() error {
	p := c.problems()
	return p.err()
}

func (c Config) problems() problems {
	var p problems
	p.servers(c.BootstrapServers)
	p.clientID(c.ClientID)
	p.acks(c)
	p.duration("MessageTimeoutMs", c.MessageTimeout, maxMessageTimeout)
	p.duration("RequestTimeoutMs", c.RequestTimeout, maxRequestTimeout)
	p.duration("RetryBackoffMs", c.RetryBackoff, maxRetryBackoff)
	if c.Linger != 0 {
		p.duration("LingerMs", c.Linger, maxLinger)
	}
	p.topics(c.Topics)
	p.choice("SecurityProtocol", c.SecurityProtocol, securityProtocols())
	p.sasl(c)
	p.ssl(c)
	p.choice("Partitioner", c.Partitioner, partitioners())
	p.choice("CompressionType", c.Compression, compressions())
	p.choice("Headers", c.Headers, headerSets())
	return p
}

// splitServers is the list without what surrounds its commas.
func splitServers(list string) []string {
	var servers []string
	for s := range strings.SplitSeq(list, ",") {
		if s = strings.TrimSpace(s); s != "" {
			servers = append(servers, s)
		}
	}
	return servers
}

func (p *problems) servers(list string) {
	const name = "BootstrapServers"
	servers := splitServers(list)
	if len(servers) == 0 {
		p.add(name, list, "names no broker: write host:port, several with commas between; %s", startFrom)
	}
	for _, s := range servers {
		if strings.Contains(s, "://") {
			p.add(name, list, "%q has a scheme: write host:port alone and choose the SecurityProtocol by its own setting", shorten(s))
			continue
		}
		host, port, err := net.SplitHostPort(s)
		n, numErr := strconv.ParseUint(port, 10, 16)
		switch {
		case err != nil:
			p.add(name, list, "%q is not host:port (an IPv6 address is [address]:port)", shorten(s))
		case host == "" || strings.ContainsFunc(host, notInHost):
			p.add(name, list, "the host of %q is empty or holds a character that no host name has: write host:port", shorten(s))
		case numErr != nil || n == 0:
			p.add(name, list, "the port of %q is not between 1 and 65535", shorten(s))
		}
	}
}

// notInHost leaves the judgement on names to the resolver; '_' is common inside of container networks.
func notInHost(r rune) bool {
	return r <= ' ' || r == 0x7f || r == utf8.RuneError || strings.ContainsRune(`/\@"'<>;=`, r)
}

func (p *problems) clientID(id string) {
	const name = "ClientId"
	switch {
	case id == "":
		p.add(name, "", "is not set: brokers name the client by it in logs and quotas; %s", startFrom)
	case len(id) > maxClientID:
		p.add(name, id, "is %d bytes long: %d at most", len(id), maxClientID)
	case strings.ContainsFunc(id, func(r rune) bool { return r <= ' ' || r >= 0x7f }):
		p.add(name, id, "use ASCII letters, digits and signs, without spaces")
	}
}

func (p *problems) acks(c Config) {
	acks := strconv.Itoa(int(c.Acks))
	inFlight := strconv.Itoa(c.MaxInFlight)
	if c.Acks != AcksAll && c.Acks != AcksLeader && c.Acks != AcksNone {
		p.add("Acks", acks, "use -1 (all), 1 (leader) or 0 (none)")
	} else if c.EnableIdempotence && c.Acks != AcksAll {
		p.add("Acks", acks, "EnableIdempotence needs -1 (all): set Acks to -1, or EnableIdempotence to false")
	}
	switch {
	case c.MaxInFlight == 0:
		p.add("MaxInFlight", "0", "must be 1 at least; %s", startFrom)
	case c.MaxInFlight < 0 || c.MaxInFlight > maxMaxInFlight:
		p.add("MaxInFlight", inFlight, "must be between 1 and %d", maxMaxInFlight)
	case c.EnableIdempotence && c.MaxInFlight > maxIdempotentInFlight:
		p.add("MaxInFlight", inFlight, "EnableIdempotence allows %d at most: lower MaxInFlight, or set EnableIdempotence to false",
			maxIdempotentInFlight)
	}
}

func (p *problems) duration(name string, d, limit time.Duration) {
	value := strconv.FormatInt(d.Milliseconds(), 10)
	if d%time.Millisecond != 0 {
		value = d.String()
	}
	switch {
	case d == 0:
		p.add(name, value, "must be 1 at least (there is no value for \"never\"); %s", startFrom)
	case d < time.Millisecond || d > limit:
		p.add(name, value, "must be between 1 and %d milliseconds", limit.Milliseconds())
	}
}

func (p *problems) choice(name, value string, choices []string) {
	if slices.Contains(choices, value) {
		return
	}
	hint := ""
	if value == "" {
		hint = "; " + startFrom
	}
	p.add(name, value, "use one of %s%s", strings.Join(choices, ", "), hint)
}

func (p *problems) topics(m map[string]string) {
	names := make([]string, 0, len(m))
	for name := range m {
		names = append(names, name)
	}
	slices.Sort(names)
	taken := make(map[string]string, len(m)) // as Kafka's metrics write it, to the default name
	for _, name := range names {
		custom := m[name]
		setting := "Topics:" + shorten(name)
		if _, err := events.ParseTopic(name); err != nil {
			p.add(setting, custom, "maps what is no default name of a topic: %v", err)
		}
		if err := checkTopicName(custom); err != nil {
			p.add(setting, custom, "%v", err)
			continue
		}
		if len(custom) > maxCustomTopic {
			p.add(setting, custom, "is %d bytes long: %d at most, to leave room for what the names of its retry and dead-letter topics add",
				len(custom), maxCustomTopic)
		}
		metric := strings.ReplaceAll(custom, ".", "_")
		if other, ok := taken[metric]; ok && m[other] == custom {
			p.add(setting, custom, "%s goes to the same topic: handlers tell event types apart by their topic, give each its own", other)
		} else if ok {
			p.add(setting, custom, "Kafka's metrics cannot tell it from %q, the name for %s: brokers refuse to hold both", m[other], other)
		}
		taken[metric] = name
	}
}

func (c Config) usesSASL() bool { return strings.HasPrefix(c.SecurityProtocol, "SASL_") }
func (c Config) usesTLS() bool  { return strings.HasSuffix(c.SecurityProtocol, "SSL") }

func (p *problems) sasl(c Config) {
	if !c.usesSASL() {
		for _, s := range []struct{ name, value string }{
			{"SaslMechanism", c.SASLMechanism},
			{"SaslUsername", c.SASLUsername},
			{"SaslPassword", c.SASLPassword.String()},
			{"SaslPasswordFile", c.SASLPasswordFile},
		} {
			if s.value != "" {
				p.unused(c, s.name, s.value, "nobody would be authenticated by it", "SASL_SSL (or SASL_PLAINTEXT)")
			}
		}
		return
	}
	p.choice("SaslMechanism", c.SASLMechanism, saslMechanisms())
	switch {
	case c.SASLUsername == "":
		p.add("SaslUsername", "", "is not set, and SecurityProtocol is %s", c.SecurityProtocol)
	case !plainText(c.SASLUsername):
		p.add("SaslUsername", c.SASLUsername, "is not UTF-8, or holds a zero byte")
	}
	switch {
	case c.SASLPassword == "" && c.SASLPasswordFile == "":
		p.add("SaslPassword", "", "neither it nor SaslPasswordFile is set, and SecurityProtocol is %s", c.SecurityProtocol)
	case c.SASLPassword != "" && c.SASLPasswordFile != "":
		p.add("SaslPassword", "", "is set, and SaslPasswordFile as well: remove one of them")
	case !plainText(string(c.SASLPassword)):
		p.add("SaslPassword", "", "is not UTF-8, or holds a zero byte")
	}
}

func plainText(s string) bool { return utf8.ValidString(s) && !strings.ContainsRune(s, 0) }

func (p *problems) ssl(c Config) {
	if !c.usesTLS() {
		for _, s := range []struct{ name, value string }{
			{"SslCaLocation", c.SSLCALocation},
			{"SslCertificateLocation", c.SSLCertificateLocation},
			{"SslKeyLocation", c.SSLKeyLocation},
			{"SslKeyPassword", c.SSLKeyPassword.String()},
		} {
			if s.value != "" {
				p.unused(c, s.name, s.value, "nothing would be encrypted", "SSL or SASL_SSL")
			}
		}
		return
	}
	if c.SSLCertificateLocation != "" && c.SSLKeyLocation == "" {
		p.add("SslKeyLocation", "", "is not set, and SslCertificateLocation is: a client's certificate needs its key")
	}
	if c.SSLCertificateLocation == "" && c.SSLKeyLocation != "" {
		p.add("SslCertificateLocation", "", "is not set, and SslKeyLocation is: the key of a client needs its certificate")
	}
	if c.SSLKeyPassword != "" && c.SSLKeyLocation == "" {
		p.add("SslKeyPassword", "", "is set, and SslKeyLocation is not: name the key that it opens, or remove it")
	}
}

// unused refuses a security setting that the protocol ignores: whoever set it believes to be secured.
func (p *problems) unused(c Config, name, value, effect, protocol string) {
	if !slices.Contains(securityProtocols(), c.SecurityProtocol) {
		return // which is reported; what would follow from it is a guess
	}
	if value == redacted {
		value = ""
	}
	p.add(name, value, "is set, but with SecurityProtocol %s %s: set SecurityProtocol to %s, or remove %s",
		c.SecurityProtocol, effect, protocol, name)
}
