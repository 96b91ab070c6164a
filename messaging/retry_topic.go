package messaging

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/expensevault/sharedlibrary/internal/recordbatch"
)

const defaultRetryTopic = "{topic}-retry-{n}"

// WithRetryTopics trades order for throughput: a record whose attempts are
// spent, see [WithRetry], does not go to the dead letters but to the topic
// "{topic}-retry-1", from where it is handled again after the first of these
// delays, then to "{topic}-retry-2" after the second, and so on; and to the dead
// letters after the last. Its key does not wait meanwhile: what came behind it is
// handled before it. The attempts of WithRetry are made in each of the
// topics; with WithRetry(1, 0, 0) a record moves on at the first failure.
//
// The subscriber reads the retry topics itself, as the same member. A record is
// not begun before its delay has passed since it was written there, and those behind it in its
// partition wait as well. Groups that share a topic share its retry topics too, unless
// [WithRetryTopicName] has the group in it: a record carries its group in the
// header retry-consumer-group, and others pass it over. To a handler it looks as it did
// in its own topic, see [Delivery], with the attempts of all the topics counted.
//
// The subscriber creates none of them; see [Subscriber.SideTopics]. While one
// cannot be written, the record's key waits. [Permanent] errors and what cannot be decoded go to the dead letters at once.
func WithRetryTopics(delays ...time.Duration) SubscriberOption {
	return subscriberOption(func(o *subscriberOptions) { o.retryDelays = slices.Clone(delays) })
}

// WithRetryTopicName sets the names of the topics of [WithRetryTopics]; the
// default is "{topic}-retry-{n}". {topic} stands for the record's topic, as it is
// named on the broker, {group} for the consumer group, and {n}, which has to be there, counts from 1.
func WithRetryTopicName(template string) SubscriberOption {
	return subscriberOption(func(o *subscriberOptions) { o.retryTopic = template })
}

// retryStage is what a retry topic is.
type retryStage struct {
	topic string // whose records it holds
	n     int    // from 1
	delay time.Duration
}

func (o *subscriberOptions) checkRetryTopics() error {
	for _, d := range o.retryDelays {
		if d < 0 {
			return fmt.Errorf("messaging: WithRetryTopics: a delay of %s: give zero or more", d)
		}
	}
	if !strings.Contains(o.retryTopic, "{n}") {
		return fmt.Errorf("messaging: WithRetryTopicName(%q): {n} is missing, by which the topics differ", o.retryTopic)
	}
	return nil
}

// subscribeRetries adds a topic's retry topics.
func (s *Subscriber) subscribeRetries(topic string) error {
	d := &s.deliver
	for i, delay := range s.opts.retryDelays {
		name := strings.NewReplacer("{topic}", topic, "{group}", s.group, "{n}", strconv.Itoa(i+1)).Replace(s.opts.retryTopic)
		if err := checkTopicName(name); err != nil {
			return fmt.Errorf("messaging: WithRetryTopicName(%q): %w", s.opts.retryTopic, err)
		}
		if d.routes[name] != nil || name == d.deadLetterTopics[topic] {
			return fmt.Errorf("messaging: WithRetryTopicName(%q): the retries of %s would go to %s, which is another topic of this subscriber",
				s.opts.retryTopic, topic, name)
		}
		d.routes[name] = d.routes[topic]
		d.stages[name] = retryStage{topic: topic, n: i + 1, delay: delay}
		d.retryTopics[topic] = append(d.retryTopics[topic], name)
		s.topics = append(s.topics, name)
	}
	return nil
}

// SideTopics are specs for [EnsureTopics] of the topics that the subscriber
// writes to by itself: the dead-letter topic and, with [WithRetryTopics], the
// retry topics of each of its topics. They are like the given one, whose Name is
// ignored; dead letters are kept for ever where it does not say otherwise:
//
//	messaging.EnsureTopics(ctx, cfg, subscriber.SideTopics(messaging.TopicSpec{Partitions: 6, ReplicationFactor: 3})...)
func (s *Subscriber) SideTopics(like TopicSpec) []TopicSpec {
	var specs []TopicSpec
	add := func(name string, retention time.Duration) {
		if slices.ContainsFunc(specs, func(other TopicSpec) bool { return other.Name == name }) {
			return
		}
		spec := like
		spec.Name, spec.Retention = name, retention
		specs = append(specs, spec)
	}
	for _, topic := range s.topics {
		if _, retries := s.deliver.stages[topic]; retries {
			add(topic, like.Retention)
			continue
		}
		retention := like.Retention
		if _, set := like.Config[configRetention]; retention == 0 && !set {
			retention = RetentionForever
		}
		add(s.deliver.deadLetterTopics[topic], retention)
	}
	return specs
}

// incoming is a record, and what it is to this group.
type incoming struct {
	orig    *recordbatch.Record // as it is, or was in its own topic if this is a retry
	stage   int                 // 0: from its own topic; n: from its n-th retry topic
	before  int                 // attempts in the topics before
	due     time.Time           // zero: at once
	delay   time.Duration       // the longest that it may have to wait
	foreign bool                // it is for another group
}

// incoming reads the headers of a retry. What they say is somebody's word, and
// never has a record wait longer, or counts for more attempts, than is set here.
func (p *pipeline) incoming(rec *recordbatch.Record) incoming {
	in := incoming{orig: rec, stage: 0, before: 0, due: time.Time{}, delay: 0, foreign: false}
	group, retried := retryGroup(rec.Headers)
	if !retried && len(p.stages) == 0 {
		return in
	}
	if retried && group != p.group {
		in.foreign = true
		return in
	}
	stage, isStage := p.stages[rec.Topic]
	if !retried && !isStage {
		return in
	}
	orig := *rec
	orig.Headers = slices.DeleteFunc(slices.Clone(rec.Headers), func(h Header) bool { return retried && retryHeader(h.Key) })
	in.orig = &orig
	if !isStage {
		return in
	}
	in.stage, orig.Topic = stage.n, stage.topic
	said := func(name string) string { v, _ := Delivery{Headers: rec.Headers}.Header(name); return v }
	if !retried || said(headerRetryTopic) != stage.topic {
		return in
	}
	most := p.policy(p.routes[rec.Topic]).attempts * stage.n
	if n, err := strconv.Atoi(said(headerRetryAttempt)); err == nil {
		in.before = min(max(n, 0), most)
	}
	if n, err := strconv.ParseInt(said(headerRetryPartition), 10, 32); err == nil {
		orig.Partition = int32(n)
	}
	if n, err := strconv.ParseInt(said(headerRetryOffset), 10, 64); err == nil {
		orig.Offset = n
	}
	if t, err := time.Parse(time.RFC3339, said(headerRetryTimestamp)); err == nil {
		orig.Timestamp = t
	}
	if t, err := time.Parse(time.RFC3339, said(headerRetryDueAt)); err == nil {
		in.due, in.delay = t, stage.delay
	}
	return in
}

// attempt is the number of the attempt that is being made, over all topics.
func (in *incoming) attempt(st *progress) int { return in.before + st.tried + st.attempt }

// record is what the handler gets.
func (in *incoming) record() Record {
	return Record{
		Topic: in.orig.Topic, Key: in.orig.Key, Value: in.orig.Value, Timestamp: in.orig.Timestamp,
		Headers: slices.Clip(in.orig.Headers), // what a middleware appends does not reach the dead letter
	}
}

// wait is how long the record has to wait until it is due.
func (in *incoming) wait(st *progress) time.Duration {
	if in.due.IsZero() {
		return 0
	}
	now := time.Now()
	if st.since.IsZero() {
		st.since = now
	}
	due := in.due
	if latest := st.since.Add(in.delay); due.After(latest) {
		due = latest
	}
	return due.Sub(now)
}

// newRetry returns the record for a retry topic. Its own timestamp is the moment
// of writing, from which its delay is counted.
func (p *pipeline) newRetry(topic string, in *incoming, f *failure, now time.Time) Record {
	o := in.orig
	own := []Header{
		{Key: headerRetryGroup, Value: []byte(p.group)},
		{Key: headerRetryAttempt, Value: strconv.AppendInt(nil, int64(f.attempt), 10)},
		{Key: headerRetryDueAt, Value: now.Add(p.stages[topic].delay).UTC().AppendFormat(nil, rfc3339Milli)},
		{Key: headerRetryTopic, Value: []byte(o.Topic)},
		{Key: headerRetryPartition, Value: strconv.AppendInt(nil, int64(o.Partition), 10)},
		{Key: headerRetryOffset, Value: strconv.AppendInt(nil, o.Offset, 10)},
		{Key: headerRetryTimestamp, Value: o.Timestamp.UTC().AppendFormat(nil, rfc3339Milli)},
	}
	headers := make([]Header, 0, len(o.Headers)+len(own))
	for _, h := range o.Headers { // these names are ours: whoever uses them for something else loses them here
		if !retryHeader(h.Key) {
			headers = append(headers, h)
		}
	}
	return Record{Topic: topic, Key: o.Key, Value: o.Value, Headers: append(headers, own...), Timestamp: now}
}
