package consumer

import (
	"slices"

	"github.com/segmentio/kafka-go/protocol"

	"github.com/expensevault/sharedlibrary/internal/kerr"
	"github.com/expensevault/sharedlibrary/internal/recordbatch"
)

// fetchRequest asks one broker for several partitions, in the order given: a
// broker fills the answer from the front. position.epoch is the leader's.
func fetchRequest(p *Params, maxWaitMS int32, ps []position) request {
	return request{protocol.Fetch, 4, 11, func(w *writer, v int16) {
		w.i32(-1) // not a replica
		w.i32(maxWaitMS)
		w.i32(1) // answer as soon as there is anything
		w.i32(p.FetchMaxBytes)
		w.i8(isolation(p.ReadUncommitted))
		if v >= 7 { // no fetch session
			w.i32(0)
			w.i32(-1)
		}
		eachTopic(w, ps, func(pos position) {
			w.i32(pos.partition)
			if v >= 9 {
				w.i32(pos.epoch)
			}
			w.i64(pos.offset)
			if v >= 5 {
				w.i64(-1) // log start offset: a follower's
			}
			w.i32(p.PartitionMaxBytes)
		})
		if v >= 7 {
			w.count(0) // forgotten topics: of a session
		}
		if v >= 11 {
			w.str("") // rack
		}
	}}
}

// fetched is one partition's part of an answer.
type fetched struct {
	topic     string
	partition int32
	code      kerr.Code
	highWater int64
	aborted   []recordbatch.Aborted
	set       []byte // a view into the frame
}

func decodeFetch(r *reader, v int16) ([]fetched, kerr.Code, error) {
	r.i32() // throttle
	code := kerr.None
	if v >= 7 {
		code = kerr.Code(r.i16())
		r.i32() // session
	}
	var fs []fetched
	for range r.count(6) {
		topic := r.str()
		for range r.count(30) {
			f := fetched{topic: topic, partition: r.i32(), code: kerr.Code(r.i16()), highWater: r.i64()}
			r.i64() // last stable offset
			if v >= 5 {
				r.i64() // log start offset: -1 with the errors where it would help
			}
			for range r.count(16) {
				f.aborted = append(f.aborted, recordbatch.Aborted{ProducerID: r.i64(), FirstOffset: r.i64()})
			}
			if v >= 11 {
				r.i32() // preferred read replica: none without a rack
			}
			f.set = r.bytes()
			slices.SortStableFunc(f.aborted, func(a, b recordbatch.Aborted) int {
				switch {
				case a.FirstOffset < b.FirstOffset:
					return -1
				case a.FirstOffset > b.FirstOffset:
					return 1
				}
				return 0
			})
			fs = append(fs, f)
		}
	}
	return fs, code, r.err("answer to Fetch")
}
