package producer

import (
	"log/slog"
	"time"
)

const (
	quietAtFirst = time.Second      // trouble that is over sooner, as after a leader's move, is nobody's business
	logEvery     = 30 * time.Second // while it lasts
)

// trouble is what keeps something from getting on, between two successes: the
// batches for one broker, or what the housekeeper fetches.
type trouble struct {
	err    error // of the last try; nil when there is none
	since  time.Time
	logged time.Time // zero: not yet
}

// troubled notes a failed try, and logs when it is not the first for a while.
func (p *Producer) troubled(t *trouble, err error) {
	if p.ctx.Err() != nil {
		return
	}
	now := time.Now()
	if t.err == nil {
		t.since = now
	}
	t.err = err
	if now.Sub(t.since) >= quietAtFirst && now.Sub(t.logged) >= logEvery {
		t.logged = now
		p.log(slog.LevelWarn, "Kafka does not take events at the moment", slog.Any("error", err))
	}
}

// recovered notes a success.
func (p *Producer) recovered(t *trouble) {
	if !t.logged.IsZero() {
		p.log(slog.LevelInfo, "Kafka takes events again", slog.Duration("after", time.Since(t.since)))
	}
	*t = trouble{}
}

// log logs when the mutex is free: a log handler is foreign code, and may publish.
func (p *Producer) log(level slog.Level, msg string, attrs ...slog.Attr) {
	p.logs = append(p.logs, func() { p.params.Logger.LogAttrs(p.ctx, level, msg, attrs...) })
}
