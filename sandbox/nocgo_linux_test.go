//go:build linux && !cgo

package sandbox

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// TestWithoutCgo is what a program built with CGO_ENABLED=0 meets: it links and runs, and New says what is missing
// instead of making a sandbox without a filter. With cgo every other test is the control.
func TestWithoutCgo(t *testing.T) {
	sb, err := New()
	if sb != nil {
		sb.Close()
	}
	require.ErrorIs(t, err, ErrUnsupported)
	require.ErrorContains(t, err, "seccomp")
	require.ErrorContains(t, err, "cgo")
}
