package producer

import (
	"errors"
	"fmt"
	"time"

	"github.com/expensevault/sharedlibrary/internal/cluster"
	"github.com/expensevault/sharedlibrary/internal/kerr"
	"github.com/expensevault/sharedlibrary/internal/recordbatch"
	"github.com/expensevault/sharedlibrary/internal/wire"
)

const (
	// metadataMaxAge is how long added partitions may go unnoticed; Java's metadata.max.age.ms.
	metadataMaxAge = 5 * time.Minute
	// missingGrace is how long a topic may be unknown to the brokers before its
	// events fail: a topic that was just created is not known to all of them at once.
	missingGrace = 3 * time.Second
)

// needMetadata asks the housekeeper for the current leaders.
func (p *Producer) needMetadata() {
	p.wantMeta = true
	kick(p.keep)
}

// refresh is needMetadata for who does not hold the mutex.
func (p *Producer) refresh() {
	p.mu.Lock()
	defer p.unlock()
	p.needMetadata()
}

// unfetched notes that metadata or a producer ID could not be had. Where every
// broker refuses us, waiting helps nobody: everything fails now.
func (p *Producer) unfetched(err error) {
	p.troubled(&p.trouble, err)
	if _, refused := errors.AsType[*wire.AuthError](err); refused {
		p.failAll(err)
	}
}

// adoptID gives a partition the producer ID at hand; false when one must be asked for first.
func (p *Producer) adoptID(pt *partition) bool {
	if p.id == recordbatch.NoProducer || p.id == pt.seq.id {
		p.id = recordbatch.NoProducer
		p.wantID = true
		kick(p.keep)
		return false
	}
	pt.seq.adopt(p.id, p.epoch)
	return true
}

// housekeep fetches what is wanted, until it has it.
func (p *Producer) housekeep() {
	defer p.wg.Done()
	age := time.NewTicker(metadataMaxAge)
	defer age.Stop()
	for {
		select {
		case <-p.keep:
		case <-age.C:
			p.mu.Lock()
			p.wantMeta = true
			p.mu.Unlock()
		case <-p.ctx.Done():
			return
		}
		for n := 0; ; n++ {
			more, fresh := p.fetchWanted()
			if !more {
				break
			}
			if !fresh && !p.params.Backoff.Wait(p.ctx, n) {
				return
			}
		}
	}
}

// fetchWanted makes one try. more says that something is still wanted, and fresh that it was not tried: once the leaders
// are known a producer ID is wanted.
func (p *Producer) fetchWanted() (more, fresh bool) {
	p.mu.Lock()
	wantMeta, wantID := p.wantMeta, p.wantID
	var names []string
	for name := range p.topics {
		names = append(names, name)
	}
	p.wantMeta = false
	p.mu.Unlock()

	if wantMeta && len(names) > 0 {
		md, err := p.params.Cluster.Metadata(p.ctx, names...)
		p.mu.Lock()
		if err != nil {
			p.wantMeta = true
			p.unfetched(err)
		} else {
			p.recovered(&p.trouble)
			p.learn(md)
		}
		p.unlock()
	}
	if wantID {
		p.fetchID()
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.wantMeta || p.wantID, !p.wantMeta && !wantID
}

// learn takes metadata in.
func (p *Producer) learn(md *cluster.Metadata) {
	for _, t := range p.topics {
		mt := md.Topics[t.name]
		if mt == nil {
			continue
		}
		switch mt.Err {
		case kerr.None:
			t.missing = time.Time{}
			p.learnPartitions(t, mt)
		case kerr.UnknownTopicOrPartition:
			p.missing(t)
		case kerr.TopicAuthorizationFailed, kerr.InvalidTopicException:
			p.failTopic(t, mt.Err)
			if t.partitions == nil {
				delete(p.topics, t.name) // asked again when it is used again
			}
		default: // a leader being elected, mostly
			p.troubled(&p.trouble, fmt.Errorf("metadata of topic %s: %w", t.name, mt.Err))
			p.wantMeta = true
		}
	}
}

// missing waits for a topic that the brokers do not know, and gives its events up after a while.
func (p *Producer) missing(t *topic) {
	if !t.waiting() {
		t.missing = time.Time{}
		return
	}
	if t.missing.IsZero() {
		t.missing = time.Now()
	}
	if time.Since(t.missing) < missingGrace {
		p.wantMeta = true
		return
	}
	p.failTopic(t, kerr.UnknownTopicOrPartition)
	t.missing = time.Time{}
}

func (p *Producer) learnPartitions(t *topic, mt *cluster.Topic) {
	for i := len(t.partitions); i < len(mt.Partitions); i++ {
		t.partitions = append(t.partitions, &partition{topic: t, id: int32(i), leader: noLeader, seq: newSequencer[*batch](p.params.Idempotent, p.params.MaxInFlight)})
	}
	t.count = int32(len(mt.Partitions))

	for i, pt := range t.partitions {
		leader := noLeader
		if i < len(mt.Partitions) && mt.Partitions[i].Leader >= 0 {
			leader = mt.Partitions[i].Leader
		}
		if leader != pt.leader {
			p.unlist(pt)
			pt.leader, pt.sender = leader, nil
			pt.seq.moved()
			if pt.paused && pt.timer.Stop() { // no reason left to wait
				pt.paused = false
			}
		}
		if leader == noLeader && pt.hasWork() {
			p.wantMeta = true
		}
	}
	if t.count == 0 {
		p.wantMeta = true
		return
	}
	if t.sticky >= t.count || t.partitions[t.sticky].leader == noLeader {
		t.moveSticky()
	}
	for _, b := range t.pending {
		p.distribute(t, b)
	}
	t.pending = nil
	for _, pt := range t.partitions {
		p.schedule(pt)
	}
}

// distribute moves the records of a batch to their partitions.
func (p *Producer) distribute(t *topic, src *batch) {
	for i := range src.entries {
		e := &src.entries[i]
		if e.done == nil {
			continue
		}
		pt := t.route(p.params.Partitioner(src.rb.Key(e.at)))
		dst := last(pt.queue)
		if dst == nil || dst.flush != src.flush || dst.rb.Len()+e.size > pt.mostBytes() {
			dst = p.newBatchFor(src, pt.hint)
			pt.queue = append(pt.queue, dst)
		}
		dst.take(src, *e)
		src.size -= e.size
		e.done = nil
	}
	p.freeRoom(src.size)
	p.free(src)
}

func (p *Producer) fetchID() {
	res, err := p.initID(p.ctx)
	p.mu.Lock()
	defer p.unlock()
	switch {
	case err == nil:
		p.wantID = false
		p.id, p.epoch = res.ProducerID, res.ProducerEpoch
		for _, t := range p.topics {
			for _, pt := range t.partitions {
				p.schedule(pt)
			}
		}
	case isFinal(err):
		p.wantID = false // asked for again by the next event
		p.failAll(err)
	default:
		p.unfetched(err)
	}
}
