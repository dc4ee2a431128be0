package cgroup

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// What is asked beyond the limits above is told, and it is theirs that hold.
func TestCeiling(t *testing.T) {
	m := testManager(t, Limits{Memory: 32 << 20, Pids: 50, CPUs: 0.5})
	c := Parent{Dirs: slices.Clone(m.dirs)}.Ceiling()
	assert.Equal(t, Limits{Memory: 32 << 20, Pids: 50, CPUs: 0.5}, c)
	notes := Limits{Memory: 1 << 30, Pids: 60, CPUs: 1}.Beyond(c)
	require.Len(t, notes, 3)
	assert.Contains(t, notes[0], "Memory 1073741824: the groups above allow 33554432")
	assert.Empty(t, Limits{Memory: 32 << 20, Pids: 50, CPUs: 0.5}.Beyond(c))
	assert.Empty(t, Limits{Memory: Max, CPUs: Max, Pids: Max}.Beyond(c))
	assert.Empty(t, Limits{Memory: 1 << 30}.Beyond(Limits{}))
	in, err := New(Parent{m.dirs[:1]}, "inner", Limits{})
	require.NoError(t, err)
	require.NoError(t, in.Delete())
	inner := testLeaf(t, m, "cmd", Limits{Memory: 1 << 30})
	require.Error(t, run(self(inner, "hog 128")))
}

func TestParseCeiling(t *testing.T) {
	for s, want := range map[string]int64{"max\n": 0, "4096\n": 4096, "0\n": 1, "9223372036854771712\n": 0, "": 0, "x": 0, "18446744073709551615": 0} {
		assert.Equal(t, want, parseLimit(s), s)
	}
	for s, want := range map[string]float64{"max 100000\n": 0, "50000 100000\n": 0.5, "-1\n 100000\n": 0, "1 0": 0, "": 0, "1 2 3": 0} {
		assert.Equal(t, want, parseCPUMax(s), s)
	}
}
