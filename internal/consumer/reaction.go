package consumer

import (
	"errors"

	"github.com/expensevault/sharedlibrary/internal/kerr"
)

// reaction is what the coordinator's answer, or none, has a member do.
type reaction uint8

const (
	goOn      reaction = iota // nothing
	tryAgain                  // the same again after a pause, from another coordinator if need be
	joinAgain                 // join again, and keep what the protocol lets it keep
	loseAll                   // what is held may be another member's: give it up without a commit, and join anew
	endRun                    // another try would end the same way
)

// reactionTo is the one table of what JoinGroup, SyncGroup, Heartbeat and OffsetCommit can answer.
//
//   - None, nil: go on.
//   - RebalanceInProgress: the group is about to share out anew and waits for this member. To a commit it says that JoinGroup is
//     answered and SyncGroup is not: what is held is not lost.
//   - MemberIdRequired (JoinGroup): the answer has the ID to join with.
//   - UnknownMemberId: the session or the rebalance timeout is over, the group has gone on without us, and our partitions may
//     be others'. The ID is worth nothing any more.
//   - IllegalGeneration: the same, but the ID is still good. While a JoinGroup is under way it says only that the answer to that is
//     about to come, see [session.judge].
//   - FencedInstanceId: another process has our instance ID. Whoever came last is right, so that a restart works; joining again
//     would fence the other one in turn, for ever.
//   - NotCoordinator, CoordinatorNotAvailable, CoordinatorLoadInProgress, a connection that ends, no answer in time, and every code
//     that may pass: the next try, after a pause, looks for the coordinator anew. The membership outlasts that as long as the session.
//   - What [fatal] names (authorization, InconsistentGroupProtocol, InvalidSessionTimeout, …): end.
func reactionTo(err error) reaction {
	var code kerr.Code
	switch {
	case err == nil:
		return goOn
	case fatal(err):
		return endRun
	case !errors.As(err, &code):
		return tryAgain
	}
	switch code { //nolint:exhaustive // all others may pass
	case kerr.None:
		return goOn
	case kerr.RebalanceInProgress, kerr.MemberIdRequired:
		return joinAgain
	case kerr.UnknownMemberId, kerr.IllegalGeneration:
		return loseAll
	}
	return tryAgain
}
