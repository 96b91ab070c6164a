package consumer

import (
	"context"
	"fmt"
	"time"

	"github.com/expensevault/sharedlibrary/internal/cluster"
	"github.com/expensevault/sharedlibrary/internal/kerr"
	"github.com/expensevault/sharedlibrary/internal/wire"
)

// requestTimeout bounds what a broker answers at once.
const requestTimeout = 5 * time.Second

// call sends a request to a broker and waits for the answer's body. When ctx
// ends first the answer is dropped, and the connection still waits for it.
func call(ctx context.Context, c *cluster.Cluster, broker int32, lane cluster.Lane, req request, timeout time.Duration) (*reader, int16, error) {
	conn, err := c.Conn(ctx, broker, lane)
	if err != nil {
		return nil, 0, err
	}
	return exchange(ctx, conn, req, timeout)
}

func exchange(ctx context.Context, conn *wire.Conn, req request, timeout time.Duration) (*reader, int16, error) {
	v, ok := conn.Version(req.key, req.low, req.high)
	if !ok {
		return nil, 0, fmt.Errorf("%s offers no version of %s from %d to %d: %w", conn.Addr(), req.key, req.low, req.high, kerr.UnsupportedVersion)
	}
	var w writer
	req.encode(&w, v)
	type result struct {
		body []byte
		err  error
	}
	ch := make(chan result, 1)
	err := conn.Send(wire.Request{Key: req.key, Version: v, Body: [][]byte{w.b}}, timeout, func(a wire.Answer, err error) {
		ch <- result{a.Body, err}
	})
	if err != nil {
		return nil, 0, fmt.Errorf("%s: %w", req.key, err)
	}
	select {
	case res := <-ch:
		if res.err != nil {
			return nil, 0, fmt.Errorf("%s: %w", req.key, res.err)
		}
		return &reader{b: res.body}, v, nil
	case <-ctx.Done():
		return nil, 0, ctx.Err()
	}
}
