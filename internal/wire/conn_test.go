package wire

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/segmentio/kafka-go/protocol"
	"github.com/segmentio/kafka-go/protocol/apiversions"
	"github.com/segmentio/kafka-go/protocol/metadata"
	"github.com/stretchr/testify/require"
)

// peer is the other end of a connection.
type peer struct {
	t  *testing.T
	nc net.Conn
}

// request reads one and returns its key and correlation ID.
func (p peer) request() (key int16, id int32) {
	var head [4]byte
	if _, err := io.ReadFull(p.nc, head[:]); err != nil {
		return -1, 0
	}
	frame := make([]byte, binary.BigEndian.Uint32(head[:]))
	if _, err := io.ReadFull(p.nc, frame); err != nil {
		return -1, 0
	}
	return int16(binary.BigEndian.Uint16(frame)), int32(binary.BigEndian.Uint32(frame[4:]))
}

// raw answers with bytes of its own.
func (p peer) raw(id int32, body string) {
	b := binary.BigEndian.AppendUint32(nil, uint32(4+len(body)))
	b = binary.BigEndian.AppendUint32(b, uint32(id))
	_, _ = p.nc.Write(append(b, body...))
}

// versions answers the first request of a connection.
func (p peer) versions() {
	key, id := p.request()
	require.EqualValues(p.t, protocol.ApiVersions, key)
	require.NoError(p.t, protocol.WriteResponse(p.nc, 0, id, &apiversions.Response{ApiKeys: []apiversions.ApiKeyResponse{
		{ApiKey: int16(protocol.ApiVersions), MaxVersion: 2},
		{ApiKey: int16(protocol.Metadata), MinVersion: 1, MaxVersion: 12},
		{ApiKey: int16(protocol.Produce), MinVersion: 3, MaxVersion: 9},
		{ApiKey: int16(protocol.Heartbeat), MinVersion: 90, MaxVersion: 99},
	}}))
}

// connect returns a connection to a peer that serve plays, after the versions; it must be called in a bubble.
func connect(t *testing.T, serve func(peer)) *Conn {
	t.Helper()
	c, err := Dial(t.Context(), pipeTo(t, func(p peer) { p.versions(); serve(p) }), "broker:9092")
	require.NoError(t, err)
	t.Cleanup(c.Close)
	return c
}

func pipeTo(t *testing.T, serve func(peer)) *Params {
	t.Helper()
	return &Params{ClientID: "test", DialTimeout: 5 * time.Second, Dial: func(context.Context, string, string) (net.Conn, error) {
		here, there := net.Pipe()
		go serve(peer{t, there})
		t.Cleanup(func() { _ = there.Close() })
		return here, nil
	}}
}

func rawRequest() Request {
	return Request{Key: protocol.Produce, Version: 8, Body: net.Buffers{[]byte("x"), []byte("y")}}
}

func TestPipelineAnswersInOrder(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := connect(t, func(p peer) {
			var ids []int32
			for range 3 {
				_, id := p.request()
				ids = append(ids, id)
			}
			for i, id := range ids {
				p.raw(id, string(rune('a'+i)))
			}
		})
		got := make(chan string, 3)
		for range 3 {
			require.NoError(t, c.Send(rawRequest(), time.Second, func(a Answer, err error) {
				got <- string(a.Body)
			}))
		}
		require.Equal(t, "a", <-got)
		require.Equal(t, "b", <-got)
		require.Equal(t, "c", <-got)
	})
}

func TestVersions(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := connect(t, func(peer) {})
		v, ok := c.Version(protocol.Produce, 3, 8)
		require.True(t, ok)
		require.EqualValues(t, 8, v)
		_, ok = c.Version(protocol.Produce, 10, 12)
		require.False(t, ok)
		_, ok = c.Version(protocol.Fetch, 0, 11)
		require.False(t, ok, "not offered at all")
	})
}

func TestNoAnswerInTimeEndsTheConnection(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := connect(t, func(p peer) {
			p.request()
			p.request()
			p.request()
		})
		begin := time.Now()
		errs := make(chan error, 2)
		require.NoError(t, c.Send(rawRequest(), 2*time.Second, func(_ Answer, err error) { errs <- err }))
		require.NoError(t, c.Send(rawRequest(), time.Hour, func(_ Answer, err error) { errs <- err }))
		require.ErrorIs(t, <-errs, ErrTimeout)
		require.Equal(t, 2*time.Second, time.Since(begin))
		require.Error(t, <-errs, "what follows it can't be told apart any more")
		require.False(t, c.Usable())
		require.Error(t, c.Send(rawRequest(), time.Second, func(Answer, error) { t.Error("not sent, so not answered") }))
	})
}

func TestIdleConnectionNoticesItsEnd(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		end := make(chan struct{})
		c := connect(t, func(p peer) {
			<-end
			_ = p.nc.Close()
		})
		synctest.Wait()
		require.True(t, c.Usable())
		close(end)
		synctest.Wait()
		require.False(t, c.Usable())
	})
}

func TestIdleConnectionOutlivesDeadlines(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := connect(t, func(p peer) {
			for {
				key, id := p.request()
				if key < 0 {
					return
				}
				p.raw(id, "ok")
			}
		})
		for range 3 {
			got := make(chan error, 1)
			require.NoError(t, c.Send(rawRequest(), time.Second, func(_ Answer, err error) { got <- err }))
			require.NoError(t, <-got)
			<-time.After(time.Hour) // of the bubble's clock
		}
		require.True(t, c.Usable())
	})
}

func TestForeignBytes(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ bytes, want string }{
		"HTTP":        {"HTTP/1.1 400 Bad Request\r\n\r\n", "HTTP server"},
		"TLS alert":   {"\x15\x03\x03\x00\x02\x02\x46", "expects TLS"},
		"negative":    {"\xff\xff\xff\xff", "does not speak Kafka"},
		"huge":        {"\x7f\xff\xff\xff", "does not speak Kafka"},
		"tiny":        {"\x00\x00\x00\x00", "does not speak Kafka"},
		"wrong ID":    {"\x00\x00\x00\x04\x00\x00\x12\x34", "correlation ID"},
		"cut short":   {"\x00\x00\x00\x10\x00", "closed the connection"},
		"nothing":     {"", "closed the connection"},
		"empty array": {"\x00\x00\x00\x08\x00\x00\x00\x01\x7f\xff\xff\xff", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				conn := connect(t, func(p peer) {
					p.request()
					_, _ = p.nc.Write([]byte(c.bytes))
					_ = p.nc.Close()
				})
				_, err := conn.Do(t.Context(), &metadata.Request{}, time.Second)
				require.ErrorContains(t, err, c.want)
				synctest.Wait()
				require.False(t, conn.Usable())
			})
		})
	}
}

func TestUnaskedAnswer(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := connect(t, func(p peer) { p.raw(77, "hello") })
		synctest.Wait()
		require.ErrorContains(t, c.Err(), "what was not asked")
	})
}

func TestNoCommonVersion(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := connect(t, func(peer) {})
		_, ok := c.Version(protocol.Heartbeat, 0, 4)
		require.False(t, ok)
	})
}

func TestCloseAnswersWhatIsPending(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := connect(t, func(p peer) { p.request() })
		got := make(chan error, 1)
		require.NoError(t, c.Send(rawRequest(), time.Minute, func(_ Answer, err error) { got <- err }))
		c.Close()
		select {
		case err := <-got:
			require.ErrorIs(t, err, ErrClosed)
		default:
			t.Error("Close returned before the call was answered")
		}
	})
}

func TestRetireLetsThePendingFinish(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		goOn := make(chan struct{})
		c := connect(t, func(p peer) {
			_, id := p.request()
			<-goOn
			p.raw(id, "late")
		})
		got := make(chan error, 1)
		require.NoError(t, c.Send(rawRequest(), time.Minute, func(_ Answer, err error) { got <- err }))
		c.Retire()
		require.Error(t, c.Send(rawRequest(), time.Minute, func(Answer, error) {}))
		close(goOn)
		require.NoError(t, <-got)
		synctest.Wait()
		require.ErrorIs(t, c.Err(), ErrClosed)
	})
}

func TestNoAnswerIsDoneWhenItIsWritten(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := connect(t, func(p peer) { p.request(); p.request() })
		req := rawRequest()
		req.NoAnswer = true
		answered := false
		require.NoError(t, c.Send(req, time.Second, func(_ Answer, err error) { answered = err == nil }))
		require.True(t, answered)
		require.True(t, c.Usable())
	})
}

func TestDoHonoursItsContext(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := connect(t, func(p peer) { p.request() })
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		begin := time.Now()
		_, err := c.Do(ctx, &metadata.Request{}, time.Minute)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.Equal(t, time.Second, time.Since(begin))
	})
}

// TestDialIsBounded: a peer that takes the connection and says nothing.
func TestDialIsBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		begin := time.Now()
		_, err := Dial(t.Context(), pipeTo(t, func(p peer) { p.request() }), "broker:9092")
		require.Error(t, err)
		require.Equal(t, 5*time.Second, time.Since(begin))
	})
}

func TestDialError(t *testing.T) {
	t.Parallel()
	p := &Params{DialTimeout: time.Second, Dial: func(context.Context, string, string) (net.Conn, error) { return nil, errors.New("no route") }}
	_, err := Dial(t.Context(), p, "broker:9092")
	require.ErrorContains(t, err, "dial broker:9092: no route")
	p.ClientID = strings.Repeat("x", 1<<15)
	_, err = Dial(t.Context(), p, "broker:9092")
	require.ErrorContains(t, err, "client ID")
}

// FuzzFrames holds that no answer makes the reader panic, hang, or answer a call twice.
func FuzzFrames(f *testing.F) {
	f.Add([]byte("\x00\x00\x00\x08\x00\x00\x00\x01\x00\x00\x00\x00"))
	f.Add([]byte("HTTP/1.1 400 Bad Request\r\n"))
	f.Fuzz(func(t *testing.T, answer []byte) {
		conn, there := net.Pipe()
		go func() {
			_, _ = io.CopyN(io.Discard, there, 1)
			go func() { _, _ = io.Copy(io.Discard, there) }()
			_, _ = there.Write(answer)
			_ = there.Close()
		}()
		c := newConn(&Params{}, "fuzz", conn)
		c.versions[protocol.Metadata] = versions{0, 8}
		go c.read()
		answered := make(chan struct{}, 2)
		if c.Send(Request{Message: &metadata.Request{}}, time.Minute, func(Answer, error) { answered <- struct{}{} }) == nil {
			<-answered
		}
		c.Close()
		require.Empty(t, answered)
	})
}
