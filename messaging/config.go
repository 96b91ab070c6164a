package messaging

import "time"

// Acks is how many replicas must have an event before it counts as acknowledged.
type Acks int8

// Kafka's numbers.
const (
	AcksAll    Acks = -1 // all in-sync replicas: the default
	AcksLeader Acks = 1  // the leader alone; lost when it fails before others have it
	AcksNone   Acks = 0  // nobody; errors go unnoticed
)

// Config is what an operator sets, under the names of the settings in the
// "Kafka" section of appsettings.json; see [Load]. Where the name of the
// setting differs from the field's, the field's comment begins with it.
//
// Begin with [DefaultConfig] or Load: a Config that lacks settings is refused by
// [Config.Validate], never filled in silently. Publishers and subscribers take
// a copy; Topics must not be changed afterwards.
type Config struct {
	// BootstrapServers are the brokers to ask first, as host:port with commas
	// between; an IPv6 address is written [address]:port. Default: localhost:9092.
	BootstrapServers string
	// ClientId: how brokers name this client in logs and quotas. Default: customservice-producer.
	ClientID string
	// EnableIdempotence keeps a retry from doubling or reordering events for as
	// long as the publisher lives. It needs Acks all and MaxInFlight 5 at most. Default: true.
	EnableIdempotence bool
	// Acks is AcksAll, AcksLeader or AcksNone. Default: AcksAll (-1).
	Acks Acks
	// MaxInFlight is how many requests to one broker may be unanswered. Default: 5.
	MaxInFlight int
	// MessageTimeoutMs: how long an event may take from the call to the answer,
	// waiting and retries included, as librdkafka's message.timeout.ms has it. Default: 30 s.
	MessageTimeout time.Duration
	// RequestTimeoutMs: how long one try may take; at most a third of what is
	// left of MessageTimeout is used, so that it may be equal or longer. Default: 30 s.
	RequestTimeout time.Duration
	// RetryBackoffMs: the longest pause between two tries; the first pauses are shorter. Default: 1 s.
	RetryBackoff time.Duration
	// LingerMs: how long events may wait for company before they are sent. With 0
	// an idle publisher sends at once, and a busy one gathers what comes while requests are
	// unanswered: more brings fewer and larger requests to a busy cluster, and delays every event. Default: 0.
	Linger time.Duration
	// Topics maps the default name of a topic to the one on the broker. No two
	// may share one. Default: none; nil is the same.
	Topics map[string]string

	// SecurityProtocol is PLAINTEXT, SSL, SASL_PLAINTEXT or SASL_SSL. SSL means
	// TLS 1.2 or later, with the broker's host name verified. Default: PLAINTEXT.
	SecurityProtocol string
	// SaslMechanism: PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512. It and the other
	// Sasl settings are refused where SecurityProtocol does not use them.
	SASLMechanism string
	// SaslUsername
	SASLUsername string
	// SaslPassword
	SASLPassword Secret
	// SaslPasswordFile: the file that holds the password, in place of
	// SaslPassword. It is read again for each new connection, so that a password
	// may be changed while the service runs. One line break at its end is dropped.
	SASLPasswordFile string
	// SslCaLocation: PEM file of the authorities that sign for brokers; no
	// others are then trusted. Read once. Default: empty, the system's authorities.
	SSLCALocation string
	// SslCertificateLocation: PEM file of the client's certificate, with the
	// chain behind it. Read again for each new connection, as its key is.
	SSLCertificateLocation string
	// SslKeyLocation: PEM file of that certificate's key.
	SSLKeyLocation string
	// SslKeyPassword: opens that key where it is encrypted.
	SSLKeyPassword Secret

	// Partitioner says which partition a key belongs to: crc32, as librdkafka and
	// the .NET client have it, or murmur2, as the Java client. All who publish to
	// a topic must agree, or the order within a key is lost. Default: crc32.
	Partitioner string
	// CompressionType: none, gzip, snappy, lz4 or zstd. Default: none.
	Compression string
	// Headers is which headers a record gets: cloudevents, basic or none. Default: cloudevents.
	Headers string
}

// The values of Config.Partitioner.
const (
	PartitionerCRC32   = "crc32"   // as librdkafka, and so the .NET client, has it: the default
	PartitionerMurmur2 = "murmur2" // as the Java client has it
)

// DefaultConfig returns the defaults. They are valid as they are.
func DefaultConfig() Config {
	return Config{
		BootstrapServers:  "localhost:9092",
		ClientID:          "customservice-producer",
		EnableIdempotence: true,
		Acks:              AcksAll,
		MaxInFlight:       5,
		MessageTimeout:    30 * time.Second,
		RequestTimeout:    30 * time.Second,
		RetryBackoff:      time.Second,
		Topics:            map[string]string{},
		SecurityProtocol:  "PLAINTEXT",
		Partitioner:       PartitionerCRC32,
		Compression:       "none",
		Headers:           HeadersCloudEvents,
	}
}

// TopicName is the name on the broker of a topic with this default name: its
// entry in c.Topics, or else the default name itself.
func (c Config) TopicName(defaultName string) string {
	if custom := c.Topics[defaultName]; custom != "" {
		return custom
	}
	return defaultName
}
