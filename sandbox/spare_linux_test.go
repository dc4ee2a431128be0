package sandbox

import (
	"fmt"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/belljar-go/belljar/cgroup"
)

// leavesOf are the groups of commands that a sandbox has.
func leavesOf(t *testing.T, sb *Sandbox) []string {
	t.Helper()
	h, err := cgroup.Detect()
	require.NoError(t, err)
	base, err := h.Base(cgroup.PidsController)
	require.NoError(t, err)
	e := sb.engine
	var all []string
	for _, d := range base.Dirs {
		if d.Controllers.Has(cgroup.PidsController) {
			all, err = filepath.Glob(fmt.Sprintf("%s/belljar-%d-*/sandbox-%d/job-*", d.Path, e.z.pid, e.box))
			require.NoError(t, err)
		}
	}
	return all
}

// spareOf is the leaf that stands ready while no command runs, once that of the last command has gone; "": there is none.
func spareOf(t *testing.T, sb *Sandbox) string {
	t.Helper()
	before := leavesOf(t, sb)
	time.Sleep(20 * time.Millisecond)
	if now := leavesOf(t, sb); len(now) == 1 && slices.Equal(before, now) {
		return now[0]
	}
	return ""
}

// A leaf that was made ahead is like one that was not: it has the limits of its command, and nothing of any other's.
func TestSpareLeaf(t *testing.T) {
	t.Parallel()
	sb := grouped(t, standing(t, WithMemory("256m"), WithPids(20)))
	_, res := try(t, sb, "exit 3")
	require.Equal(t, 3, res.ExitCode)
	eventually(t, "a sandbox with a single command makes none", func() bool { return len(leavesOf(t, sb)) == 0 })
	spare := func() {
		t.Helper()
		_, res := try(t, sb, "exit 3")
		require.Equal(t, 3, res.ExitCode)
		eventually(t, "one stands ready", func() bool { return spareOf(t, sb) != "" })
	}
	spare()
	var used Usage
	eventually(t, "a command takes the one that stands ready", func() bool {
		ready := spareOf(t, sb)
		_, finish := started(t, sb, holder(40), Limits{})
		taken := ready != "" && slices.Contains(leavesOf(t, sb), ready)
		used = finish().Usage
		return taken
	})
	assert.Greater(t, used.PeakMemory, int64(40<<20))
	spare()
	_, res = try(t, sb, "exit 3")
	assert.Less(t, res.Usage.PeakMemory, int64(40<<20), "what one used the next has not")
	assert.Less(t, res.Usage.CPU.Total, used.CPU.Total)

	spare()
	require.NoError(t, sb.Update(WithMemory("32m")))
	_, res = try(t, sb, hog(40)+"; exit 3")
	assert.Equal(t, MemoryExceeded, res.Verdict, "limits that were lowered hold in the very next command")
	spare()
	require.NoError(t, sb.Update(WithMemory("256m")))
	_, res = try(t, sb, hog(40)+"; exit 3")
	assert.Equal(t, 3, res.ExitCode, "and so do those that were raised")
	spare()
	cmd := sb.Command("/bin/sh", "-c", hog(40)+"; exit 3")
	cmd.Limits.Memory = 32 << 20
	res, err := cmd.Run(inTime(t))
	require.NoError(t, err)
	assert.Equal(t, MemoryExceeded, res.Verdict, "limits of its own take a leaf of its own")
	spare()
	require.NoError(t, sb.Close())
	assert.Empty(t, leavesOf(t, sb))
}

// What there is no room for is not made ahead.
func TestNoSpareLeaf(t *testing.T) {
	t.Parallel()
	sb := grouped(t, standing(t, WithMemory("8m")))
	for range 4 {
		_, res := try(t, sb, "exit 3")
		require.Equal(t, 3, res.ExitCode)
	}
	eventually(t, "nothing stays", func() bool { return len(leavesOf(t, sb)) == 0 })
}
