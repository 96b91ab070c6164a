package messaging

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
)

// HandlerFunc handles one record. Nil says that the record is finished. An
// error says that it is not, whatever the error is: context.Canceled and
// context.DeadlineExceeded from a call of the handler's own are failures too.
//
// The record's bytes and headers belong to the library: a HandlerFunc must not
// change them. It may keep them.
type HandlerFunc func(ctx context.Context, r Record) error

// Middleware wraps every handler of a [Mux]; see [Mux.Use]. It is called once
// per handler, and the function that it returns once per attempt. What that
// passes to next is what is handled: a changed Value is decoded again.
type Middleware func(next HandlerFunc) HandlerFunc

// PanicError is the error that a panic of a handler, a middleware or an event's
// decoder becomes. It is retried as any other error is, except from a decoder.
type PanicError struct {
	Value any    // what was given to panic
	Stack []byte // of the goroutine, as [debug.Stack] formats it
}

func (e *PanicError) Error() string { return fmt.Sprintf("panic: %v", e.Value) }

// Unwrap returns the panic's value where that is an error.
func (e *PanicError) Unwrap() error {
	err, _ := e.Value.(error)
	return err
}

// ErrorType is "panic".
func (e *PanicError) ErrorType() string { return "panic" }

// DecodeError says that a record does not hold the event that its topic asks
// for. It counts as permanent: the record goes to the dead-letter topic at once.
//
// The cause's text may quote the body, so it is not for logs.
type DecodeError struct {
	Topic string // as on the broker
	Type  string // the Go type of the event, such as "*shop.OrderPlaced"
	Err   error  // a [PanicError] where the type's own UnmarshalJSON panicked
}

func (e *DecodeError) Error() string {
	return fmt.Sprintf("the record of %s is not a %s: %v", e.Topic, e.Type, e.Err)
}

// Unwrap returns the cause.
func (e *DecodeError) Unwrap() error { return e.Err }

// ErrorType is "decode_error".
func (e *DecodeError) ErrorType() string { return "decode_error" }

// recovered, deferred, turns a panic into an error.
func recovered(err *error) {
	if v := recover(); v != nil {
		*err = &PanicError{Value: v, Stack: debug.Stack()}
	}
}

// asPanic finds the panic in err.
func asPanic(err error) *PanicError {
	var p *PanicError
	errors.As(err, &p)
	return p
}
