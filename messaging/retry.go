package messaging

import (
	"errors"
	"fmt"
	"time"

	"github.com/expensevault/sharedlibrary/internal/backoff"
)

// Permanent marks err as one that no further attempt will change: the record
// goes to the dead-letter topic at once. The error reads and unwraps as err.
// Permanent(nil) is nil.
func Permanent(err error) error {
	if err == nil {
		return nil
	}
	return &permanentError{err}
}

// IsPermanent reports whether a handler that returns err is not tried again:
// err is, or wraps, an error of [Permanent], a [DecodeError] or an [UnhandledError].
func IsPermanent(err error) bool {
	var marked *permanentError
	var decode *DecodeError
	var unhandled *UnhandledError
	return errors.As(err, &marked) || errors.As(err, &decode) || errors.As(err, &unhandled)
}

type permanentError struct{ err error }

func (e *permanentError) Error() string { return e.err.Error() }
func (e *permanentError) Unwrap() error { return e.err }

// RetryAfter asks for a pause of d before the next attempt in place of the
// handler's own, for example when a service that it calls has named one. The
// attempt counts as any other, and the record's key waits for as long; a d of zero
// or less is no pause. The error reads and unwraps as err. RetryAfter(d, nil) is
// nil; with a [Permanent] error inside it has no effect.
func RetryAfter(d time.Duration, err error) error {
	if err == nil {
		return nil
	}
	return &retryAfterError{err, d}
}

type retryAfterError struct {
	err   error
	pause time.Duration
}

func (e *retryAfterError) Error() string { return e.err.Error() }
func (e *retryAfterError) Unwrap() error { return e.err }

// retryPolicy says how often a record is tried and how long between.
type retryPolicy struct {
	attempts int
	pauses   backoff.Policy
}

func defaultRetry() retryPolicy {
	return retryPolicy{attempts: 5, pauses: backoff.Policy{Min: 250 * time.Millisecond, Max: 10 * time.Second}}
}

func (p retryPolicy) validate() error {
	switch {
	case p.attempts < 1:
		return fmt.Errorf("messaging: WithRetry: %d attempts: give 1 for no retry, or more", p.attempts)
	case p.pauses.Min < 0 || p.pauses.Max < p.pauses.Min:
		return fmt.Errorf("messaging: WithRetry: pauses from %s to %s: give 0 <= shortest <= longest", p.pauses.Min, p.pauses.Max)
	}
	return nil
}
