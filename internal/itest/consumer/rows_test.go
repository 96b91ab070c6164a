package consumer_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestEveryFaultHasItsTest: what goes wrong in other clients and frameworks when they consume, and what shows that it does not here.
func TestEveryFaultHasItsTest(t *testing.T) {
	t.Parallel()
	var tests []byte
	for _, pattern := range []string{
		"*_test.go", "../*_test.go", "../outbox/*_test.go", "../telemetry/*_test.go", "../soakconsume/*.go", "../../consumer/*_test.go", "../../lane/*_test.go",
		"../../recordbatch/*_test.go", "../../../messaging/*_test.go",
	} {
		files, err := filepath.Glob(pattern)
		require.NoError(t, err)
		require.NotEmpty(t, files, pattern)
		for _, f := range files {
			if filepath.Base(f) == "rows_test.go" {
				continue
			}
			text, err := os.ReadFile(f)
			require.NoError(t, err)
			tests = append(tests, text...)
		}
	}
	for fault, shownBy := range map[string][]string{
		"a commit of a former owner rewinds the group":               {"TestAStaleCommitNeverRewinds", "TestACommitNeverGoesBackwards"},
		"aborted records and markers are delivered":                  {"TestAbortedRecordsAndMarkersAreNotDelivered"},
		"records of a revoked partition are handled":                 {"TestMembersShareAndHandOver", "TestTheContextEndsWhenThePartitionIsLost", "TestAPushEndsWithTheSession"},
		"the offset is committed before the handler has returned":    {"TestCommitsOnlyWhatWasHandled"},
		"retention has passed the offset, and nobody hears of it":    {"TestOffsetOutOfRange"},
		"new partitions and later topics are never read":             {"TestNewTopicsAndPartitionsAreTakenUp", "TestNewPartitionsAreTakenUpAfterAStaticLeaderHasRestarted"},
		"stuck after a broker's restart":                             {"TestTheBrokerRestarts", "TestTheCoordinatorMoves", "TestConnectionsAreCut"},
		"a later commit passes a record that failed":                 {"TestTheCommitStaysBelowWhatFails"},
		"a retry or dead letter that cannot be written is forgotten": {"TestDeadLetterThatCannotBeWritten", "subscribe: no dead-letter topic", "TestRetryTopics"},
		"keys are not kept apart, or not in order":                   {"TestHandlesEverythingInOrder", "TestKeysOfOnePartitionAreHandledAtOnce", "TestScheduler"},
		"health is good whatever happens":                            {"TestHealthOfANetwork", "TestHealthOfAHandler", "TestHealthOfWhatStopped"},
		"an ID counts as handled before the handler has succeeded":   {"TestInboxRollsBack", "TestInboxAtOnce"},
		"poison stops everything, or loses its key":                  {"subscribe: poison", "TestUndecodableIsDeadLetteredAtOnce", "TestMiddlewareCannotChangeTheDeadLetter"},
		"a handler's own cancelled context is taken for success":     {"TestHandlersOwnContextErrorIsAFailure"},
		"a stop commits what was not handled":                        {"TestFailureWhileStoppingIsUnfinished", "TestStopDrainsForABoundedTime"},
		"an exception is logged, and the record finished":            {"TestAnErrorOfTheHandlerEndsRun", "TestSpentRetriesAreDeadLettered", "TestFailsTwiceThenSucceeds"},
		"what nobody handles is passed over in silence":              {"TestUnhandled"},
		"back-pressure leaves the group":                             {"TestASlowHandlerIsNotFlooded", "TestALongHandlerKeepsItsMembership", "TestAPausedTopicWaitsWhileHeartbeatsGoOn"},
		"a crash has everything since the last commit handled again": {"TestResumesAfterRestart", "TestMarkOfGaps", "TestAboveIsBounded"},
		"killed between effect and commit":                           {"TestInboxHandlesOnce", "syscall.SIGKILL"},
		"a graceful stop handles again, or hangs":                    {"TestStopsInBoundedTimeWithoutABroker", "TestAHandlerThatIgnoresItsContextDoesNotHoldTheStop"},
		"frozen for longer than its session":                         {"syscall.SIGSTOP", "TestSettlingALostMembership"},
		"a handler takes longer than the session":                    {"TestALongHandlerKeepsItsMembership"},
		"a panic, or the end of a goroutine":                         {"TestPanicIsRetriedAndItsStackLoggedOnce", "TestAPanicOfTheHandlerEndsRun", "TestAHandlerThatEndsItsGoroutineEndsRun", "TestErrorThatPanics"},
		"a poison record is tried for ever":                          {"subscribe: gives up", "TestPermanentIsDeadLetteredAtOnce"},
		"a topic is created anew, offsets are beyond its end":        {"beyond the end"},
		"a decompression bomb":                                       {"TestABombStopsWithATypedError", "TestBatchesBeyondTheLimits"},
		"a compacted topic with empty batches":                       {"TestACompactedTopic"},
		"a rebalance storm":                                          {"TestACooperativeRebalanceStopsOnlyWhatMoves", "TestARebalanceWaitsForTheHandler", "TestStopsWhileTheGroupRebalances"},
		"groups of several kinds of client":                          {"TestSharesAGroupWithJava", "TestSharesAGroupWithFranzGo", "TestLeadsMembersWithOtherTopics"},
	} {
		for _, name := range shownBy {
			require.Contains(t, string(tests), name, fault)
		}
	}
}
