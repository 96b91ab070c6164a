package cluster

import (
	"context"
	"errors"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/expensevault/sharedlibrary/internal/wire"
)

func TestNobodyIsRefusedUnlessAllAre(t *testing.T) {
	t.Parallel()
	down, refused := errors.New("connection refused"), &wire.AuthError{Addr: "b:1", Err: errors.New("wrong password")}
	isAuth := func(err error) bool {
		_, ok := errors.AsType[*wire.AuthError](err)
		return ok
	}
	require.True(t, isAuth(nobody([]error{refused, refused})))
	mixed := nobody([]error{refused, down})
	require.False(t, isAuth(mixed), "the one that is down may accept us")
	require.ErrorIs(t, mixed, down)
	require.ErrorContains(t, mixed, "wrong password")
	require.Error(t, nobody(nil))
}

// TestWhoFailedIsAskedLast, and dialled again only by who has no other.
func TestWhoFailedIsAskedLast(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		dials := map[string]int{}
		c := New(Params{Seeds: []string{"a:1", "b:1", "c:1"}, Wire: wire.Params{
			DialTimeout: time.Second,
			Dial: func(_ context.Context, _, addr string) (net.Conn, error) {
				dials[addr]++
				return nil, errors.New("no route")
			},
		}})
		defer c.Close()
		_, err := c.connect(t.Context(), "b:1")
		require.Error(t, err)
		for range 20 {
			require.Equal(t, "b:1", c.addrs()[2])
		}
		_, err = c.Conn(t.Context(), Any, Control)
		require.ErrorContains(t, err, "no route")
		require.Equal(t, map[string]int{"a:1": 1, "b:1": 2, "c:1": 1}, dials)
	})
}

func TestClosed(t *testing.T) {
	t.Parallel()
	c := New(Params{Seeds: []string{"a:1"}})
	c.Close()
	_, err := c.Conn(t.Context(), Any, Control)
	require.ErrorIs(t, err, ErrClosed)
}
