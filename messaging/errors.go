package messaging

import (
	"errors"
	"fmt"

	"github.com/google/uuid"
)

// What errors.Is finds in the errors of this package.
var (
	// ErrClosed: the publisher was closed before, or while, it was asked.
	ErrClosed = errors.New("messaging: closed")
	// ErrTooLarge: the event is over 1,000,000 bytes with key and headers, or over what the broker accepts.
	ErrTooLarge = errors.New("messaging: the event is too large")
	// ErrUnknownTopic: the topic does not exist; it is never created on the way. See [EnsureTopics].
	ErrUnknownTopic = errors.New("messaging: the topic does not exist")
	// ErrNotAuthorized: the broker knows who we are and refuses; its operator must grant the right.
	ErrNotAuthorized = errors.New("messaging: not authorized")
	// ErrAuthentication: credentials, certificates or host names were not accepted, by either side.
	ErrAuthentication = errors.New("messaging: authentication failed")
	// ErrBufferFull: no room in the publisher's buffer came free in time. Nothing was sent.
	ErrBufferFull = errors.New("messaging: the publisher's buffer is full")
	// ErrTimeout: Config.MessageTimeout passed before the event was settled.
	ErrTimeout = errors.New("messaging: not acknowledged in time")
	// ErrFenced: a newer epoch of the [Identity] has written to the partition.
	ErrFenced = errors.New("messaging: fenced, another process has taken the identity over")
	// ErrSequence: a sequence number does not follow what the broker knows of the [Identity].
	ErrSequence = errors.New("messaging: out of sequence")
	// ErrInvalidEvent: the event can't be encoded as it is.
	ErrInvalidEvent = errors.New("messaging: invalid event")
)

// PublishError is why one event, or record, was not acknowledged.
type PublishError struct {
	Topic   string    // as on the broker
	EventID uuid.UUID // uuid.Nil for a record that names none
	Err     error     // the cause; unwraps to one of the errors above where one fits
	// MaybeWritten is set when the event may stand in the topic all the same:
	// it was sent, and the broker's answer was lost or left it open.
	MaybeWritten bool
}

func (e *PublishError) Error() string {
	fate := "not written"
	if e.MaybeWritten {
		fate = "possibly written"
	}
	what := "a record"
	if e.EventID != uuid.Nil {
		what = "event " + e.EventID.String()
	}
	return fmt.Sprintf("publish %s to %s (%s): %v", what, e.Topic, fate, e.Err)
}

// Unwrap returns the cause.
func (e *PublishError) Unwrap() error { return e.Err }

// ErrorType is the cause's name for the OpenTelemetry attribute error.type:
// Kafka's own, such as TOPIC_AUTHORIZATION_FAILED, where the broker gave one.
func (e *PublishError) ErrorType() string { return errorType(e.Err) }

// SafeToRetry reports whether err, as a Publisher returned it, says that
// certainly nothing was written: publishing the same events again cannot
// double any of them. It is false for nil, for an error of several events some
// of which were acknowledged, and for an error that is not a Publisher's.
func SafeToRetry(err error) bool {
	if many, ok := errors.AsType[publishErrors](err); ok {
		return many.acknowledged == 0 && !many.maybeWritten()
	}
	var one *PublishError
	return errors.As(err, &one) && !one.MaybeWritten
}

// publishErrors is the error of a call with several events.
type publishErrors struct {
	errs         []*PublishError
	acknowledged int
}

func (p publishErrors) Error() string {
	s := fmt.Sprintf("%d of %d events were not acknowledged: %v", len(p.errs), len(p.errs)+p.acknowledged, p.errs[0])
	if len(p.errs) > 1 {
		s += fmt.Sprintf(" (and %d more)", len(p.errs)-1)
	}
	return s
}

func (p publishErrors) Unwrap() []error {
	out := make([]error, len(p.errs))
	for i, e := range p.errs {
		out[i] = e
	}
	return out
}

func (p publishErrors) maybeWritten() bool {
	for _, e := range p.errs {
		if e.MaybeWritten {
			return true
		}
	}
	return false
}

// errorType names an error for error.type.
func errorType(err error) string {
	// The cause of these stands behind them in the chain, and is not what happened.
	for kind, name := range map[error]string{ErrTimeout: "timeout", ErrBufferFull: "buffer_full"} {
		if errors.Is(err, kind) {
			return name
		}
	}
	var typed interface{ ErrorType() string }
	if errors.As(err, &typed) {
		return typed.ErrorType()
	}
	for _, known := range []struct {
		err  error
		name string
	}{
		{ErrClosed, "closed"},
		{ErrTooLarge, "too_large"},
		{ErrUnknownTopic, "unknown_topic"},
		{ErrNotAuthorized, "not_authorized"},
		{ErrAuthentication, "authentication"},
		{ErrInvalidEvent, "invalid_event"},
	} {
		if errors.Is(err, known.err) {
			return known.name
		}
	}
	return fmt.Sprintf("%T", err)
}
