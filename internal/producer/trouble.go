package producer

import (
	"errors"
	"log/slog"
	"time"

	"github.com/expensevault/sharedlibrary/internal/wire"
)

const (
	quietAtFirst = time.Second      // trouble that is over sooner, as after a leader's move, is nobody's business
	logEvery     = 30 * time.Second // while it lasts
)

// trouble is what keeps events from getting on, between two successes.
type trouble struct {
	err    error // of the last try; nil when there is none
	since  time.Time
	logged time.Time // zero: not yet
}

// troubled notes a failed try, and logs when it is not the first for a while.
// Where the brokers refuse us altogether, waiting helps nobody: everything fails now.
func (p *Producer) troubled(err error) {
	if p.ctx.Err() != nil {
		return
	}
	now := time.Now()
	if p.trouble.err == nil {
		p.trouble.since = now
	}
	p.trouble.err = err
	if _, ok := errors.AsType[*wire.AuthError](err); ok {
		p.failAll(err)
	}
	if now.Sub(p.trouble.since) >= quietAtFirst && now.Sub(p.trouble.logged) >= logEvery {
		p.trouble.logged = now
		p.params.Logger.Warn("Kafka does not take events at the moment", slog.Any("error", err))
	}
}

// recovered notes a success.
func (p *Producer) recovered() {
	if !p.trouble.logged.IsZero() {
		p.params.Logger.Info("Kafka takes events again", slog.Duration("after", time.Since(p.trouble.since)))
	}
	p.trouble = trouble{}
}
