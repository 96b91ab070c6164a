package messaging

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// setting is one row of the table that Load goes by.
type setting struct {
	name     string // in JSON, and behind Kafka__
	variable string // what else it may be called in the environment
	secret   bool   // no error shows its value
	set      func(c *Config, text string) error
}

func settings() []setting {
	return []setting{
		{name: "BootstrapServers", variable: "KAFKA_BOOTSTRAP_SERVERS", set: setText(func(c *Config) *string { return &c.BootstrapServers })},
		{name: "ClientId", variable: "KAFKA_CLIENT_ID", set: setText(func(c *Config) *string { return &c.ClientID })},
		{name: "EnableIdempotence", variable: "KAFKA_ENABLE_IDEMPOTENCE", set: setBool(func(c *Config) *bool { return &c.EnableIdempotence })},
		{name: "Acks", variable: "KAFKA_ACKS", set: setAcks},
		{name: "MaxInFlight", variable: "KAFKA_MAX_IN_FLIGHT", set: setMaxInFlight},
		{name: "MessageTimeoutMs", variable: "KAFKA_MESSAGE_TIMEOUT_MS", set: setMillis(func(c *Config) *time.Duration { return &c.MessageTimeout })},
		{name: "RequestTimeoutMs", variable: "KAFKA_REQUEST_TIMEOUT_MS", set: setMillis(func(c *Config) *time.Duration { return &c.RequestTimeout })},
		{name: "RetryBackoffMs", variable: "KAFKA_RETRY_BACKOFF_MS", set: setMillis(func(c *Config) *time.Duration { return &c.RetryBackoff })},
		{name: "LingerMs", variable: "KAFKA_LINGER_MS", set: setMillis(func(c *Config) *time.Duration { return &c.Linger })},
		{name: "Topics", variable: "KAFKA_TOPICS", set: setTopics},
		{name: "SecurityProtocol", variable: "KAFKA_SECURITY_PROTOCOL", set: setChoice(func(c *Config) *string { return &c.SecurityProtocol }, securityProtocols())},
		{name: "SaslMechanism", variable: "KAFKA_SASL_MECHANISM", set: setChoice(func(c *Config) *string { return &c.SASLMechanism }, saslMechanisms())},
		{name: "SaslUsername", variable: "KAFKA_SASL_USERNAME", set: setText(func(c *Config) *string { return &c.SASLUsername })},
		{name: "SaslPassword", variable: "KAFKA_SASL_PASSWORD", secret: true, set: setText(func(c *Config) *Secret { return &c.SASLPassword })},
		{name: "SaslPasswordFile", variable: "KAFKA_SASL_PASSWORD_FILE", set: setText(func(c *Config) *string { return &c.SASLPasswordFile })},
		{name: "SslCaLocation", variable: "KAFKA_SSL_CA_LOCATION", set: setText(func(c *Config) *string { return &c.SSLCALocation })},
		{name: "SslCertificateLocation", variable: "KAFKA_SSL_CERTIFICATE_LOCATION", set: setText(func(c *Config) *string { return &c.SSLCertificateLocation })},
		{name: "SslKeyLocation", variable: "KAFKA_SSL_KEY_LOCATION", set: setText(func(c *Config) *string { return &c.SSLKeyLocation })},
		{name: "SslKeyPassword", variable: "KAFKA_SSL_KEY_PASSWORD", secret: true, set: setText(func(c *Config) *Secret { return &c.SSLKeyPassword })},
		{name: "Partitioner", variable: "KAFKA_PARTITIONER", set: setChoice(func(c *Config) *string { return &c.Partitioner }, partitioners())},
		{name: "CompressionType", variable: "KAFKA_COMPRESSION_TYPE", set: setChoice(func(c *Config) *string { return &c.Compression }, compressions())},
		{name: "Headers", variable: "KAFKA_HEADERS", set: setChoice(func(c *Config) *string { return &c.Headers }, headerSets())},
	}
}

func setText[T ~string](field func(*Config) *T) func(*Config, string) error {
	return func(c *Config, text string) error {
		*field(c) = T(text)
		return nil
	}
}

// setChoice takes a choice in any spelling of .NET's: SaslSsl, SASL_SSL, sasl_ssl. Validate refuses what is none.
func setChoice(field func(*Config) *string, choices []string) func(*Config, string) error {
	fold := func(s string) string {
		return strings.ToLower(strings.NewReplacer("-", "", "_", "").Replace(strings.TrimSpace(s)))
	}
	return func(c *Config, text string) error {
		*field(c) = text
		for _, choice := range choices {
			if fold(choice) == fold(text) {
				*field(c) = choice
			}
		}
		return nil
	}
}

func setBool(field func(*Config) *bool) func(*Config, string) error {
	return func(c *Config, text string) error {
		switch strings.ToLower(strings.TrimSpace(text)) {
		case "true":
			*field(c) = true
		case "false":
			*field(c) = false
		default:
			return errors.New("use true or false")
		}
		return nil
	}
}

func setMillis(field func(*Config) *time.Duration) func(*Config, string) error {
	return func(c *Config, text string) error {
		n, err := strconv.ParseInt(strings.TrimSpace(text), 10, 64)
		if err != nil || n > math.MaxInt64/int64(time.Millisecond) || n < math.MinInt64/int64(time.Millisecond) {
			return errors.New("must be a whole number of milliseconds, such as 30000")
		}
		*field(c) = time.Duration(n) * time.Millisecond
		return nil
	}
}

func setMaxInFlight(c *Config, text string) error {
	n, err := strconv.ParseInt(strings.TrimSpace(text), 10, 32)
	if err != nil {
		return errors.New("must be a whole number, such as 5")
	}
	c.MaxInFlight = int(n)
	return nil
}

func setAcks(c *Config, text string) error {
	switch strings.ToLower(strings.TrimSpace(text)) {
	case "-1", "all":
		c.Acks = AcksAll
	case "1", "leader":
		c.Acks = AcksLeader
	case "0", "none":
		c.Acks = AcksNone
	default:
		return errors.New("use -1 (All), 1 (Leader) or 0 (None)")
	}
	return nil
}

// setTopics reads what a variable holds.
func setTopics(c *Config, text string) error {
	seen := map[string]bool{}
	for pair := range strings.SplitSeq(text, ",") {
		if pair = strings.TrimSpace(pair); pair == "" {
			continue
		}
		name, custom, ok := strings.Cut(pair, "=")
		name = strings.TrimSpace(name)
		switch {
		case !ok || name == "":
			return fmt.Errorf("%q is not default-name=name: write them with commas between", shorten(pair))
		case seen[name]:
			return fmt.Errorf("%s is in it twice", shorten(name))
		}
		seen[name] = true
		setTopic(c, name, strings.TrimSpace(custom))
	}
	return nil
}

func setTopic(c *Config, name, custom string) {
	if custom == "" {
		delete(c.Topics, name)
		return
	}
	c.Topics[name] = custom
}
