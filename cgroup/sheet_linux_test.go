package cgroup

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// Who reads a leaf's files for somebody else, and understands nothing of them, has its accounts read all the same.
func TestSheet(t *testing.T) {
	m := testManager(t, Limits{Memory: 64 << 20, Pids: 20, CPUs: 0.9})
	leaf := testLeaf(t, m, "job", Limits{Memory: 32 << 20, Pids: 10})
	_, _, ok := leaf.Sheet()
	assert.False(t, ok, "nothing is open")
	leaf.KeepOpen()
	cmd := start(t, leaf, "/bin/sh", "-c", "i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done; (:); sleep 100")
	s, fds, ok := leaf.Sheet()
	if !ok {
		skip(t, "this host's hierarchy does not tell in one file whether a group is empty")
	}
	read := func() [][]byte {
		texts := make([][]byte, len(fds))
		for i, fd := range fds {
			b := make([]byte, s.Files[i].Room)
			n, err := unix.Pread(fd, b, 0)
			require.NoError(t, err)
			assert.Less(t, n, len(b), s.Files[i].Name)
			texts[i] = b[:n]
		}
		return texts
	}
	alone := func() uint32 {
		b := make([]byte, s.Files[s.Alone].Room)
		_, err := unix.Pread(fds[s.Alone], b, 0)
		require.NoError(t, err)
		return word(string(b[s.At : s.At+4]))
	}
	assert.NotEqual(t, s.Empty, alone(), "somebody is there")
	require.NoError(t, leaf.Kill(late()))
	_ = cmd.Wait()
	some, err := leaf.Populated()
	require.NoError(t, err)
	require.False(t, some)
	eventually(t, "nobody is there", func() bool { return alone() == s.Empty }) // on v1 not even a zombie, which is another's to wait for

	var want, got Stats
	var texts [][]byte
	eventually(t, "both tell the same", func() bool { // who has been waited for may use its processor a moment longer
		want, err = leaf.Totals()
		require.NoError(t, err)
		texts = read()
		got, err = s.Totals(texts)
		require.NoError(t, err)
		return assert.ObjectsAreEqual(want, got)
	})
	assert.Positive(t, got.CPU.Total)

	for i := range 5 { // who knows one knows the others
		other := testLeaf(t, m, fmt.Sprintf("other%d", i), Limits{Memory: 32 << 20, Pids: 10})
		other.KeepOpen()
		o, _, ok := other.Sheet()
		require.True(t, ok)
		assert.Equal(t, s.Files, o.Files)
	}

	for i := range texts {
		texts[i] = nil
	}
	_, err = s.Totals(texts)
	assert.Error(t, err, "what could not be read is no zero")
	_, err = s.Totals(nil)
	assert.Error(t, err)
}
