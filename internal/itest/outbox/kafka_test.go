package outbox_test

import (
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"slices"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/expensevault/sharedlibrary/events"
	"github.com/expensevault/sharedlibrary/messaging"
)

// kafka is a cluster that does with sequences what Apache Kafka does, and else what the test wants. It does not look at
// contexts: what was sent arrives, whatever becomes of the sender.
type kafka struct {
	mu       sync.Mutex
	topics   map[string][]*partition
	last     int64 // producer ID
	before   func(sent) error
	after    func(sent) error
	largest  int // batch, in bytes; 0: any
	forbid   map[string]bool
	resent   int // batches that were there already
	fenced   int // batches that were refused for their epoch
	arrivals chan struct{}
}

// sent is a batch on its way.
type sent struct {
	id        messaging.Identity
	topic     string
	partition int32
	sequence  int32
	records   []messaging.Record
}

type partition struct {
	log       []messaging.Record
	producers map[int64]*producerState
}

// producerState is what a partition knows of a producer.
type producerState struct {
	epoch int16
	next  int32
	last  []appended // five
}

type appended struct {
	sequence int32
	count    int
	offset   int64
}

func newKafka() *kafka {
	k := &kafka{topics: make(map[string][]*partition), forbid: make(map[string]bool), arrivals: make(chan struct{}, 1)}
	k.create("itest.thing.happened")
	return k
}

func (k *kafka) create(topic string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for range 3 {
		k.topics[topic] = append(k.topics[topic], &partition{producers: make(map[int64]*producerState)})
	}
}

// forget is producer.id.expiration.ms.
func (k *kafka) forget() {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, ps := range k.topics {
		for _, p := range ps {
			clear(p.producers)
		}
	}
}

func (k *kafka) NewIdentity(context.Context) (messaging.Identity, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.last++
	return messaging.Identity{ProducerID: k.last}, nil
}

func refuse(topic string, maybe bool, err error) error {
	return &messaging.PublishError{Topic: topic, MaybeWritten: maybe, Err: err}
}

func (k *kafka) PartitionFor(_ context.Context, topic string, key []byte) (int32, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	n := len(k.topics[topic])
	if n == 0 {
		return 0, refuse(topic, false, messaging.ErrUnknownTopic)
	}
	return int32(crc32.ChecksumIEEE(key)>>3) % int32(n), nil
}

func (k *kafka) hook(f func(sent) error, s sent) error {
	if f == nil {
		return nil
	}
	return f(s)
}

func (k *kafka) PublishSequenced(_ context.Context, id messaging.Identity, topic string, partition, sequence int32, recs []messaging.Record) (int64, error) {
	s := sent{id, topic, partition, sequence, recs}
	k.mu.Lock()
	before, after := k.before, k.after
	k.mu.Unlock()
	if err := k.hook(before, s); err != nil {
		return 0, err
	}
	offset, err := k.append(s)
	if err != nil {
		return 0, err
	}
	if err := k.hook(after, s); err != nil {
		return 0, err
	}
	select {
	case k.arrivals <- struct{}{}:
	default:
	}
	return offset, nil
}

func (k *kafka) append(s sent) (int64, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.forbid[s.topic] {
		return 0, refuse(s.topic, false, messaging.ErrNotAuthorized)
	}
	if len(k.topics[s.topic]) == 0 {
		return 0, refuse(s.topic, false, messaging.ErrUnknownTopic)
	}
	size := 0
	for _, r := range s.records {
		size += len(r.Value) + len(r.Key)
	}
	if k.largest > 0 && size > k.largest {
		return 0, refuse(s.topic, false, messaging.ErrTooLarge)
	}
	p := k.topics[s.topic][s.partition]
	st := p.producers[s.id.ProducerID]
	if st == nil { // any first sequence
		st = &producerState{epoch: s.id.Epoch, next: s.sequence}
		p.producers[s.id.ProducerID] = st
	}
	switch {
	case s.id.Epoch < st.epoch:
		k.fenced++
		return 0, refuse(s.topic, false, messaging.ErrFenced)
	case s.id.Epoch > st.epoch && s.sequence != 0:
		return 0, refuse(s.topic, false, messaging.ErrSequence)
	case s.id.Epoch > st.epoch:
		*st = producerState{epoch: s.id.Epoch}
	}
	for _, a := range st.last {
		if a.sequence == s.sequence && a.count == len(s.records) {
			k.resent++
			return a.offset, nil
		}
	}
	if s.sequence != st.next {
		return 0, refuse(s.topic, false, messaging.ErrSequence)
	}
	offset := int64(len(p.log))
	p.log = append(p.log, s.records...)
	st.next += int32(len(s.records))
	st.last = append(st.last, appended{s.sequence, len(s.records), offset})
	st.last = st.last[max(0, len(st.last)-5):]
	return offset, nil
}

func (k *kafka) Tail(_ context.Context, topic string, partition int32, n int) ([]messaging.Record, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	log := k.topics[topic][partition].log
	return slices.Clone(log[max(0, len(log)-n):]), nil
}

// records returns what stands in the topic, in order within each partition.
func (k *kafka) records(topic string) []messaging.Record {
	k.mu.Lock()
	defer k.mu.Unlock()
	var out []messaging.Record
	for _, p := range k.topics[topic] {
		out = append(out, p.log...)
	}
	return out
}

func (k *kafka) counts() (resent, fenced int) {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.resent, k.fenced
}

func (k *kafka) set(f func()) {
	k.mu.Lock()
	defer k.mu.Unlock()
	f()
}

var errAway = errors.New("the broker is away")

// away is a broker that does not answer: what was sent may be there.
func away(s sent) error { return refuse(s.topic, true, errAway) }

// ledger is what was committed: the numbers of each key, in order.
type ledger struct {
	mu   sync.Mutex
	next map[string]int
}

func newLedger() *ledger { return &ledger{next: make(map[string]int)} }

// one is the next event of a key; it counts when it is committed.
func (l *ledger) one(key string) *thing {
	l.mu.Lock()
	defer l.mu.Unlock()
	return &thing{Key: key, N: l.next[key]}
}

func (l *ledger) committed(key string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.next[key]++
}

// publish commits n events of a key, in transactions of their own.
func (l *ledger) publish(t testing.TB, db *database, key string, n int) {
	t.Helper()
	for range n {
		require.NoError(t, db.outbox().In(db).Publish(t.Context(), l.one(key)))
		l.committed(key)
	}
}

// check compares the topic with what was committed: nothing lost, nothing doubled, nothing out of order within its key.
func (l *ledger) check(t testing.TB, recs []messaging.Record) {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	seen := make(map[string]int)
	for _, r := range recs {
		var e thing
		require.NoError(t, events.Decode(r.Value, &e))
		require.Equal(t, seen[e.Key], e.N, "key %s: an event is lost, doubled or out of order", e.Key)
		seen[e.Key]++
	}
	require.Equal(t, l.next, seen)
}

func (l *ledger) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return fmt.Sprint(l.next)
}
