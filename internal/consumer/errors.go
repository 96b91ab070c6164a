package consumer

import (
	"errors"
	"fmt"

	"github.com/expensevault/sharedlibrary/internal/cluster"
	"github.com/expensevault/sharedlibrary/internal/kerr"
	"github.com/expensevault/sharedlibrary/internal/wire"
)

// OutOfRangeError is what Run returns with the policy [StopRun] when the
// position is not in the log, be it that retention passed it, be it that the topic was created anew.
// It unwraps to [kerr.OffsetOutOfRange].
type OutOfRangeError struct {
	Topic     string
	Partition int32
	Offset    int64 // where the group stands
	Start     int64 // where the log begins
}

func (e *OutOfRangeError) Error() string {
	return fmt.Sprintf("consumer: offset %d of %s/%d is out of range: the log begins at %d; reset the group's offset, or choose to go on from there",
		e.Offset, e.Topic, e.Partition, e.Start)
}

func (e *OutOfRangeError) Unwrap() error { return kerr.OffsetOutOfRange }

// PanicError is what Run returns when Handle panicked.
type PanicError struct {
	Value any
	Stack []byte
}

func (e *PanicError) Error() string { return fmt.Sprintf("consumer: handler panicked: %v", e.Value) }

// fatal reports whether another try would end the same way.
func fatal(err error) bool {
	var auth *wire.AuthError
	if errors.As(err, &auth) || errors.Is(err, cluster.ErrClosed) {
		return true
	}
	var code kerr.Code
	if !errors.As(err, &code) {
		return false
	}
	switch code { //nolint:exhaustive // all others may pass
	case kerr.GroupAuthorizationFailed, kerr.TopicAuthorizationFailed, kerr.ClusterAuthorizationFailed,
		kerr.InvalidGroupId, kerr.InvalidSessionTimeout, kerr.InconsistentGroupProtocol, kerr.GroupMaxSizeReached,
		kerr.FencedInstanceId, kerr.UnsupportedVersion, kerr.InvalidTopicException, kerr.UnsupportedCompressionType,
		kerr.SaslAuthenticationFailed, kerr.UnsupportedForMessageFormat, kerr.InvalidRequest:
		return true
	}
	return false
}

// moved reports that another broker coordinates the group, now or soon.
func moved(c kerr.Code) bool {
	return c == kerr.NotCoordinator || c == kerr.CoordinatorNotAvailable || c == kerr.CoordinatorLoadInProgress
}
