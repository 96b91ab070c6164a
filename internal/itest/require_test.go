package itest

import (
	"os"
	"slices"
	"strings"
	"testing"
)

// What ITEST_REQUIRE may name.
const (
	embeddedBroker  = "embedded"  // messaging/embedded
	realBroker      = "real"      // KAFKA_BOOTSTRAP_SERVERS and what else .ci/kafka prints
	containerBroker = "container" // a Docker engine and an image of Kafka
	otherClients    = "tools"     // kcat, and Java with Kafka's jars in KAFKA_TEST_LIBS
)

// absent ends the test because something is not there: skipped, or failed when ITEST_REQUIRE names it.
func absent(t *testing.T, what, why string) {
	t.Helper()
	required := strings.Split(os.Getenv("ITEST_REQUIRE"), ",")
	if slices.Contains(required, what) {
		t.Fatalf("ITEST_REQUIRE names %q, but %s", what, why)
	}
	t.Skipf("%s (ITEST_REQUIRE=%s would make this a failure)", why, what)
}

// env returns the variable, or ends the test when it is not set; what names whose it is.
func env(t *testing.T, what, name string) string {
	t.Helper()
	value := os.Getenv(name)
	if value == "" {
		absent(t, what, name+" is not set (.ci/kafka start prints it)")
	}
	return value
}
