package messaging

import (
	"errors"
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/google/uuid"
)

// failure is what an attempt ended with: all that is to be known of the error,
// which is not asked again.
type failure struct {
	attempt   int
	eventID   uuid.UUID
	permanent bool
	after     *retryAfterError // nil: no pause was asked for
	unhandled *UnhandledError  // nil: it was handled
	stack     []byte           // of a panic
	kind      string           // for error.type
	text      string
	loggable  string // text, as far as it is for the log
}

// newFailure asks a handler's error. Its methods are the handler's code too:
// those of a nil pointer, for one, panic. Such an error counts as a panic of the
// handler, which it nearly was.
func newFailure(err error, attempt int, id uuid.UUID) (f failure) {
	f.attempt, f.eventID = attempt, id
	defer func() {
		if v := recover(); v != nil {
			p := &PanicError{Value: brokenError(err, v), Stack: debug.Stack()}
			f.stack, f.kind, f.text = p.Stack, p.ErrorType(), p.Error()
			f.loggable = f.text
		}
	}()
	f.permanent = IsPermanent(err)
	errors.As(err, &f.after)
	errors.As(err, &f.unhandled)
	if v := asPanic(err); v != nil {
		f.stack = v.Stack
	}
	f.kind = failureType(err)
	f.text = err.Error()
	f.loggable = loggable(err, f.text)
	return f
}

// brokenError says what is wrong with an error whose methods panicked with v,
// without calling a method of either again.
func brokenError(err error, v any) string {
	what := fmt.Sprintf("a %T", v)
	switch v := v.(type) {
	case string:
		what = v
	case runtime.Error:
		what = v.Error()
	}
	return fmt.Sprintf("the handler's error, a %T, cannot be read: %s", err, what)
}

// failureType names what a handler failed with: the error's own ErrorType, or
// the Go type of the first error in the chain that says more than "wrapped".
func failureType(err error) string {
	for {
		name := errorType(err)
		var inner error
		switch err.(type) { //nolint:errorlint // the outermost is asked for
		case *permanentError, *retryAfterError, *failedAtError:
			inner = errors.Unwrap(err)
		default:
			if name == "*fmt.wrapError" {
				inner = errors.Unwrap(err)
			}
		}
		if inner == nil {
			return name
		}
		err = inner
	}
}

// loggable is the error's text for the log. A decoder's may quote the body, so
// it goes to the dead letter only, which has the body anyway.
func loggable(err error, text string) string {
	var decode *DecodeError
	if !errors.As(err, &decode) {
		return text
	}
	return fmt.Sprintf("the record is not a %s (%s); the dead letter's %s says why", decode.Type, failureType(decode.Err), headerErrorMessage)
}
