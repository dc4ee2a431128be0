package cgroup

import (
	"os"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// A group that is made by the owner's descriptors is the same as one made by path, and a step that fails leaves nothing of it.
func TestOwnerNew(t *testing.T) {
	w, err := NewOwner(testBase(t), os.Getpid(), Options{Number: 7})
	require.NoError(t, err)
	defer func() { require.NoError(t, w.Close(), "something is left") }()
	limits := Limits{Memory: 64 << 20, Pids: 20}
	byPath, err := New(w.Parent(), "path", limits)
	require.NoError(t, err)
	defer byPath.Delete()
	var steps int
	byFD, err := w.New("fd", limits, Options{Trace: func(Op) error { steps++; return nil }})
	require.NoError(t, err)
	defer byFD.Delete()
	require.Equal(t, len(byPath.dirs), len(byFD.dirs))
	for i, d := range byFD.dirs {
		assert.Equal(t, byPath.dirs[i].Controllers, d.Controllers)
		for _, file := range []string{"memory.limit_in_bytes", "memory.max", "pids.max", "cgroup.subtree_control"} {
			want, wantErr := os.ReadFile(byPath.dirs[i].Path + "/" + file)
			got, gotErr := os.ReadFile(d.Path + "/" + file)
			assert.Equal(t, string(want), string(got), d.Path+"/"+file)
			assert.Equal(t, wantErr == nil, gotErr == nil)
		}
	}
	for n := range steps {
		at := 0
		_, err := w.New("bad", limits, Options{Trace: func(Op) error {
			if at++; at == n+1 {
				return unix.EXFULL
			}
			return nil
		}})
		require.ErrorIs(t, err, unix.EXFULL)
		for _, d := range w.Parent().Dirs {
			assert.NoDirExists(t, d.Path+"/bad")
		}
	}
	require.NoError(t, byFD.Kill(late()))
}
