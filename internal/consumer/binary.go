package consumer

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
)

// errMalformed is the error of an answer, or of another member's data, that does not follow the protocol.
var errMalformed = errors.New("malformed")

// writer appends the protocol's primitives, in their form before "flexible" versions.
//
// Source: https://kafka.apache.org/protocol#protocol_types
type writer struct{ b []byte }

func (w *writer) i8(v int8)   { w.b = append(w.b, byte(v)) }
func (w *writer) i16(v int16) { w.b = binary.BigEndian.AppendUint16(w.b, uint16(v)) }
func (w *writer) i32(v int32) { w.b = binary.BigEndian.AppendUint32(w.b, uint32(v)) }
func (w *writer) i64(v int64) { w.b = binary.BigEndian.AppendUint64(w.b, uint64(v)) }

// count is the length of an array.
func (w *writer) count(n int) { w.i32(int32(n)) }

// str must be at most math.MaxInt16 bytes long, as Kafka's names are.
func (w *writer) str(s string) {
	w.i16(int16(len(s)))
	w.b = append(w.b, s...)
}

// nullable writes the empty string as null.
func (w *writer) nullable(s string) {
	if s == "" {
		w.i16(-1)
		return
	}
	w.str(s)
}

func (w *writer) bytes(b []byte) {
	if b == nil {
		w.i32(-1)
		return
	}
	w.count(len(b))
	w.b = append(w.b, b...)
}

// reader reads the same; bad is set, and stays, once something does not fit,
// and everything read from then on is zero.
type reader struct {
	b   []byte
	bad bool
}

func (r *reader) take(n int) []byte {
	if r.bad || n < 0 || n > len(r.b) {
		r.bad, r.b = true, nil
		return nil
	}
	v := r.b[:n:n]
	r.b = r.b[n:]
	return v
}

func (r *reader) i16() int16 {
	if b := r.take(2); b != nil {
		return int16(binary.BigEndian.Uint16(b))
	}
	return 0
}

func (r *reader) i32() int32 {
	if b := r.take(4); b != nil {
		return int32(binary.BigEndian.Uint32(b))
	}
	return 0
}

func (r *reader) i64() int64 {
	if b := r.take(8); b != nil {
		return int64(binary.BigEndian.Uint64(b))
	}
	return 0
}

// count is the length of an array whose elements take at least size bytes each;
// zero for null. More than the bytes can hold is malformed.
func (r *reader) count(size int) int {
	n := r.i32()
	if n == -1 {
		return 0
	}
	if n < 0 || int64(n)*int64(size) > int64(len(r.b)) {
		r.bad, r.b = true, nil
		return 0
	}
	return int(n)
}

// str reads null as the empty string.
func (r *reader) str() string {
	n := r.i16()
	if n == -1 {
		return ""
	}
	return string(r.take(int(n)))
}

// bytes is a view, nil for null.
func (r *reader) bytes() []byte {
	n := r.i32()
	if n == -1 {
		return nil
	}
	return r.take(int(n))
}

func (r *reader) err(what string) error {
	if r.bad {
		return fmt.Errorf("%w %s", errMalformed, what)
	}
	return nil
}

// fits reports whether a string can be written with [writer.str].
func fits(s string) bool { return len(s) <= math.MaxInt16 }
