package consumer

import (
	"time"

	"github.com/segmentio/kafka-go/protocol"

	"github.com/expensevault/sharedlibrary/internal/kerr"
)

// request is one API in the versions that are spoken here: the last ones before
// the "flexible" encoding, which offer a consumer of this kind nothing more.
type request struct {
	key       protocol.ApiKey
	low, high int16
	encode    func(w *writer, v int16)
}

func millis(d time.Duration) int32 { return int32(d / time.Millisecond) }

// protocolOffer is an assignor's name and what its leader is to know of this member.
type protocolOffer struct {
	name     string
	metadata []byte
}

func joinRequest(p *Params, memberID string, offers []protocolOffer) request {
	low := int16(2)
	if p.InstanceID != "" {
		low = 5 // before it an instance ID means nothing: the member would be a dynamic one that never leaves
	}
	return request{protocol.JoinGroup, low, 5, func(w *writer, v int16) {
		w.str(p.Group)
		w.i32(millis(p.SessionTimeout))
		w.i32(millis(p.RebalanceTimeout))
		w.str(memberID)
		if v >= 5 {
			w.nullable(p.InstanceID)
		}
		w.str(protocolType)
		w.count(len(offers))
		for _, o := range offers {
			w.str(o.name)
			w.bytes(o.metadata)
		}
	}}
}

type joinAnswer struct {
	code       kerr.Code
	generation int32
	protocol   string
	leader     string
	member     string
	members    []joinMember // for the leader
}

type joinMember struct {
	id, instance string
	metadata     []byte
}

func decodeJoin(r *reader, v int16) (*joinAnswer, error) {
	r.i32() // throttle
	a := &joinAnswer{code: kerr.Code(r.i16()), generation: r.i32(), protocol: r.str(), leader: r.str(), member: r.str()}
	for range r.count(6) {
		m := joinMember{id: r.str()}
		if v >= 5 {
			m.instance = r.str()
		}
		m.metadata = r.bytes()
		a.members = append(a.members, m)
	}
	return a, r.err("answer to JoinGroup")
}

func syncRequest(p *Params, g *generation, assignments map[string][]topicPartitions) request {
	return request{protocol.SyncGroup, 1, 3, func(w *writer, v int16) {
		memberHead(w, p, g, v >= 3)
		w.count(len(assignments))
		for id, tps := range assignments {
			w.str(id)
			w.bytes(encodeAssignment(tps))
		}
	}}
}

func decodeSync(r *reader) (kerr.Code, []topicPartitions, error) {
	r.i32() // throttle
	code := kerr.Code(r.i16())
	b := r.bytes()
	if err := r.err("answer to SyncGroup"); err != nil || code != kerr.None {
		return code, nil, err
	}
	tps, err := decodeAssignment(b)
	return code, tps, err
}

func heartbeatRequest(p *Params, g *generation) request {
	return request{protocol.Heartbeat, 1, 3, func(w *writer, v int16) { memberHead(w, p, g, v >= 3) }}
}

func leaveRequest(p *Params, memberID string) request {
	return request{protocol.LeaveGroup, 1, 2, func(w *writer, _ int16) {
		w.str(p.Group)
		w.str(memberID)
	}}
}

// decodeCode reads the answer to Heartbeat and to LeaveGroup.
func decodeCode(r *reader) (kerr.Code, error) {
	r.i32() // throttle
	code := kerr.Code(r.i16())
	return code, r.err("answer")
}

func memberHead(w *writer, p *Params, g *generation, withInstance bool) {
	w.str(p.Group)
	w.i32(g.id)
	w.str(g.member)
	if withInstance {
		w.nullable(p.InstanceID)
	}
}

// position is an offset to commit, or one that was.
type position struct {
	topic     string
	partition int32
	offset    int64
	epoch     int32 // of the leader when the record before it was fetched; -1 when not known
	metadata  string
	code      kerr.Code // of an answer
}

func commitRequest(p *Params, g *generation, ps []position) request {
	return request{protocol.OffsetCommit, 2, 7, func(w *writer, v int16) {
		memberHead(w, p, g, v >= 7)
		if v <= 4 {
			w.i64(-1) // retention: the broker's
		}
		eachTopic(w, ps, func(pos position) {
			w.i32(pos.partition)
			w.i64(pos.offset)
			if v >= 6 {
				w.i32(pos.epoch)
			}
			w.str(pos.metadata)
		})
	}}
}

func decodeCommit(r *reader, v int16) ([]position, error) {
	if v >= 3 {
		r.i32() // throttle
	}
	var ps []position
	for range r.count(6) {
		topic := r.str()
		for range r.count(6) {
			ps = append(ps, position{topic: topic, partition: r.i32(), code: kerr.Code(r.i16())})
		}
	}
	return ps, r.err("answer to OffsetCommit")
}

func committedRequest(p *Params, tps []position) request {
	return request{protocol.OffsetFetch, 1, 5, func(w *writer, _ int16) {
		w.str(p.Group)
		eachTopic(w, tps, func(pos position) { w.i32(pos.partition) })
	}}
}

func decodeCommitted(r *reader, v int16) ([]position, kerr.Code, error) {
	if v >= 3 {
		r.i32() // throttle
	}
	var ps []position
	for range r.count(6) {
		topic := r.str()
		for range r.count(16) {
			pos := position{topic: topic, partition: r.i32(), offset: r.i64(), epoch: -1}
			if v >= 5 {
				pos.epoch = r.i32()
			}
			pos.metadata = r.str()
			pos.code = kerr.Code(r.i16())
			ps = append(ps, pos)
		}
	}
	code := kerr.None
	if v >= 2 {
		code = kerr.Code(r.i16())
	}
	return ps, code, r.err("answer to OffsetFetch")
}

// allCommittedRequest asks for the group's offsets in whatever topic.
func allCommittedRequest(p *Params) request {
	return request{protocol.OffsetFetch, 2, 5, func(w *writer, _ int16) {
		w.str(p.Group)
		w.i32(-1) // all
	}}
}

func describeRequest(p *Params) request {
	return request{protocol.DescribeGroups, 0, 4, func(w *writer, v int16) {
		w.count(1)
		w.str(p.Group)
		if v >= 3 {
			w.i8(0) // nobody asks who may do what
		}
	}}
}

// described is a group as its coordinator sees it.
type described struct {
	code    kerr.Code
	state   string
	members []describedMember
}

type describedMember struct {
	id, client, host     string
	metadata, assignment []byte
}

func decodeDescribe(r *reader, v int16) (*described, error) {
	if v >= 1 {
		r.i32() // throttle
	}
	d := &described{code: kerr.UnknownServerError}
	for range r.count(18) {
		d.code = kerr.Code(r.i16())
		r.str() // the group
		d.state = r.str()
		r.str() // protocol type
		r.str() // protocol
		for range r.count(14) {
			m := describedMember{id: r.str()}
			if v >= 4 {
				r.str() // instance
			}
			m.client, m.host = r.str(), r.str()
			m.metadata, m.assignment = r.bytes(), r.bytes()
			d.members = append(d.members, m)
		}
		if v >= 3 {
			r.i32() // operations
		}
	}
	return d, r.err("answer to DescribeGroups")
}

// Timestamps with a meaning of their own in ListOffsets.
const (
	latestOffset   int64 = -1
	earliestOffset int64 = -2
)

// listRequest asks for offsets by time; position.offset holds the timestamp.
func listRequest(ps []position, readUncommitted bool) request {
	return request{protocol.ListOffsets, 1, 5, func(w *writer, v int16) {
		w.i32(-1) // not a replica
		if v >= 2 {
			w.i8(isolation(readUncommitted))
		}
		eachTopic(w, ps, func(pos position) {
			w.i32(pos.partition)
			if v >= 4 {
				w.i32(pos.epoch)
			}
			w.i64(pos.offset)
		})
	}}
}

func decodeList(r *reader, v int16) ([]position, error) {
	if v >= 2 {
		r.i32() // throttle
	}
	var ps []position
	for range r.count(6) {
		topic := r.str()
		for range r.count(22) {
			pos := position{topic: topic, partition: r.i32(), code: kerr.Code(r.i16()), epoch: -1}
			r.i64() // timestamp
			pos.offset = r.i64()
			if v >= 4 {
				pos.epoch = r.i32()
			}
			ps = append(ps, pos)
		}
	}
	return ps, r.err("answer to ListOffsets")
}

func isolation(readUncommitted bool) int8 {
	if readUncommitted {
		return 0
	}
	return 1
}

// eachTopic writes the array of topics, each with its array of partitions; ps is grouped by topic.
func eachTopic(w *writer, ps []position, write func(position)) {
	type run struct{ from, to int }
	var runs []run
	for i := range ps {
		if i == 0 || ps[i].topic != ps[i-1].topic {
			runs = append(runs, run{from: i})
		}
		runs[len(runs)-1].to = i + 1
	}
	w.count(len(runs))
	for _, r := range runs {
		w.str(ps[r.from].topic)
		w.count(r.to - r.from)
		for _, pos := range ps[r.from:r.to] {
			write(pos)
		}
	}
}
