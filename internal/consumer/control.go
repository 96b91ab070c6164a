package consumer

import "sync"

// Control pauses topics of a running engine: heartbeats go on, what is being handled
// is finished, nothing more is begun or fetched. The zero value pauses nothing. It is
// for one Run at a time, and keeps what it is told from one to the next. Any number of goroutines may call its methods; nil is one that never pauses.
type Control struct {
	mu     sync.Mutex
	paused map[string]struct{}
	m      *member  // of the Run that is under way; nil: none is
	s      *session // the one that is running; nil between two
}

// Pause has the topics' records wait. Those that are not consumed, or paused already, change nothing.
func (c *Control) Pause(topics ...string) { c.change(topics, true) }

// Resume undoes Pause.
func (c *Control) Resume(topics ...string) { c.change(topics, false) }

// Paused reports whether a topic is paused.
func (c *Control) Paused(topic string) bool {
	if c == nil {
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	_, paused := c.paused[topic]
	return paused
}

func (c *Control) change(topics []string, pause bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, t := range topics {
		if pause {
			if c.paused == nil {
				c.paused = map[string]struct{}{}
			}
			c.paused[t] = struct{}{}
		} else {
			delete(c.paused, t)
		}
	}
	if c.s == nil {
		return
	}
	for _, p := range c.s.all() {
		c.apply(p)
	}
	c.s.fetcher.room()
}

// begin is told of a Run; nil: it has ended.
func (c *Control) begin(m *member) {
	if c == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.m, c.s = m, nil
}

// attach has a session heed the control from now on; nil: none.
func (c *Control) attach(s *session) {
	if c == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.s = s
}

// heed tells a partition that begins whether it is paused.
func (c *Control) heed(p *partition) {
	if c == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.apply(p)
}

func (c *Control) apply(p *partition) {
	if lanes := p.lanes.Load(); lanes != nil {
		_, paused := c.paused[p.topic]
		p.s.m.pool.Pause(lanes, paused)
	}
}
