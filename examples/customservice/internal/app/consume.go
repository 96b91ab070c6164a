package app

import (
	"context"
	"log/slog"

	"github.com/expensevault/sharedlibrary/examples/customservice/internal/consumers"
	"github.com/expensevault/sharedlibrary/examples/customservice/internal/settings"
)

// Consume runs one consumer alone until ctx ends.
func Consume(ctx context.Context, s settings.Settings, name string, log *slog.Logger) error {
	p, err := open(ctx, s, false, log)
	if err != nil {
		return err
	}
	defer p.closeAll(log)
	r, err := newRunner(p, s, name, nil, log)
	if err != nil {
		return err
	}
	running := &running{parts: p, consumers: []*consumers.Runner{r}}
	running.start(ctx)
	log.InfoContext(ctx, name+" consumes", slog.String("group", consumers.Group(name)),
		slog.String("database", p.store.Kind()), slog.String("kafka", p.kafkaName()))
	<-ctx.Done()
	log.InfoContext(ctx, name+" stops")
	stopping, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.Stop)
	defer cancel()
	running.stop(stopping)
	log.InfoContext(ctx, name+" has stopped")
	return nil
}
