package consumer

import (
	"slices"
	"time"
)

// Observer is told what the engine does with brokers. Its methods are called from the
// engine's goroutines and must not block.
type Observer interface {
	// Joined is of each generation of the group that the member is part of.
	Joined(partitions int)
	// Polled is of a fetch that brought records, or failed.
	Polled(start time.Time, topics []string, records int, err error)
	// Committed is of a commit of offsets.
	Committed(start time.Time, topics []string, err error)
}

func (p *Params) joined(partitions int) {
	if p.Observer != nil {
		p.Observer.Joined(partitions)
	}
}

func (p *Params) polled(start time.Time, parts []opened, err error) {
	if p.Observer == nil {
		return
	}
	var topics []string
	records := 0
	for i := range parts {
		if o := &parts[i]; o.set != nil && o.set.Count() > 0 {
			records += o.set.Count()
			topics = append(topics, o.topic)
		}
	}
	if records > 0 || err != nil {
		p.Observer.Polled(start, distinct(topics), records, err)
	}
}

func (p *Params) observeCommit(start time.Time, ps []position, err error) {
	if p.Observer == nil {
		return
	}
	topics := make([]string, len(ps))
	for i, pos := range ps {
		topics[i] = pos.topic
	}
	p.Observer.Committed(start, distinct(topics), err)
}

func distinct(topics []string) []string {
	slices.Sort(topics)
	return slices.Compact(topics)
}
