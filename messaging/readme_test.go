package messaging

import (
	"os"
	"regexp"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestReadmeListsTheSettings holds the README's table against the one that Load goes by, names, order and defaults.
func TestReadmeListsTheSettings(t *testing.T) {
	t.Parallel()
	readme, err := os.ReadFile("../README.md")
	require.NoError(t, err)
	rows := regexp.MustCompile("(?m)^\\| `(\\w+)` \\| (?:`([^`]*)`)? ?\\|").FindAllStringSubmatch(string(readme), -1)
	var names []string
	for _, s := range settings() {
		names = append(names, s.name)
	}
	var listed []string
	fromTable := Config{}
	for _, row := range rows {
		listed = append(listed, row[1])
		for _, s := range settings() {
			if s.name == row[1] && row[2] != "" && row[2] != "{}" {
				require.NoError(t, s.set(&fromTable, row[2]))
			}
		}
	}
	require.Equal(t, names, listed)
	fromTable.Topics = map[string]string{}
	require.Equal(t, DefaultConfig(), fromTable)
}
