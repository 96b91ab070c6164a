package messaging

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestDefaultConfigIsValid(t *testing.T) {
	t.Parallel()
	require.NoError(t, DefaultConfig().Validate())
}

func TestValidateAccepts(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*Config){
		"the guide's equal timeouts":   func(c *Config) { c.MessageTimeout, c.RequestTimeout = 30*time.Second, 30*time.Second },
		"IPv6":                         func(c *Config) { c.BootstrapServers = "[::1]:9092,[fe80::1%eth0]:9093" },
		"spaces and a trailing comma":  func(c *Config) { c.BootstrapServers = " a:1 , b_c.d:65535," },
		"no idempotence, acks leader":  func(c *Config) { c.EnableIdempotence, c.Acks, c.MaxInFlight = false, AcksLeader, 100 },
		"no idempotence, acks none":    func(c *Config) { c.EnableIdempotence, c.Acks = false, AcksNone },
		"nil Topics":                   func(c *Config) { c.Topics = nil },
		"any legal name on the broker": func(c *Config) { c.Topics = map[string]string{"a.b.c": "Prod_items-1", "a.b.d": "a.b.c"} },
		"two names exchanged":          func(c *Config) { c.Topics = map[string]string{"a.b.c": "a.b.d", "a.b.d": "a.b.c"} },
		"the longest name":             func(c *Config) { c.Topics = map[string]string{"a.b.c": strings.Repeat("x", 240)} },
		"the shortest timeouts": func(c *Config) {
			c.MessageTimeout, c.RequestTimeout, c.RetryBackoff = time.Millisecond, time.Millisecond, time.Millisecond
		},
		"the longest timeouts": func(c *Config) {
			c.MessageTimeout, c.RequestTimeout, c.RetryBackoff = 2147483647*time.Millisecond, 15*time.Minute, 5*time.Minute
		},
		"TLS alone":       func(c *Config) { c.SecurityProtocol = "SSL" },
		"TLS and a pair":  func(c *Config) { *c = secretConfig() },
		"a password file": func(c *Config) { *c = secretConfig(); c.SASLPassword, c.SASLPasswordFile = "", "/run/secrets/kafka" },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := DefaultConfig()
			change(&c)
			assert.NoError(t, c.Validate())
		})
	}
}

func TestValidateRefuses(t *testing.T) {
	t.Parallel()
	sasl := func(f func(*Config)) func(*Config) {
		return func(c *Config) { *c = secretConfig(); f(c) }
	}
	for _, tc := range []struct {
		name   string
		change func(*Config)
		want   []string // in the one problem that is reported
	}{
		{"no server", func(c *Config) { c.BootstrapServers = " , " }, []string{"BootstrapServers", "host:port", "DefaultConfig"}},
		{"no port", func(c *Config) { c.BootstrapServers = "good:1,kafka" }, []string{`BootstrapServers = "good:1,kafka"`, `"kafka" is not host:port`}},
		{"no host", func(c *Config) { c.BootstrapServers = ":9092" }, []string{"host of"}},
		{"space in a host", func(c *Config) { c.BootstrapServers = "a b:9092" }, []string{"host of"}},
		{"semicolon", func(c *Config) { c.BootstrapServers = "a:1;b:2" }, []string{"BootstrapServers"}},
		{"port 0", func(c *Config) { c.BootstrapServers = "a:0" }, []string{"between 1 and 65535"}},
		{"port 65536", func(c *Config) { c.BootstrapServers = "a:65536" }, []string{"between 1 and 65535"}},
		{"port by name", func(c *Config) { c.BootstrapServers = "a:kafka" }, []string{"between 1 and 65535"}},
		{"naked IPv6", func(c *Config) { c.BootstrapServers = "::1:9092" }, []string{"[address]:port"}},
		{"a scheme", func(c *Config) { c.BootstrapServers = "SSL://a:9092" }, []string{"scheme", "SecurityProtocol"}},

		{"no client ID", func(c *Config) { c.ClientID = "" }, []string{"ClientId", "DefaultConfig or Load"}},
		{"long client ID", func(c *Config) { c.ClientID = strings.Repeat("x", 256) }, []string{"ClientId", "256 bytes", "255"}},
		{"line break in client ID", func(c *Config) { c.ClientID = "a\nb" }, []string{`ClientId = "a\nb"`, "ASCII"}},
		{"umlaut in client ID", func(c *Config) { c.ClientID = "münze" }, []string{"ClientId", "ASCII"}},

		{"acks 2", func(c *Config) { c.Acks = 2 }, []string{`Acks = "2"`, "-1 (all)"}},
		{"idempotence with acks 1", func(c *Config) { c.Acks = 1 }, []string{`Acks = "1"`, "EnableIdempotence", "set Acks to -1"}},
		{"idempotence with acks 0", func(c *Config) { c.Acks = 0 }, []string{`Acks = "0"`, "EnableIdempotence"}},
		{"idempotence with 6 in flight", func(c *Config) { c.MaxInFlight = 6 }, []string{`MaxInFlight = "6"`, "EnableIdempotence", "5 at most"}},
		{"none in flight", func(c *Config) { c.MaxInFlight = 0 }, []string{"MaxInFlight", "DefaultConfig or Load"}},
		{"fewer than none in flight", func(c *Config) { c.MaxInFlight = -1 }, []string{`MaxInFlight = "-1"`, "between 1 and"}},
		{"too many in flight", func(c *Config) { c.EnableIdempotence, c.MaxInFlight = false, 1_000_001 }, []string{"MaxInFlight", "between 1 and 1000000"}},

		{"no message timeout", func(c *Config) { c.MessageTimeout = 0 }, []string{`MessageTimeoutMs = "0"`, "DefaultConfig or Load"}},
		{"negative message timeout", func(c *Config) { c.MessageTimeout = -time.Second }, []string{`MessageTimeoutMs = "-1000"`, "between 1 and 2147483647"}},
		{"message timeout in microseconds", func(c *Config) { c.MessageTimeout = 30 * time.Microsecond }, []string{`MessageTimeoutMs = "30µs"`}},
		{"message timeout over int32", func(c *Config) { c.MessageTimeout = 2147483648 * time.Millisecond }, []string{`MessageTimeoutMs = "2147483648"`}},
		{"no request timeout", func(c *Config) { c.RequestTimeout = 0 }, []string{"RequestTimeoutMs", "DefaultConfig or Load"}},
		{"long request timeout", func(c *Config) { c.RequestTimeout = time.Hour }, []string{`RequestTimeoutMs = "3600000"`, "900000"}},
		{"no backoff", func(c *Config) { c.RetryBackoff = 0 }, []string{"RetryBackoffMs", "DefaultConfig or Load"}},
		{"negative linger", func(c *Config) { c.Linger = -time.Millisecond }, []string{"LingerMs", "900000"}},
		{"long linger", func(c *Config) { c.Linger = time.Hour }, []string{"LingerMs", "900000"}},
		{"long backoff", func(c *Config) { c.RetryBackoff = time.Hour }, []string{"RetryBackoffMs", "300000"}},

		{"an event name as topic", func(c *Config) { c.Topics = map[string]string{"ItemCreated": "items"} }, []string{"Topics:ItemCreated", "three parts"}},
		{"an empty custom topic", func(c *Config) { c.Topics = map[string]string{"a.b.c": ""} }, []string{"Topics:a.b.c", "empty"}},
		{"an illegal custom topic", func(c *Config) { c.Topics = map[string]string{"a.b.c": "x y"} }, []string{`Topics:a.b.c = "x y"`, `' '`}},
		{"a dot as topic", func(c *Config) { c.Topics = map[string]string{"a.b.c": ".."} }, []string{"Topics:a.b.c"}},
		{"a custom topic without room", func(c *Config) { c.Topics = map[string]string{"a.b.c": strings.Repeat("x", 241)} }, []string{"Topics:a.b.c", "241 bytes", "240"}},
		{"two topics in one", func(c *Config) { c.Topics = map[string]string{"a.b.c": "x", "a.b.d": "x"} }, []string{`Topics:a.b.d = "x"`, "a.b.c"}},
		{"two topics that metrics confuse", func(c *Config) { c.Topics = map[string]string{"a.b.c": "x.y", "a.b.d": "x_y"} }, []string{"Topics:a.b.d", `"x.y"`, "metrics"}},

		{"no security protocol", func(c *Config) { c.SecurityProtocol = "" }, []string{"SecurityProtocol", "SASL_SSL", "DefaultConfig or Load"}},
		{"another security protocol", func(c *Config) { *c = secretConfig(); c.SecurityProtocol = "TLS" }, []string{`SecurityProtocol = "TLS"`, "SASL_SSL"}},
		{"password without SASL", func(c *Config) { c.SASLPassword = "x" }, []string{"SaslPassword:", "PLAINTEXT", "nobody would be authenticated", "SASL_SSL"}},
		{"password file without SASL", func(c *Config) { c.SecurityProtocol = "SSL"; c.SASLPasswordFile = "/x" }, []string{"SaslPasswordFile", "nobody would be authenticated"}},
		{"mechanism without SASL", func(c *Config) { c.SASLMechanism = "PLAIN" }, []string{"SaslMechanism", "SASL_SSL"}},
		{"authority without TLS", func(c *Config) { c.SSLCALocation = "/ca" }, []string{"SslCaLocation", "nothing would be encrypted", "SSL or SASL_SSL"}},
		{
			"authority with SASL_PLAINTEXT",
			sasl(func(c *Config) {
				c.SecurityProtocol, c.SSLCALocation = "SASL_PLAINTEXT", "/ca"
				c.SSLCertificateLocation, c.SSLKeyLocation, c.SSLKeyPassword = "", "", ""
			}),
			[]string{"SslCaLocation", "nothing would be encrypted"},
		},
		{"no mechanism", sasl(func(c *Config) { c.SASLMechanism = "" }), []string{"SaslMechanism", "SCRAM-SHA-512"}},
		{"another mechanism", sasl(func(c *Config) { c.SASLMechanism = "GSSAPI" }), []string{`SaslMechanism = "GSSAPI"`, "SCRAM-SHA-512"}},
		{"no user name", sasl(func(c *Config) { c.SASLUsername = "" }), []string{"SaslUsername", "SASL_SSL"}},
		{"zero byte in user name", sasl(func(c *Config) { c.SASLUsername = "a\x00b" }), []string{"SaslUsername", "zero byte"}},
		{"no password", sasl(func(c *Config) { c.SASLPassword = "" }), []string{"SaslPassword", "SaslPasswordFile"}},
		{"two passwords", sasl(func(c *Config) { c.SASLPasswordFile = "/x" }), []string{"SaslPassword", "remove one"}},
		{"certificate without key", sasl(func(c *Config) { c.SSLKeyLocation, c.SSLKeyPassword = "", "" }), []string{"SslKeyLocation", "SslCertificateLocation"}},
		{"key without certificate", sasl(func(c *Config) { c.SSLCertificateLocation = "" }), []string{"SslCertificateLocation", "SslKeyLocation"}},
		{
			"key password without key",
			sasl(func(c *Config) { c.SSLKeyLocation, c.SSLCertificateLocation = "", "" }),
			[]string{"SslKeyPassword", "SslKeyLocation"},
		},

		{"no partitioner", func(c *Config) { c.Partitioner = "" }, []string{"Partitioner", "crc32, murmur2", "DefaultConfig or Load"}},
		{"another partitioner", func(c *Config) { c.Partitioner = "random" }, []string{`Partitioner = "random"`, "crc32, murmur2"}},
		{"another compression", func(c *Config) { c.Compression = "brotli" }, []string{`CompressionType = "brotli"`, "zstd"}},
		{"other headers", func(c *Config) { c.Headers = "all" }, []string{`Headers = "all"`, "cloudevents"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			c := DefaultConfig()
			tc.change(&c)
			problems := c.problems()
			require.Len(t, problems, 1, "%v", c.Validate())
			for _, want := range tc.want {
				assert.Contains(t, problems[0].Error(), want)
			}
			var typed *SettingError
			require.ErrorAs(t, c.Validate(), &typed)
			assert.NotContains(t, typed.Error(), "\n")
		})
	}
}

func TestValidateReportsEverything(t *testing.T) {
	t.Parallel()
	err := Config{}.Validate()
	require.Error(t, err)
	for _, name := range []string{
		"BootstrapServers", "ClientId", "MaxInFlight", "MessageTimeoutMs", "RequestTimeoutMs", "RetryBackoffMs",
		"SecurityProtocol", "Partitioner", "CompressionType", "Headers",
	} {
		assert.Contains(t, err.Error(), "setting "+name)
	}
	assert.Contains(t, err.Error(), "start from DefaultConfig or Load")
}

// Leaving any one setting out of a literal is refused, wherever its zero value is not a choice of its own.
func TestValidateRefusesPartialLiterals(t *testing.T) {
	t.Parallel()
	for i, omit := range []func(*Config){
		func(c *Config) { c.BootstrapServers = "" },
		func(c *Config) { c.ClientID = "" },
		func(c *Config) { c.Acks = 0 },
		func(c *Config) { c.MaxInFlight = 0 },
		func(c *Config) { c.MessageTimeout = 0 },
		func(c *Config) { c.RequestTimeout = 0 },
		func(c *Config) { c.RetryBackoff = 0 },
		func(c *Config) { c.SecurityProtocol = "" },
		func(c *Config) { c.Partitioner = "" },
		func(c *Config) { c.Compression = "" },
		func(c *Config) { c.Headers = "" },
	} {
		c := DefaultConfig()
		omit(&c)
		assert.Error(t, c.Validate(), "%d", i)
	}
}

func TestSettingErrorKeepsLogsReadable(t *testing.T) {
	t.Parallel()
	e := &SettingError{Setting: "ClientId", Value: "a\nERROR forged" + strings.Repeat("x", 1e6), Source: "appsettings.json:3", Problem: "p"}
	assert.Less(t, len(e.Error()), 300)
	assert.NotContains(t, e.Error(), "\n")
	assert.Contains(t, e.Error(), "(appsettings.json:3)")
}
