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
// "Kafka" section of appsettings.json; see [Load]. Begin with [DefaultConfig]:
// a Config that lacks settings is refused by [Config.Validate], never filled
// in silently.
type Config struct {
	BootstrapServers  string            // comma-separated host:port
	ClientID          string            // ClientId
	EnableIdempotence bool              // a retry never doubles an event while the publisher lives
	Acks              Acks              //
	MaxInFlight       int               // unanswered requests per broker; 5 at most with idempotence
	MessageTimeout    time.Duration     // MessageTimeoutMs: from the call to the answer, retries included
	RequestTimeout    time.Duration     // RequestTimeoutMs: one try; a third of MessageTimeout at most is used
	RetryBackoff      time.Duration     // RetryBackoffMs: the longest pause between two tries
	Topics            map[string]string // default topic name to the one to use instead

	SecurityProtocol       string // PLAINTEXT, SSL, SASL_PLAINTEXT or SASL_SSL
	SASLMechanism          string // SaslMechanism: PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512
	SASLUsername           string // SaslUsername
	SASLPassword           Secret // SaslPassword
	SASLPasswordFile       string // SaslPasswordFile: read at each authentication, instead of SaslPassword
	SSLCALocation          string // SslCaLocation: PEM file of the authorities; the system's when empty
	SSLCertificateLocation string // SslCertificateLocation: PEM file of the client's certificate
	SSLKeyLocation         string // SslKeyLocation: PEM file of its key
	SSLKeyPassword         Secret // SslKeyPassword

	Partitioner string // crc32, as librdkafka and the .NET client, or murmur2, as the Java client
	Compression string // CompressionType: none, gzip, snappy, lz4 or zstd
	Headers     string // cloudevents, basic or none
}

// The values of Config.Partitioner.
const (
	PartitionerCRC32   = "crc32"   // as librdkafka, and so the .NET client, has it: the default
	PartitionerMurmur2 = "murmur2" // as the Java client has it
)

// DefaultConfig returns the defaults.
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

// TopicName is the name on the broker of a topic with this default name.
func (c Config) TopicName(defaultName string) string {
	if custom := c.Topics[defaultName]; custom != "" {
		return custom
	}
	return defaultName
}
