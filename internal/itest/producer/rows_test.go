package producer_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestEveryPromiseHasItsTest holds the table of what a publisher promises under faults against the tests that show it.
func TestEveryPromiseHasItsTest(t *testing.T) {
	t.Parallel()
	var tests []byte
	for _, pattern := range []string{"*_test.go", "../*_test.go", "../soak/*.go", "../../cluster/*_test.go", "../../producer/*_test.go"} {
		files, err := filepath.Glob(pattern)
		require.NoError(t, err)
		for _, f := range files {
			if filepath.Base(f) == "rows_test.go" {
				continue
			}
			text, err := os.ReadFile(f)
			require.NoError(t, err)
			tests = append(tests, text...)
		}
	}
	for promise, shownBy := range map[string][]string{
		"a broker is killed and comes back":        {"SIGKILL of a broker", "SIGTERM of a broker"},
		"leaders move":                             {"TestProducerBatchRetriesWhenPartitionLeaderChanges", "leaders move"},
		"answers are lost":                         {"the answer is lost", "lost replies"},
		"requests are cut in the middle":           {"the request is cut", "cut requests"},
		"connections are cut":                      {"cut connections"},
		"requests are late":                        {"TestExpiryOfAllSentBatchesShouldCauseUnresolvedSequences", "zombie requests"},
		"a black hole shorter than the deadline":   {"TestBlackHoleShorterThanTheDeadline", "black hole, short"},
		"a black hole longer than the deadline":    {"TestInflightBatchesExpireOnDeliveryTimeout", "black hole, long"},
		"a slow network":                           {"slow network"},
		"too few replicas":                         {"TestSenderShouldRetryWithBackoffOnRetriableError", "NOT_ENOUGH_AFTER_APPEND"},
		"each code of an answer":                   {"TestBrokersAnswers", "whatIsTriedAgain"},
		"an unknown topic":                         {"TestUnknownTopicIsToldInTime", "TestTopicCreatedMeanwhile"},
		"too large for the broker":                 {"TestIdempotentSplitBatchAndSend", "TestTooLargeForTheBroker"},
		"wrong password, certificate, host name":   {"TestTLS", "TestSASL", "TestAWrongPasswordIsTriedThreeTimesAMinute"},
		"a missing right":                          {"TestClusterAuthorizationExceptionInProduceRequest", "no rights"},
		"sessions end, passwords are replaced":     {"TestSessionsEnd", "TestPasswordIsReplacedUnderLoad", "TestPasswordIsWrongForGood"},
		"another epoch, or fenced":                 {"TestEpochBumpOnOutOfOrderSequenceForNextBatchWhenThereIsNoBatchInFlight", "TestSequencedIsRefused"},
		"out of order behind a batch":              {"TestCorrectHandlingOfOutOfOrderResponses"},
		"the broker has forgotten the producer":    {"TestIdempotentUnknownProducerHandlingWhenRetentionLimitReached"},
		"epochs run out":                           {"TestEpochsRunOut"},
		"the process is stopped and continued":     {"publisher stopped, long"},
		"the broker is down at full speed":         {"TestMemoryIsBoundedWithTheBrokerDown", "TestBufferFull"},
		"a context ends before, queued, under way": {"TestCancelled", "TestCancelledInFlight"},
		"Close under load, twice":                  {"TestCloseUnderLoadWithTheBrokerDown", "TestClosed"},
		"partitions are added":                     {"TestPartitionsAreAdded"},
	} {
		for _, name := range shownBy {
			require.Contains(t, string(tests), name, promise)
		}
	}
}
