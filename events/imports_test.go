package events_test

import (
	"os/exec"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// The contract must stay light: whoever imports it gets no Kafka with it.
func TestImportsOnlyTheStandardLibraryAndUUID(t *testing.T) {
	t.Parallel()
	out, err := exec.CommandContext(t.Context(), "go", "list", "-deps", "-f", "{{if not .Standard}}{{.ImportPath}}{{end}}", ".").CombinedOutput()
	require.NoError(t, err, string(out))
	assert.ElementsMatch(t, []string{"github.com/google/uuid", "github.com/expensevault/sharedlibrary/events"}, strings.Fields(string(out)))
}
