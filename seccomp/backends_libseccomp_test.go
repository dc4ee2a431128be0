//go:build linux && cgo && (amd64 || arm64) && !belljar_noseccomplib

package seccomp

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func init() {
	backends["libseccomp"] = nativeBackend
	backends["libseccomp, linear"] = func(arch Arch, p Policy) ([]insn, error) { return library(arch, p, chain) }
}

// TestVerifyFindsLostRules spoils the search in every instruction and expects that what changes the meaning is found.
func TestVerifyFindsLostRules(t *testing.T) {
	p := Default()
	l := newLinker(NativeArch(), p)
	raw, err := search(l.labels, tree)
	require.NoError(t, err)
	good := decode(raw)
	require.NoError(t, l.verify(NativeArch(), good))
	found := 0
	for pc := range good {
		spoiled := slices.Clone(good)
		spoiled[pc].k++
		if l.verify(NativeArch(), spoiled) != nil {
			found++
		}
	}
	assert.Greater(t, found, len(good)*3/4)
	require.Error(t, l.verify(NativeArch(), good[:len(good)-1]))
	_, err = l.link([]insn{ret(Allow)})
	require.ErrorContains(t, err, hex(uint64(Allow)))
}
