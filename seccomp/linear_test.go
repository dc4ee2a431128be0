//go:build linux && cgo && (amd64 || arm64)

package seccomp

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// compileLinear compiles without libseccomp's tree.
func compileLinear(t testing.TB, p Policy) Program {
	program, err := p.compileWith(func(labels map[uint32]label) ([]byte, error) { return search(labels, chain) })
	require.NoError(t, err)
	return program
}
