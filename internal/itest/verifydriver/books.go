package main

import (
	"bufio"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"log/slog"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/expensevault/sharedlibrary/internal/failpoint"
	"github.com/expensevault/sharedlibrary/messaging"
	"github.com/expensevault/sharedlibrary/messaging/outbox"
)

// books is a service with an outbox.
type books struct {
	db      *sql.DB
	dialect outbox.Dialect
	box     *outbox.Outbox
	out     *lines
	log     *slog.Logger
}

// keepBooks does what stdin asks for, and relays.
func keepBooks(ctx context.Context, s settings, stdin io.Reader, out *lines, log *slog.Logger) error {
	// What was begun is ended when ctx has: the library's places of death go with it.
	life := context.WithoutCancel(ctx)
	db, dialect, err := open(ctx, s.dsn)
	if err != nil {
		return err
	}
	defer func() { _ = db.Close() }()
	publisher, err := messaging.NewKafkaPublisher(s.kafka, messaging.WithLogger(log))
	if err != nil {
		return err
	}
	defer func() { _ = publisher.Close() }() //nolint:contextcheck // Close has a bound of its own
	var signal outbox.Signal
	opts := []outbox.Option{outbox.WithEncode(s.kafka.Encode), outbox.WithSignal(&signal), outbox.WithLogger(log), outbox.WithLease(s.lease)}
	b := &books{db: db, dialect: dialect, box: outbox.New(dialect, opts...), out: out, log: log}
	relaying, stopRelay := context.WithCancel(life)
	relay := outbox.NewRelay(db, dialect, publisher, opts...)
	relayed := make(chan error, 1)
	go func() { relayed <- relay.Run(relaying) }()

	err = b.read(ctx, life, stdin, s.workers, signal.Notify)
	if err == nil && ctx.Err() == nil {
		err = b.emptied(ctx)
	}
	stopRelay()
	err = errors.Join(err, <-relayed)
	if werr := out.close(); werr != nil {
		err = errors.Join(err, fmt.Errorf("stdout: %w", werr))
	}
	return err
}

// read gives each key's lines to one worker, so that they keep their order.
func (b *books) read(ctx, life context.Context, stdin io.Reader, workers int, committed func()) error {
	queues := make([]chan order, workers)
	var wg sync.WaitGroup
	for i := range queues {
		queues[i] = make(chan order, 16)
		wg.Go(func() {
			for o := range queues[i] {
				if ctx.Err() == nil {
					b.carryOut(life, o)
					committed()
				}
			}
		})
	}
	orders, broken := make(chan order), make(chan error, 1)
	go func() {
		defer close(orders)
		scanner := bufio.NewScanner(stdin)
		for scanner.Scan() {
			o, err := parseOrder(scanner.Text())
			if err != nil {
				broken <- err
				return
			}
			orders <- o
		}
		broken <- scanner.Err()
	}()
	var err error
read:
	for {
		select {
		case o, more := <-orders:
			if !more {
				err = <-broken
				break read
			}
			h := fnv.New32a()
			_, _ = h.Write([]byte(o.key)) // cannot fail
			select {
			case queues[int(h.Sum32()%uint32(workers))] <- o: //nolint:gosec // a small number
			case <-ctx.Done():
				break read
			}
		case <-ctx.Done():
			break read
		}
	}
	for _, q := range queues {
		close(q)
	}
	wg.Wait()
	return err
}

// order is a line of stdin.
type order struct {
	id, key  string
	size     int
	rollBack bool
}

func parseOrder(line string) (order, error) {
	f := strings.Fields(line)
	if len(f) != 4 || f[3] != "c" && f[3] != "r" {
		return order{}, fmt.Errorf("a line of stdin is not <id> <key> <size> c|r: %.100q", line)
	}
	size, err := strconv.Atoi(f[2])
	if err != nil || size < 0 {
		return order{}, fmt.Errorf("a line of stdin has no size: %.100q", line)
	}
	return order{id: f[0], key: f[1], size: size, rollBack: f[3] == "r"}, nil
}

var errRollBack = errors.New("roll back, as was asked")

// carryOut tries until the order is carried out. Whether a commit whose answer is lost has happened the row decides.
func (b *books) carryOut(ctx context.Context, o order) {
	for n := 0; ; n++ {
		if there, err := b.has(ctx, o.id); err == nil && there {
			b.out.now("C", o.id)
			return
		} else if err == nil {
			err = b.transact(ctx, o)
			if err == nil {
				b.out.now("C", o.id)
				return
			}
			if errors.Is(err, errRollBack) {
				b.out.now("R", o.id)
				return
			}
			b.log.Warn("An order is tried again", slog.String("id", o.id), slog.Any("error", err))
		}
		if !pause(ctx, min(time.Second, 10*time.Millisecond<<min(n, 7))) {
			return
		}
	}
}

func (b *books) has(ctx context.Context, id string) (bool, error) {
	var n int
	err := b.db.QueryRowContext(ctx, b.dialect.Rebind("SELECT COUNT(*) FROM biz WHERE id = ?"), id).Scan(&n)
	return n > 0, err
}

func (b *books) transact(ctx context.Context, o order) error {
	tx, err := b.db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }() // does nothing after the commit
	if err := failpoint.Hit(ctx, "service: begun"); err != nil {
		return err
	}
	if _, err := tx.ExecContext(ctx, b.dialect.Rebind("INSERT INTO agg (k, seq) VALUES (?, 0) ON CONFLICT (k) DO NOTHING"), o.key); err != nil {
		return err
	}
	var seq int
	if err := tx.QueryRowContext(ctx, b.dialect.Rebind("UPDATE agg SET seq = seq + 1 WHERE k = ? RETURNING seq"), o.key).Scan(&seq); err != nil {
		return err
	}
	if _, err := tx.ExecContext(ctx, b.dialect.Rebind("INSERT INTO biz (id, k, seq) VALUES (?, ?, ?)"), o.id, o.key, seq); err != nil {
		return err
	}
	if err := failpoint.Hit(ctx, "service: row written"); err != nil {
		return err
	}
	if err := b.box.In(tx).Publish(ctx, newVerified(o.id, o.key, o.size)); err != nil {
		return err
	}
	if err := failpoint.Hit(ctx, "service: event written"); err != nil {
		return err
	}
	if o.rollBack {
		return errRollBack
	}
	if err := tx.Commit(); err != nil {
		return err
	}
	return failpoint.Hit(ctx, "service: committed")
}

// emptied waits until the outbox is empty.
func (b *books) emptied(ctx context.Context) error {
	for {
		backlog, err := b.box.Backlog(ctx, b.db)
		switch {
		case err != nil:
			b.log.Warn("The outbox cannot be counted", slog.Any("error", err))
		case backlog.Parked > 0:
			return fmt.Errorf("%d events of the outbox cannot be published", backlog.Parked)
		case backlog.Pending == 0:
			return nil
		}
		if !pause(ctx, 50*time.Millisecond) {
			return nil
		}
	}
}
