package service

import (
	"context"

	"github.com/google/uuid"
)

// turns lets the commands of one user through one after the other, from before
// the commit until the event is handed to the publisher: else two changes could
// be committed in one order and published in the other. It holds within this
// process; between instances, the order is that of an outbox.
//
// Users share the places of a fixed number: some wait for one another without need.
type turns []chan struct{}

func newTurns() turns {
	t := make(turns, 256)
	for i := range t {
		t[i] = make(chan struct{}, 1)
	}
	return t
}

// wait returns when it is the user's turn, or with the error of ctx. The caller
// calls done.
func (t turns) wait(ctx context.Context, user uuid.UUID) (done func(), err error) {
	place := t[int(user[15])%len(t)] // the last byte is random, or counted up, in every version of UUIDs
	select {
	case place <- struct{}{}:
		return func() { <-place }, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}
