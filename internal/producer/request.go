package producer

import (
	"encoding/binary"
	"errors"
	"net"

	"github.com/expensevault/sharedlibrary/internal/kerr"
)

// Produce, versions 3 to 8: the request is the same in all of them, the answer grows.
//
// Source: https://kafka.apache.org/protocol#The_Messages_Produce
const (
	produceLowest  = 3
	produceHighest = 8
)

// target is one partition's batch in a request.
type target struct {
	topic     string
	partition int32
	batch     []byte
}

// produceBody encodes the request's body. Targets of one topic must stand
// together. The batches are not copied.
func produceBody(acks int16, timeoutMS int32, ts []target) net.Buffers {
	be := binary.BigEndian
	out := make(net.Buffers, 0, 2*len(ts))
	b := make([]byte, 0, 64*len(ts)+16)
	b = be.AppendUint16(b, 0xffff) // no transactional ID
	b = be.AppendUint16(b, uint16(acks))
	b = be.AppendUint32(b, uint32(timeoutMS))
	counts := map[string]uint32{}
	for _, t := range ts {
		counts[t.topic]++
	}
	b = be.AppendUint32(b, uint32(len(counts)))
	topic := ""
	for _, t := range ts {
		if t.topic != topic {
			topic = t.topic
			b = be.AppendUint16(b, uint16(len(topic)))
			b = append(b, topic...)
			b = be.AppendUint32(b, counts[topic])
		}
		b = be.AppendUint32(b, uint32(t.partition))
		b = be.AppendUint32(b, uint32(len(t.batch)))
		out = append(out, b, t.batch)
		b = b[len(b):]
	}
	return out
}

// answer is the broker's about one partition.
type answer struct {
	topic     string
	partition int32
	code      kerr.Code
	offset    int64
	message   string
}

var errMalformed = errors.New("producer: malformed answer")

// parseAnswers decodes the body of an answer.
func parseAnswers(version int16, body []byte) ([]answer, error) {
	d := decoder{b: body}
	var out []answer
	for range d.count(6) {
		topic := d.string()
		for range d.count(22) {
			a := answer{topic: topic, partition: d.int32(), code: kerr.Code(d.int16()), offset: d.int64()}
			d.int64() // log append time
			if version >= 5 {
				d.int64() // log start offset
			}
			if version >= 8 {
				for range d.count(6) {
					d.int32() // the record's index in the batch
					if s := d.string(); a.message == "" {
						a.message = s
					}
				}
				if s := d.string(); s != "" {
					a.message = s
				}
			}
			out = append(out, a)
		}
	}
	if d.bad {
		return nil, errMalformed
	}
	return out, nil
}

// decoder reads big-endian fields; after the first that is not there, everything is zero.
type decoder struct {
	b   []byte
	bad bool
}

func (d *decoder) take(n int) []byte {
	if n < 0 || n > len(d.b) {
		d.bad, d.b = true, nil
		return nil
	}
	out := d.b[:n]
	d.b = d.b[n:]
	return out
}

func (d *decoder) int16() int16 {
	if b := d.take(2); b != nil {
		return int16(binary.BigEndian.Uint16(b))
	}
	return 0
}

func (d *decoder) int32() int32 {
	if b := d.take(4); b != nil {
		return int32(binary.BigEndian.Uint32(b))
	}
	return 0
}

func (d *decoder) int64() int64 {
	if b := d.take(8); b != nil {
		return int64(binary.BigEndian.Uint64(b))
	}
	return 0
}

// string is a nullable one; null is "".
func (d *decoder) string() string {
	n := d.int16()
	if n < 0 {
		return ""
	}
	return string(d.take(int(n)))
}

// count is an array's length, checked against the bytes that are left: each element takes at least size.
func (d *decoder) count(size int) int {
	n := int(d.int32())
	if n < 0 {
		return 0
	}
	if n > len(d.b)/size {
		d.bad, d.b = true, nil
		return 0
	}
	return n
}
