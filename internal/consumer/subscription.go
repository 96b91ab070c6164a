package consumer

import "fmt"

// protocolType is what members of a group must agree on, beside one of [Balancer].
const protocolType = "consumer"

// topicPartitions are partitions of one topic.
type topicPartitions struct {
	topic      string
	partitions []int32
}

// subscription is what a member tells the group's leader about itself.
//
// Source: clients/src/main/resources/common/message/ConsumerProtocolSubscription.json of Apache Kafka.
type subscription struct {
	topics     []string
	userData   []byte
	owned      []topicPartitions // v1
	generation int32             // v2; -1 when not told
	rack       string            // v3
}

// encode writes v1: what it says is enough for a leader of any kind, and every leader since Kafka 2.4 reads all of it. With a
// generation it is v2, of which older leaders read as much as they know.
func (s *subscription) encode() []byte {
	var w writer
	if s.generation >= 0 {
		w.i16(2)
	} else {
		w.i16(1)
	}
	w.count(len(s.topics))
	for _, t := range s.topics {
		w.str(t)
	}
	w.bytes(s.userData)
	encodeTopicPartitions(&w, s.owned)
	if s.generation >= 0 {
		w.i32(s.generation)
	}
	return w.b
}

// decodeSubscription reads every version from v0 on; what versions after v3 append is left aside.
func decodeSubscription(b []byte) (*subscription, error) {
	r := reader{b: b}
	s := subscription{generation: -1}
	version := r.i16()
	if version < 0 {
		return nil, fmt.Errorf("%w subscription: version %d", errMalformed, version)
	}
	for range r.count(2) {
		s.topics = append(s.topics, r.str())
	}
	s.userData = r.bytes()
	if version >= 1 && len(r.b) > 0 { // kafka-go's own members say v1 and end here
		s.owned = decodeTopicPartitions(&r)
	}
	if version >= 2 {
		s.generation = r.i32()
	}
	if version >= 3 {
		s.rack = r.str()
	}
	return &s, r.err("subscription")
}

// encodeAssignment writes v0, of which later versions differ in the number alone.
//
// Source: clients/src/main/resources/common/message/ConsumerProtocolAssignment.json of Apache Kafka.
func encodeAssignment(tps []topicPartitions) []byte {
	var w writer
	w.i16(0)
	encodeTopicPartitions(&w, tps)
	w.bytes(nil) // user data
	return w.b
}

// decodeAssignment reads an assignment; a member without any gets no bytes at all from some leaders.
func decodeAssignment(b []byte) ([]topicPartitions, error) {
	if len(b) == 0 {
		return nil, nil
	}
	r := reader{b: b}
	if v := r.i16(); v < 0 {
		return nil, fmt.Errorf("%w assignment: version %d", errMalformed, v)
	}
	tps := decodeTopicPartitions(&r)
	return tps, r.err("assignment")
}

func encodeTopicPartitions(w *writer, tps []topicPartitions) {
	w.count(len(tps))
	for _, tp := range tps {
		w.str(tp.topic)
		w.count(len(tp.partitions))
		for _, p := range tp.partitions {
			w.i32(p)
		}
	}
}

func decodeTopicPartitions(r *reader) []topicPartitions {
	var tps []topicPartitions
	for range r.count(6) {
		tp := topicPartitions{topic: r.str()}
		for range r.count(4) {
			tp.partitions = append(tp.partitions, r.i32())
		}
		tps = append(tps, tp)
	}
	return tps
}
