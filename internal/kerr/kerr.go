// Package kerr holds the error codes of the Kafka protocol: their names, and
// what a producer may conclude from each of them.
//
// Source: https://kafka.apache.org/protocol#protocol_error_codes
package kerr

import "strconv"

// Code is an error code of the Kafka protocol. As an error it is never None.
type Code int16

// Name is the protocol's own name of the code, such as
// UNKNOWN_TOPIC_OR_PARTITION; CODE_n for a code that is not known here.
func (c Code) Name() string {
	if n := name(c); n != "" {
		return n
	}
	return "CODE_" + strconv.Itoa(int(c))
}

func (c Code) Error() string { return "kafka: " + c.Name() + " (" + strconv.Itoa(int(c)) + ")" }

// ErrorType is what the OpenTelemetry attribute error.type takes.
func (c Code) ErrorType() string { return c.Name() }

// Err is c as an error, nil for [None].
func (c Code) Err() error {
	if c == None {
		return nil
	}
	return c
}
