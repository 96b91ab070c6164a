// Package servicetest is for the tests of customservice: what they need of the
// machine.
package servicetest

import (
	"os"
	"slices"
	"strings"
	"testing"
)

// Address returns the environment variable, with which a test finds a real
// service. Where it is not set the test is skipped, or fails when ITEST_REQUIRE,
// a list with commas, names the service.
func Address(t testing.TB, service, variable string) string {
	t.Helper()
	address := os.Getenv(variable)
	if address != "" {
		return address
	}
	if slices.Contains(strings.Split(os.Getenv("ITEST_REQUIRE"), ","), service) {
		t.Fatalf("ITEST_REQUIRE names %s, but %s is not set", service, variable)
	}
	t.Skipf("%s is not set: this test needs a running %s there", variable, service)
	return ""
}
