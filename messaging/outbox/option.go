package outbox

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"

	"github.com/expensevault/sharedlibrary/events"
	"github.com/expensevault/sharedlibrary/internal/sqldb"
	"github.com/expensevault/sharedlibrary/messaging"
)

// Option is an option of outboxes, relays and [Migrate]; those that mean nothing to one of them change nothing there.
type Option func(*options)

type options struct {
	table    string
	encode   func(context.Context, events.IntegrationEvent) (messaging.Record, error)
	signal   *Signal
	silent   bool // no NOTIFY
	log      *slog.Logger
	lease    time.Duration
	pollMin  time.Duration
	pollMax  time.Duration
	keep     time.Duration
	rows     int
	memory   time.Duration
	repark   time.Duration
	listener Listener
	tracers  trace.TracerProvider
	meters   metric.MeterProvider
}

// The defaults.
const (
	defaultTable   = "outbox"
	defaultLease   = 10 * time.Second
	defaultPollMin = 10 * time.Millisecond
	defaultPollMax = 500 * time.Millisecond
	defaultRows    = 1000
	defaultMemory  = 12 * time.Hour
	defaultRepark  = 15 * time.Second
)

func newOptions(opts []Option) options {
	o := options{
		table: defaultTable, encode: messaging.Encode, lease: defaultLease,
		pollMin: defaultPollMin, pollMax: defaultPollMax, rows: defaultRows, memory: defaultMemory, repark: defaultRepark,
	}
	for _, opt := range opts {
		if opt != nil {
			opt(&o)
		}
	}
	if o.log == nil {
		o.log = slog.Default()
	}
	if o.signal == nil {
		o.signal = new(Signal)
	}
	return o
}

// suffixes are what is put behind the table's name.
func suffixes() []string { return []string{"_pending", "_shards", "_relays", "_schema"} }

func (o *options) check(d Dialect) error {
	var errs []error
	need := func(ok bool, format string, args ...any) {
		if !ok {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	errs = append(errs, d.Check(), sqldb.CheckName(o.table, suffixes()...))
	need(o.encode != nil, "WithEncode(nil): give a function, such as messaging.Encode")
	need(o.lease >= time.Second, "WithLease(%s): give one second or more", o.lease)
	need(o.pollMin > 0 && o.pollMax >= o.pollMin, "WithPoll(%s, %s): give more than zero, and not less than it", o.pollMin, o.pollMax)
	need(o.keep >= 0, "WithKeepSent(%s): give zero or more", o.keep)
	need(o.rows > 0 && o.rows <= mostRows, "WithBatchRows(%d): give 1 to %d", o.rows, mostRows)
	need(o.memory > 0, "WithProducerMemory(%s): give more than zero", o.memory)
	need(o.repark > 0, "WithRetryParked(%s): give more than zero", o.repark)
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("outbox: %w", err)
	}
	return nil
}

// WithTable names the table; the default is outbox. The others are named after
// it: outbox_shards, outbox_relays, outbox_schema. Only ^[a-z_][a-z0-9_]{0,62}$
// is accepted, 55 characters at most.
func WithTable(name string) Option { return func(o *options) { o.table = name } }

// WithEncode sets how an event becomes a record; the default is
// [messaging.Encode]. Give [messaging.Config.Encode] of the service's settings
// where these name other topics or other headers: the relay publishes what is
// in the row, as it is.
func WithEncode(encode func(context.Context, events.IntegrationEvent) (messaging.Record, error)) Option {
	return func(o *options) { o.encode = encode }
}

// WithSignal has the relays of this process that were given the same signal
// look at once when [Outbox.Do] has committed, or whenever [Signal.Notify] is
// called. Without it they find new rows by polling, or by [WithListener].
func WithSignal(s *Signal) Option { return func(o *options) { o.signal = s } }

// WithoutNotify has publishing on PostgreSQL leave out the NOTIFY on the channel
// with the table's name. A NOTIFY makes the commits of a database wait for each
// other; without it thousands of transactions per second go on at once, and
// relays find the rows by polling.
func WithoutNotify() Option { return func(o *options) { o.silent = true } }

// WithListener has a relay woken by the database; see [Listener].
func WithListener(l Listener) Option { return func(o *options) { o.listener = l } }

// WithLogger sets where a relay logs; the default is [slog.Default] when the
// relay is made. Keys and values are never logged.
func WithLogger(log *slog.Logger) Option { return func(o *options) { o.log = log } }

// WithTracerProvider sets who makes the span of each event that is published;
// the default is OpenTelemetry's global provider.
func WithTracerProvider(p trace.TracerProvider) Option { return func(o *options) { o.tracers = p } }

// WithMeterProvider sets where a relay's metrics go; the default is
// OpenTelemetry's global provider. Each time they are collected the outbox is counted; see [Outbox.Backlog].
func WithMeterProvider(p metric.MeterProvider) Option { return func(o *options) { o.meters = p } }

// WithLease sets for how long a shard belongs to a relay that gives no sign of
// life: so long the shards of a relay that died stand still. The default is 10
// seconds, the least one. It is renewed each quarter of that time.
func WithLease(d time.Duration) Option { return func(o *options) { o.lease = d } }

// WithPoll sets how long a relay waits before it looks again: least after it
// found something, doubling up to most while it finds nothing. The defaults are
// 10 and 500 milliseconds. One look is one query of some index entries.
func WithPoll(least, most time.Duration) Option {
	return func(o *options) { o.pollMin, o.pollMax = least, most }
}

// WithKeepSent keeps the rows that were published for that long, in state 1;
// relays delete them later, in the background. The default, 0, deletes them when
// they are acknowledged, which costs the least.
func WithKeepSent(d time.Duration) Option { return func(o *options) { o.keep = d } }

// mostRows is what one statement can name in every dialect.
const mostRows = 10_000

// WithBatchRows sets how many rows of a shard are taken at once; the default is
// 1,000. A batch has 1,000,000 bytes at most, whatever this says.
func WithBatchRows(n int) Option { return func(o *options) { o.rows = n } }

// WithProducerMemory says for how long brokers surely remember a producer that
// does nothing; the default, 12 hours, is half of their default for
// producer.id.expiration.ms. An unfinished batch that is older is looked for in
// the topic before it is sent again.
func WithProducerMemory(d time.Duration) Option { return func(o *options) { o.memory = d } }

// WithRetryParked sets after how long a row that was parked since its topic is
// missing, or the right to write to it, is tried again; the default is 15
// seconds. Rows that no time will heal, such as too large ones, wait for [Outbox.Retry].
func WithRetryParked(d time.Duration) Option { return func(o *options) { o.repark = d } }
