package outbox

import (
	"context"
	"sync"
)

// Signal wakes the relays of this process. The zero value is ready; it must not
// be copied. Any number of goroutines may use it.
type Signal struct {
	mu    sync.Mutex
	wakes map[chan struct{}]struct{}
}

// Notify has the relays look for new rows now. Call it after the commit: rows
// of a transaction that is still open are not seen. It does not block.
func (s *Signal) Notify() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.wakes {
		wake(c)
	}
}

// wake leaves a token in c, where there is none.
func wake(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

func (s *Signal) join(c chan struct{}) (leave func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.wakes == nil {
		s.wakes = make(map[chan struct{}]struct{})
	}
	s.wakes[c] = struct{}{}
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.wakes, c)
	}
}

// Listener waits for notifications on a channel of the database, which
// database/sql has no way to do. It calls wake for each of them, and once when
// it has begun to listen, and returns when ctx or its connection ends; the relay
// calls it again after a pause. wake does not block. On PostgreSQL the channel
// has the name of the table. With pgx it is
//
//	func(ctx context.Context, channel string, wake func()) error {
//		conn, err := pgx.Connect(ctx, dsn) // of its own: it waits all the time
//		if err != nil {
//			return err
//		}
//		defer conn.Close(context.WithoutCancel(ctx))
//		if _, err := conn.Exec(ctx, "LISTEN "+pgx.Identifier{channel}.Sanitize()); err != nil {
//			return err
//		}
//		for {
//			wake()
//			if _, err := conn.WaitForNotification(ctx); err != nil {
//				return err
//			}
//		}
//	}
//
// A pooler that gives a connection away after each transaction does not carry
// notifications: connect to the server itself.
type Listener func(ctx context.Context, channel string, wake func()) error
