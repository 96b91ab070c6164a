package itest

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestConformance is one suite for every kind of broker.
func TestConformance(t *testing.T) {
	t.Parallel()
	eachBroker(t, func(t *testing.T, b broker) {
		for _, c := range []struct {
			name string
			run  func(*testing.T, broker)
		}{
			{"other clients agree with each other", otherClientsAgree},
			{"publish: the guide's events", publishGuideEvents},
			{"publish: compression", publishCompressed},
			{"publish: order", publishInOrder},
			{"publish: partitions as librdkafka", publishWhereLibrdkafkaDoes},
			{"publish: partitions as Java", publishWhereJavaDoes},
			{"publish: what every Publisher does", publishConforms},
			{"publish: no such topic", publishToNoTopic},
			{"publish: too large", publishTooLarge},
			{"subscribe: two members", subscribeShared},
			{"topics: created, and never changed", ensureCreates},
			{"topics: the broker's defaults", ensureDefaults},
			{"topics: mapped names", ensureMapped},
			{"topics: one cannot be created", ensureSome},
			{"topics: many processes at once", ensureAtOnce},
			{"subscribe: correlation, causation and trace", subscribeCarriesContext},
			{"subscribe: records without headers", subscribeWithoutHeaders},
			{"subscribe: poison", subscribePoison},
			{"subscribe: retries", subscribeRetries},
			{"subscribe: gives up", subscribeGivesUp},
			{"subscribe: no dead-letter topic", subscribeNoDeadTopic},
			{"subscribe: resumes", subscribeResumes},
			{"subscribe: large poison", subscribeLargePoison},
			{"subscribe: from the latest on", subscribeLatest},
			{"subscribe: a batch that is too large", subscribeLargeBatch},
			{"both: a codec of the service's own", ownCodec},
			{"subscribe: batches", subscribeBatches},
			{"subscribe: retry topics", subscribeRetryTopics},
			{"subscribe: paused", subscribePauses},
			{"redrive: what was selected", redriveSelected},
			{"redrive: to one group", redriveToOneGroup},
			{"redrive: fails in the middle", redriveFailsInTheMiddle},
			{"redrive: misused", redriveIsMisused},
			{"group: seek and lag", groupSeeks},
			{"group: no seek with members", seekIsRefused},
		} {
			t.Run(c.name, func(t *testing.T) {
				t.Parallel()
				c.run(t, b)
			})
		}
	})
}

// otherClientsAgree shows that the two clients by which we judge ours read alike.
func otherClientsAgree(t *testing.T, b broker) {
	topic := b.topic(t, 3)
	kcat(t, strings.NewReader("user-1=first\nuser-2=second, with a comma\nuser-1=third"), "-P", "-b", b.address, "-t", topic, "-K", "=", "-H", "content-type=text/plain", "-H", "a=b,c:d")
	byKcat, byConsole := kcatRead(t, b, topic, 3), consoleRead(t, b, topic, 3)
	require.ElementsMatch(t, byKcat, byConsole)
}
