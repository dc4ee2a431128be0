package cgroup

import (
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Files that stay open tell what those opened anew tell, at every moment, and go with the leaf.
func TestKeepOpen(t *testing.T) {
	m := testManager(t, Limits{Memory: 64 << 20, Pids: 20})
	leaf := testLeaf(t, m, "job", Limits{Memory: 32 << 20, Pids: 10})
	count := func() (n int) { // of the leaf alone: earlier tests may have something to close yet
		list, err := os.ReadDir("/proc/self/fd")
		require.NoError(t, err)
		for _, e := range list {
			if to, err := os.Readlink("/proc/self/fd/" + e.Name()); err == nil && strings.Contains(to, "/job") {
				n++
			}
		}
		return n
	}
	before := count()
	leaf.KeepOpen()
	kept := count()
	require.Greater(t, kept, before)
	leaf.KeepOpen()
	assert.Equal(t, kept, count(), "once is enough")
	some, err := leaf.Populated()
	require.NoError(t, err)
	assert.False(t, some)

	cmd := start(t, leaf, "/bin/sh", "-c", "i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done; sleep 100")
	some, err = leaf.Populated()
	require.NoError(t, err)
	assert.True(t, some, "a file that stays open is read anew")
	require.NoError(t, leaf.Kill(late()))
	_ = cmd.Wait()
	eventually(t, "both tell the same", func() bool { // who has been waited for may use its processor a moment longer
		leaf.KeepOpen()
		s, err := leaf.Totals()
		require.NoError(t, err)
		assert.Positive(t, s.CPU.Total)
		assert.Positive(t, s.Memory.Peak)
		assert.Positive(t, s.Pids.Peak)
		leaf.CloseKept()
		assert.Equal(t, before, count())
		anew, err := leaf.Totals()
		require.NoError(t, err)
		return s.CPU.Total == anew.CPU.Total && s.Memory.Peak == anew.Memory.Peak && s.Pids == anew.Pids
	})

	leaf.KeepOpen()
	require.NoError(t, leaf.Delete())
	assert.Zero(t, count(), "nothing of a deleted leaf is open")
	leaf.KeepOpen()
	assert.Zero(t, count())
	_, err = leaf.Totals()
	assert.ErrorIs(t, err, ErrClosed)
}

// Who is in a group is looked at anew each time, also where no counter tells how many.
func TestKeptMembers(t *testing.T) {
	m, err := NewWith(testParent(t), "sb", Limits{Memory: 64 << 20}, Options{Accounts: MemoryController})
	require.NoError(t, err)
	t.Cleanup(func() {
		require.NoError(t, m.Kill(late()))
		require.NoError(t, m.Delete())
	})
	leaf := testLeaf(t, m, "job", Limits{})
	leaf.KeepOpen()
	cmd := start(t, leaf, "sleep", "100")
	some, err := leaf.Populated()
	require.NoError(t, err)
	assert.True(t, some)
	require.NoError(t, cmd.Process.Kill())
	_ = cmd.Wait()
	eventually(t, "nobody is left", func() bool { // the kernel may take a moment, but what it has shown before it shows for as long as one asks
		some, err := leaf.Populated()
		require.NoError(t, err)
		return !some
	})
}

// A leaf that was made ahead is not told of what happened to others before its command began.
func TestBegin(t *testing.T) {
	m := testManager(t, Limits{CPUs: 0.1})
	ahead, control := testLeaf(t, m, "ahead", Limits{}), testLeaf(t, m, "control", Limits{})
	other := testLeaf(t, m, "other", Limits{})
	start(t, other, "/bin/sh", "-c", "while :; do :; done")
	eventually(t, "throttled", func() bool {
		s, err := other.Stats()
		require.NoError(t, err)
		return s.CPU.Throttled > 0
	})
	require.NoError(t, m.Update(Limits{CPUs: Max})) // what is held back at its end is counted at the end of that period otherwise
	require.NoError(t, other.Kill(late()))
	require.NoError(t, ahead.Begin())
	s, err := ahead.Totals()
	require.NoError(t, err)
	assert.Zero(t, s.CPU.Throttled)
	s, err = control.Totals()
	require.NoError(t, err)
	assert.Positive(t, s.CPU.Throttled, "control")
	require.NoError(t, ahead.Delete())
	assert.ErrorIs(t, ahead.Begin(), ErrClosed)
}
