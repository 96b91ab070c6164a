package consumer

import (
	"time"
)

// Status is how a running engine is.
type Status struct {
	Running    bool // Run was called and has not returned
	Joined     bool // the member is part of a generation, and has not lost it
	Partitions []PartitionStatus
	Trouble    error     // why consuming is interrupted; nil: it is not, as far as is known
	Since      time.Time // of the trouble
}

// PartitionStatus is how one partition is that is held.
type PartitionStatus struct {
	Topic     string
	Partition int32
	Position  int64 // the lowest offset that is not finished; -1: not known yet
	End       int64 // behind the last record, when it was fetched last; -1: not known yet
	InFlight  int   // records that were fetched and are not finished
	Paused    bool
	Still     time.Duration // for how long the position has not moved while records were in flight; 0: it moves, or there is nothing to do
}

// Lag is how many offsets lie between the position and the end; 0 while either is not known.
func (p *PartitionStatus) Lag() int64 {
	if p.Position < 0 || p.End < 0 {
		return 0
	}
	return max(0, p.End-p.Position)
}

// Status tells how the engine is at the moment, from what it knows: nobody is asked.
func (c *Control) Status() Status {
	c.mu.Lock()
	m, s := c.m, c.s
	c.mu.Unlock()
	if m == nil {
		return Status{} //nolint:exhaustruct // nothing runs
	}
	st := Status{Running: true, Joined: false, Partitions: nil, Trouble: nil, Since: time.Time{}}
	st.Since, st.Trouble = m.out.state()
	if s == nil {
		return st
	}
	st.Joined = !s.isLost() && s.feed.Err() == nil
	now := time.Now()
	for _, p := range s.all() {
		st.Partitions = append(st.Partitions, p.status(now, c.Paused(p.topic)))
	}
	return st
}

func (p *partition) status(now time.Time, paused bool) PartitionStatus {
	st := PartitionStatus{Topic: p.topic, Partition: p.partition, Position: -1, End: p.end.Load(), InFlight: 0, Paused: paused, Still: 0}
	lanes := p.lanes.Load()
	if lanes == nil {
		return st
	}
	at := p.s.m.pool.State(lanes, 0)
	st.Position, st.InFlight = at.Position, at.InFlight
	if since := p.moved.look(at.Position, at.InFlight > 0 && !paused, now); !since.IsZero() {
		st.Still = now.Sub(since)
	}
	return st
}

// attend notes whether partitions get on; it is called each second or so.
func (s *session) attend() {
	now := time.Now()
	for _, p := range s.all() {
		p.status(now, s.p.Control.Paused(p.topic))
	}
}
