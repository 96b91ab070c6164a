package board

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"time"
	"unicode/utf8"

	"go.opentelemetry.io/otel/metric/noop"
	tracenoop "go.opentelemetry.io/otel/trace/noop"

	"github.com/expensevault/sharedlibrary/messaging"
)

// Seen is a record as the page shows it.
type Seen struct {
	Topic       string      `json:"topic"`
	Partition   int32       `json:"partition"`
	Offset      int64       `json:"offset"`
	Key         string      `json:"key"`
	Headers     [][2]string `json:"headers"`
	Value       string      `json:"value"`
	Time        time.Time   `json:"time"`
	EventID     string      `json:"eventId"`
	Correlation string      `json:"correlationId"`
	TraceID     string      `json:"traceId"`
}

// Handled is what a consumer of this process made of a record.
type Handled struct {
	Consumer  string `json:"consumer"`
	Topic     string `json:"topic"`
	Partition int32  `json:"partition"`
	Offset    int64  `json:"offset"`
	Attempt   int    `json:"attempt"`
	OK        bool   `json:"ok"`
	Error     string `json:"error,omitempty"`
	Micros    int64  `json:"micros"`
}

// seenOf takes a record apart; what is not text is shown as such.
func seenOf(topic string, key, value []byte, headers []messaging.Header) Seen {
	s := Seen{Topic: topic, Key: text(key), Value: text(value), Headers: make([][2]string, 0, len(headers))}
	for _, h := range headers {
		v := text(h.Value)
		s.Headers = append(s.Headers, [2]string{h.Key, v})
		switch h.Key {
		case "ce_id":
			s.EventID = v
		case "ce_correlationid":
			s.Correlation = v
		case "traceparent":
			if parts := strings.Split(v, "-"); len(parts) == 4 {
				s.TraceID = parts[1]
			}
		}
	}
	return s
}

// mostText is what the page gets of a value.
const mostText = 16 << 10

func text(b []byte) string {
	if len(b) > mostText {
		b = b[:mostText]
	}
	if !utf8.Valid(b) {
		return strings.ToValidUTF8(string(b), "\uFFFD")
	}
	return string(b)
}

// Watch tells of the records of all topics, from then on, until ctx ends. It is
// a consumer like others, in a group of its own, and no handler of it does anything.
func (b *Board) Watch(ctx context.Context, group string, topics []string) {
	var mux messaging.Mux
	for _, topic := range topics {
		messaging.HandleRecord(&mux, topic, func(ctx context.Context, r messaging.Record) error {
			d, _ := messaging.DeliveryFrom(ctx)
			s := seenOf(d.Topic, r.Key, r.Value, r.Headers)
			s.Partition, s.Offset, s.Time = d.Partition, d.Offset, d.Time
			b.tell("event", s)
			return nil
		})
	}
	for _, topic := range b.letters {
		messaging.HandleRecord(&mux, topic, func(context.Context, messaging.Record) error {
			b.soon()
			return nil
		})
	}
	// Whoever only looks is no part of what is looked at.
	s, err := messaging.NewSubscriber(b.config, group, &mux, messaging.WithStartLatest(), messaging.WithLogger(slog.New(slog.DiscardHandler)),
		messaging.WithTracerProvider(tracenoop.NewTracerProvider()), messaging.WithMeterProvider(noop.NewMeterProvider()))
	if err != nil {
		b.log.ErrorContext(ctx, "The page sees no events", slog.Any("error", err))
		return
	}
	for ctx.Err() == nil {
		if err := s.Run(ctx); err != nil {
			b.log.WarnContext(ctx, "The page sees no events for the moment", slog.Any("error", err))
			pause(ctx, 5*time.Second)
		}
	}
}

func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

var errSwitched = errors.New("switched to fail on the page")

// Middleware tells what a consumer makes of each record, and has it fail while [Board.Fail] says so.
func (b *Board) Middleware(consumer string) messaging.Middleware {
	return func(next messaging.HandlerFunc) messaging.HandlerFunc {
		return func(ctx context.Context, r messaging.Record) error {
			d, _ := messaging.DeliveryFrom(ctx)
			h := Handled{Consumer: consumer, Topic: d.Topic, Partition: d.Partition, Offset: d.Offset, Attempt: d.Attempt}
			begin := time.Now()
			var err error
			if b.Failing(consumer) {
				err = errSwitched
			} else {
				err = next(ctx, r)
			}
			h.Micros, h.OK = time.Since(begin).Microseconds(), err == nil
			if err != nil {
				h.Error = err.Error()
			}
			b.tell("handled", h)
			return err
		}
	}
}

// State tells what look finds, each second, while anybody is there, until ctx ends.
func (b *Board) State(ctx context.Context, look func(ctx context.Context) any) {
	for ctx.Err() == nil {
		if b.watched() {
			b.tell("state", look(ctx))
		}
		pause(ctx, stateEvery)
	}
}
