package main

import (
	"context"
	"database/sql"
	"log/slog"
	"time"

	"github.com/expensevault/sharedlibrary/messaging"
	"github.com/expensevault/sharedlibrary/messaging/inbox"
)

// effect handles the topic's records, each with a row that must be there once.
func effect(ctx context.Context, s settings, log *slog.Logger) error {
	db, dialect, err := open(ctx, s.dsn)
	if err != nil {
		return err
	}
	defer func() { _ = db.Close() }()
	in := inbox.New(db, dialect, s.group, inbox.WithLogger(log))
	var mux messaging.Mux
	messaging.HandleRecord(&mux, s.topic, func(ctx context.Context, r messaging.Record) error {
		id, err := idOf(r.Value)
		if err != nil {
			return messaging.Permanent(err)
		}
		_, err = in.Handle(ctx, id, func(ctx context.Context, tx *sql.Tx) error {
			_, err := tx.ExecContext(ctx, dialect.Rebind("INSERT INTO effect (id, k) VALUES (?, ?)"), id, string(r.Key))
			return err
		})
		return err
	})
	// A database that is away for a while must not make dead letters.
	sub, err := messaging.NewSubscriber(s.kafka, s.group, &mux, messaging.WithSessionTimeout(s.session), messaging.WithLogger(log),
		messaging.WithConcurrency(s.workers), messaging.WithRetry(1000, 20*time.Millisecond, time.Second))
	if err != nil {
		return err
	}
	ensured := make(chan struct{})
	go func() {
		defer close(ensured)
		ensureDeadLetters(ctx, s, log)
	}()
	err = sub.Run(ctx)
	<-ensured
	return err
}
