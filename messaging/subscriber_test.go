package messaging_test

import (
	"context"
	"math"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/expensevault/sharedlibrary/messaging"
)

func placedMux() *messaging.Mux {
	var mux messaging.Mux
	messaging.Handle(&mux, func(context.Context, *orderPlaced) error { return nil })
	return &mux
}

func TestNewSubscriber(t *testing.T) {
	t.Parallel()
	s, err := messaging.NewSubscriber(messaging.DefaultConfig(), "billing", placedMux(),
		messaging.WithInstanceID("billing-0"), messaging.WithBalancers(messaging.CooperativeSticky), messaging.WithSessionTimeout(time.Minute), messaging.WithDrainTimeout(0),
		messaging.WithStartLatest(), messaging.WithMaxBatchBytes(1<<30), messaging.WithRetry(1, 0, 0), messaging.WithDeadLetterTopic("dead.{group}"))
	require.NoError(t, err)
	assert.NotNil(t, s)
}

func TestNewSubscriberRefuses(t *testing.T) {
	t.Parallel()
	two := placedMux()
	messaging.HandleRecord(two, "foreign", func(context.Context, messaging.Record) error { return nil })
	mapped := func(from, to string) messaging.Config {
		cfg := messaging.DefaultConfig()
		cfg.Topics = map[string]string{from: to}
		return cfg
	}
	invalid := messaging.DefaultConfig()
	invalid.BootstrapServers = ""
	for _, tc := range []struct {
		name  string
		cfg   messaging.Config
		group string
		mux   *messaging.Mux
		opt   messaging.SubscriberOption
		want  string
	}{
		{name: "invalid settings", cfg: invalid, want: "BootstrapServers"},
		{name: "no group", group: "-", want: "consumer group"},
		{name: "no mux", mux: nil, group: "nil", want: "nothing to handle"},
		{name: "empty mux", mux: new(messaging.Mux), want: "nothing to handle"},
		{name: "two topics by one name", cfg: mapped(placed, "foreign"), mux: two, want: "same name foreign"},
		{name: "its own dead letters", opt: messaging.WithDeadLetterTopic("{topic}"), want: "that topic itself"},
		{name: "no dead-letter topic", opt: messaging.WithDeadLetterTopic(""), want: "WithDeadLetterTopic"},
		{name: "illegal dead-letter topic", opt: messaging.WithDeadLetterTopic("{topic}-{Group}"), want: "WithDeadLetterTopic"},
		{name: "long dead-letter topic", opt: messaging.WithDeadLetterTopic("{topic}" + strings.Repeat("x", 240)), want: "249"},
		{name: "session timeout", opt: messaging.WithSessionTimeout(0), want: "WithSessionTimeout(0s)"},
		{name: "drain timeout", opt: messaging.WithDrainTimeout(-1), want: "WithDrainTimeout(-1ns)"},
		{name: "no batch", opt: messaging.WithMaxBatchBytes(0), want: "WithMaxBatchBytes(0)"},
		{name: "endless batch", opt: messaging.WithMaxBatchBytes(math.MaxInt32), want: "WithMaxBatchBytes(2147483647)"},
		{name: "unknown balancer", opt: messaging.WithBalancers(0), want: "WithBalancers: Balancer(0) is none"},
		{name: "a balancer twice", opt: messaging.WithBalancers(messaging.Range, messaging.Range), want: "range is named twice"},
		{name: "retry", opt: messaging.WithRetry(0, 0, 0), want: "WithRetry: 0 attempts"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			if tc.cfg.BootstrapServers == "" && tc.name != "invalid settings" {
				tc.cfg = messaging.DefaultConfig()
			}
			group, mux := "billing", tc.mux
			switch {
			case tc.group == "-":
				group, mux = "", placedMux()
			case tc.group == "nil":
			case mux == nil:
				mux = placedMux()
			}
			var opts []messaging.SubscriberOption
			if tc.opt != nil {
				opts = append(opts, tc.opt)
			}
			s, err := messaging.NewSubscriber(tc.cfg, group, mux, opts...)
			require.ErrorContains(t, err, tc.want)
			assert.Nil(t, s)
		})
	}
}

// With nobody to connect to, Run waits until it is stopped.
func TestRunWithoutBroker(t *testing.T) {
	t.Parallel()
	dialled := make(chan struct{}, 100)
	s, err := messaging.NewSubscriber(messaging.DefaultConfig(), "billing", placedMux(),
		messaging.WithDialer(func(context.Context, string, string) (net.Conn, error) {
			dialled <- struct{}{}
			return nil, &net.OpError{Op: "dial", Err: net.ErrClosed}
		}))
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	dials := func() {
		t.Helper()
		select {
		case <-dialled:
		case err := <-done:
			require.Fail(t, "Run ended", "%v", err)
		}
	}
	dials()
	require.ErrorContains(t, s.Run(ctx), "runs already")
	dials() // it tries again
	cancel()
	require.NoError(t, <-done)
	require.NoError(t, s.Run(ctx), "again, with a context that has ended")
}
