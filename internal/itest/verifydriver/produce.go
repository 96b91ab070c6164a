package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log/slog"
	"strconv"
	"strings"
	"time"

	"github.com/expensevault/sharedlibrary/messaging"
)

const (
	// idle is for how long there must be no further line before a driver that is to end believes that there is none.
	idle = 200 * time.Millisecond
	// maxIdle bounds the wait for that.
	maxIdle = 2 * time.Second
)

// produce publishes what stdin asks for, in its order.
func produce(ctx context.Context, s settings, stdin io.Reader, out *lines, log *slog.Logger) error {
	p, err := messaging.NewKafkaPublisher(s.kafka, messaging.WithLogger(log))
	if err != nil {
		return err
	}
	orders := make(chan string)
	broken := make(chan error, 1)
	go func() {
		scanner := bufio.NewScanner(stdin)
		for scanner.Scan() {
			orders <- scanner.Text()
		}
		broken <- scanner.Err()
		close(orders)
	}()
	// A publish may wait for room in the buffer; the closing publisher ends that wait.
	closed := make(chan error, 1)
	stopped := context.AfterFunc(ctx, func() { closed <- p.Close() }) //nolint:contextcheck // Close has a bound of its own
	bad := 0
	serve := func(order string) {
		if err := publish(ctx, p, order, out); err != nil {
			bad++
			log.Error("A line of stdin is not <id> <key> <size>", slog.Any("error", err))
		}
	}
read:
	for {
		select {
		case order, more := <-orders:
			if !more {
				break read
			}
			serve(order)
		case <-ctx.Done():
			break read
		}
	}
	if stopped() { // the end of the input
		closed <- p.Close() //nolint:contextcheck // Close has a bound of its own
	}
	closing := <-closed
	refuseRest(orders, serve)
	if err := out.close(); err != nil {
		return fmt.Errorf("stdout: %w", err)
	}
	if ctx.Err() == nil && bad > 0 {
		return fmt.Errorf("%d lines of stdin were not <id> <key> <size>", bad)
	}
	if closing != nil { // each of these has its line
		log.Warn("Not everything was acknowledged", slog.Any("error", closing))
	}
	if ctx.Err() == nil {
		if err := <-broken; err != nil {
			return fmt.Errorf("stdin: %w", err)
		}
	}
	return nil
}

// refuseRest has the closed publisher refuse what had been asked for when the signal came, so that each id has its answer.
func refuseRest(orders <-chan string, serve func(string)) {
	end := time.After(maxIdle)
	for {
		select {
		case order, more := <-orders:
			if !more {
				return
			}
			serve(order)
		case <-time.After(idle):
			return
		case <-end:
			return
		}
	}
}

// publish starts one event; the error is about the line alone.
func publish(ctx context.Context, p *messaging.KafkaPublisher, order string, out *lines) error {
	f := strings.Fields(order)
	if len(f) == 0 {
		return nil
	}
	id := f[0]
	size, err := 0, error(nil)
	if len(f) == 3 {
		size, err = strconv.Atoi(f[2])
	}
	if len(f) != 3 || err != nil || size < 0 {
		out.now("S", id)
		out.later("N", id, "the line is not <id> <key> <size>")
		return fmt.Errorf("%q", order)
	}
	e := newVerified(id, f[1], size)
	out.now("S", id)
	p.PublishAsync(context.WithoutCancel(ctx), e, func(_ messaging.Receipt, err error) {
		switch {
		case err == nil:
			out.later("A", id, "")
		case messaging.SafeToRetry(err):
			out.later("N", id, err.Error())
		default:
			out.later("E", id, err.Error())
		}
	})
	return nil
}
