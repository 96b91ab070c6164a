package failpoint_test

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/expensevault/sharedlibrary/internal/failpoint"
)

func TestHit(t *testing.T) {
	t.Parallel()
	require.NoError(t, failpoint.Hit(t.Context(), "anywhere"))
	crash := errors.New("crash")
	ctx := failpoint.With(t.Context(), func(point string) error {
		if point == "here" {
			return crash
		}
		return nil
	})
	require.NoError(t, failpoint.Hit(ctx, "there"))
	require.ErrorIs(t, failpoint.Hit(ctx, "here"), crash)
}
