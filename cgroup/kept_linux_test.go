package cgroup

import (
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Files that stay open tell what those opened anew tell, at every moment, and go with the leaf.
func TestKeepOpen(t *testing.T) {
	m := testManager(t, Limits{Memory: 64 << 20, Pids: 20})
	leaf := testLeaf(t, m, "job", Limits{Memory: 32 << 20, Pids: 10})
	count := func() int {
		list, err := os.ReadDir("/proc/self/fd")
		require.NoError(t, err)
		return len(list)
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
	require.NoError(t, leaf.Kill(time.Now().Add(10*time.Second)))
	_ = cmd.Wait()
	s, err := leaf.Totals()
	require.NoError(t, err)
	assert.Positive(t, s.CPU.Total)
	assert.Positive(t, s.Memory.Peak)
	assert.Positive(t, s.Pids.Peak)
	leaf.CloseKept()
	assert.Equal(t, before, count())
	anew, err := leaf.Totals()
	require.NoError(t, err)
	assert.Equal(t, s.CPU.Total, anew.CPU.Total)
	assert.Equal(t, s.Memory.Peak, anew.Memory.Peak)
	assert.Equal(t, s.Pids, anew.Pids)

	leaf.KeepOpen()
	require.NoError(t, leaf.Delete())
	assert.Less(t, count(), before, "nothing of a deleted leaf is open")
	leaf.KeepOpen()
	assert.Less(t, count(), before)
	_, err = leaf.Totals()
	assert.ErrorIs(t, err, ErrClosed)
}

// A leaf that was made ahead is not told of what happened to others before its command began.
func TestBegin(t *testing.T) {
	m := testManager(t, Limits{CPUs: 0.2})
	ahead, control := testLeaf(t, m, "ahead", Limits{}), testLeaf(t, m, "control", Limits{})
	other := testLeaf(t, m, "other", Limits{})
	start(t, other, "/bin/sh", "-c", "while :; do :; done")
	eventually(t, "throttled", func() bool {
		s, err := other.Stats()
		require.NoError(t, err)
		return s.CPU.Throttled > 0
	})
	require.NoError(t, other.Kill(time.Time{}))
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
