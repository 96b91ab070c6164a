// Package consumer is the consuming engine: group membership, fetching, offsets.
//
// A member joins (group.go) and begins a session (session.go), which lasts for
// as long as it stays a member: through the group's rebalances (rebalance.go),
// in which it gives partitions up and gets others. A session fetches
// (fetcher.go) into one partition's queue each (partition.go), from where the records go into
// lanes (package lane), whose workers call Params.Handle (handle.go); what was handled is committed (offsets.go).
package consumer

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/expensevault/sharedlibrary/internal/cluster"
)

// OutOfRange says where to go on when the log no longer holds the group's
// position: retention has passed it, or the topic was created anew. It is never done silently.
type OutOfRange uint8

const (
	// ToEarliest goes on with the first record that the log holds.
	ToEarliest OutOfRange = iota
	// ToLatest goes on with what is written from then on.
	ToLatest
	// StopRun ends Run with an [*OutOfRangeError].
	StopRun
)

// Params is everything that Run needs. Where a default is named, zero means it.
type Params struct {
	Cluster    *cluster.Cluster // not shared with another Run: a waiting JoinGroup or fetch keeps its connection busy
	Logger     *slog.Logger     // nil: no logs
	Group      string
	InstanceID string // group.instance.id; "" for a dynamic member
	Topics     []string
	// Balancers are offered to the group, the first one liked best; nil: CooperativeSticky, then Range.
	// Only a member that offers CooperativeSticky alone keeps its partitions while the group rebalances.
	Balancers         []Balancer
	SessionTimeout    time.Duration // 45 s
	RebalanceTimeout  time.Duration // 60 s
	HeartbeatInterval time.Duration // 3 s
	CommitInterval    time.Duration // 1 s
	// DrainTimeout is how long handlers may go on after a revoke or a stop; 30 s. After
	// a revoke it is two thirds of RebalanceTimeout at most: the group waits no longer.
	DrainTimeout      time.Duration
	FetchMaxWait      time.Duration // 500 ms; how long a broker holds a fetch back when there is nothing
	FetchMaxBytes     int32         // per broker and request; 50 MiB
	PartitionMaxBytes int32         // per partition and request; 1 MiB
	MaxBatchBytes     int           // of a batch when decompressed; 16 MiB
	MetadataInterval  time.Duration // how often the group's leader looks for new partitions and topics; 10 s, 1 s while a topic is missing
	// StartLatest has partitions without an offset begin at their end; but not those that appeared after
	// Run began, nor those of a topic in which the group has offsets: what they hold was never there to be skipped.
	StartLatest     bool
	OutOfRange      OutOfRange
	ReadUncommitted bool
	// Concurrency is how many calls of Handle there are at once, in all; 16.
	Concurrency int
	// Batch says how many records of a topic one call of Handle may get. Where that
	// is more than one, a partition's records have one lane, and a call gets what
	// waits there. Nil: one everywhere.
	Batch func(topic string) int
	// Control pauses topics, and tells how the engine is; nil: nobody asks.
	Control *Control
	// Observer is told what the engine does; nil: nobody.
	Observer Observer
	// Handle returns nil when the work is finished, and an [*Again] to be called with it again. Any other
	// error, while ctx lives, ends Run. Records of one key are handled in order, one at a time;
	// different keys, and records without one, in parallel.
	// ctx ends when the partition belongs to another member, or DrainTimeout has passed.
	// It carries the values of Run's context, and does not end with it.
	Handle func(ctx context.Context, w *Work) error
}

// Run joins the group and handles records until ctx ends; then it returns nil
// once what was in progress is drained and committed, which takes DrainTimeout
// and some seconds at most. A broker that is away, or a topic that is
// not there yet, is waited for.
//
// A handler that goes on although its context has ended outlives Run; another
// Run does not know of it, and may handle its partition meanwhile. A topic that is
// deleted and created anew under a running member goes on at the old offset where the new one has grown beyond it.
//
// Its error is one that another try would meet again: Handle's own, a
// [*PanicError], a [*wire.AuthError], an authorization's [kerr.Code], a static
// member's ID that another one took ([kerr.FencedInstanceId]), a [*recordbatch.BatchError],
// an [*OutOfRangeError]. What was handled by then is committed.
func Run(ctx context.Context, p Params) error {
	if err := p.complete(); err != nil {
		return err
	}
	log := p.Logger.With("messaging.consumer.group.name", p.Group)
	m := newMember(&p, log)
	defer m.pool.Close()
	p.Control.begin(m)
	defer p.Control.begin(nil)
	running := map[topicPartition]<-chan struct{}{} // workers that may have outlived their session
	for {
		g, err := m.join(ctx, nil)
		if err != nil {
			m.leave(ctx)
			if ctx.Err() != nil {
				return nil
			}
			return err
		}
		s := newSession(ctx, m, g, running)
		p.Control.attach(s)
		end := s.run(ctx)
		if end.forgotten {
			m.id = ""
		}
		if end.err == nil && ctx.Err() == nil {
			continue
		}
		m.leave(ctx)
		return end.err
	}
}

func (p *Params) complete() error {
	switch {
	case p.Cluster == nil:
		return errors.New("consumer: no cluster")
	case p.Handle == nil:
		return errors.New("consumer: no handler")
	case p.Group == "" || !fits(p.Group) || !fits(p.InstanceID):
		return fmt.Errorf("consumer: the group's name must have 1 to 32767 bytes, not %d, and the instance ID no more", len(p.Group))
	case len(p.Topics) == 0:
		return errors.New("consumer: no topics")
	}
	p.Topics = slices.Clone(p.Topics)
	slices.Sort(p.Topics)
	p.Topics = slices.Compact(p.Topics)
	for _, t := range p.Topics {
		if t == "" || !fits(t) {
			return fmt.Errorf("consumer: illegal topic %.50q", t)
		}
	}
	if err := p.completeBalancers(); err != nil {
		return err
	}
	if p.Logger == nil {
		p.Logger = slog.New(slog.DiscardHandler)
	}
	p.SessionTimeout = orDefault(p.SessionTimeout, 45*time.Second)
	p.RebalanceTimeout = orDefault(p.RebalanceTimeout, time.Minute)
	p.HeartbeatInterval = min(orDefault(p.HeartbeatInterval, 3*time.Second), p.SessionTimeout/3)
	p.CommitInterval = orDefault(p.CommitInterval, time.Second)
	p.DrainTimeout = orDefault(p.DrainTimeout, 30*time.Second)
	p.FetchMaxWait = orDefault(p.FetchMaxWait, 500*time.Millisecond)
	p.FetchMaxBytes = orDefault(p.FetchMaxBytes, 50<<20)
	p.PartitionMaxBytes = orDefault(p.PartitionMaxBytes, 1<<20)
	p.MaxBatchBytes = orDefault(p.MaxBatchBytes, 16<<20)
	p.MetadataInterval = orDefault(p.MetadataInterval, 10*time.Second)
	p.Concurrency = orDefault(p.Concurrency, 16)
	return nil
}

func orDefault[T int | int32 | time.Duration](v, def T) T {
	if v <= 0 {
		return def
	}
	return v
}
