package main

import (
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestReadmeShowsThisCode holds that what the README shows is what runs here.
func TestReadmeShowsThisCode(t *testing.T) {
	t.Parallel()
	readme, err := os.ReadFile("../../README.md")
	require.NoError(t, err)
	code, err := os.ReadFile("main.go")
	require.NoError(t, err)
	_, body, found := strings.Cut(string(code), "package main")
	require.True(t, found)
	require.Contains(t, string(readme), "```go\npackage main"+strings.TrimRight(body, "\n")+"\n```")
}

func TestItRuns(t *testing.T) {
	t.Parallel()
	out, err := exec.CommandContext(t.Context(), "go", "run", ".").CombinedOutput()
	require.NoError(t, err, string(out))
	require.Contains(t, string(out), `handled created "Sample Item", correlation ID `)
}
