package cgroup

import (
	"fmt"
	"os"
	"os/exec"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// sweepBase is a base of our own, so that the test meets nobody else's groups.
func sweepBase(t *testing.T) Parent {
	t.Helper()
	m := testManager(t, Limits{})
	var p Parent
	for _, d := range m.dirs {
		p.Dirs = append(p.Dirs, Dir{Version: d.Version, Path: d.Path, Controllers: d.Controllers, Enabled: d.Enabled})
	}
	return p
}

// left is what a dead program leaves: its group, a frozen sandbox, processes.
func left(t *testing.T, base Parent, name string) *Leaf {
	t.Helper()
	p, below := planOwner(base, name, Options{}.accounts())
	b := newBuilder(base.Dirs, nil, nil)
	require.NoError(t, b.run(p.steps))
	closeAll(b.group)
	m, err := New(below, "sb", Limits{Pids: 50})
	require.NoError(t, err)
	t.Cleanup(func() { _ = m.Delete() }) // closes; the groups are gone by then
	l := testLeaf(t, m, "cmd", Limits{})
	start(t, l, "/bin/sh", "-c", "sleep 100 & wait")
	eventually(t, "inside", func() bool { p, _ := l.Procs(); return len(p) == 2 })
	require.NoError(t, m.ps.freeze(true, soon()))
	return l
}

func deadPid(t *testing.T) int {
	t.Helper()
	cmd := exec.Command("true")
	require.NoError(t, cmd.Run())
	return cmd.Process.Pid
}

func TestSweep(t *testing.T) {
	base := sweepBase(t)
	start, err := startTime(os.Getpid())
	require.NoError(t, err)
	dead := fmt.Sprintf("belljar-%d-%d", deadPid(t), start)
	reused := fmt.Sprintf("belljar-%d-%d", os.Getpid(), start-1) // our pid, another process
	live := fmt.Sprintf("belljar-%d-%d", os.Getpid(), start)
	locked := fmt.Sprintf("belljar-%d-%d", deadPid(t), start+1)
	other := []string{"belljar-1", "belljar-x-1", "belljar-0-1", "other-1-1", "belljar-99999999999999999999-1"}

	for _, n := range []string{dead, reused} {
		left(t, base, n)
	}
	var foreign []int
	for _, d := range base.Dirs {
		for _, n := range append(other, live, locked) {
			require.NoError(t, os.Mkdir(d.Path+"/"+n, 0o755))
		}
		// A program in another pid namespace.
		fd, err := openDirAt(unix.AT_FDCWD, d.Path+"/"+locked)
		require.NoError(t, err)
		require.NoError(t, unix.Flock(fd, unix.LOCK_SH))
		foreign = append(foreign, fd)
	}
	removed, err := SweepBase(base)
	require.NoError(t, err)
	assert.ElementsMatch(t, []string{dead, reused}, removed)
	for _, d := range base.Dirs {
		for _, n := range append(other, live, locked) {
			assert.DirExists(t, d.Path+"/"+n)
		}
		assert.NoDirExists(t, d.Path+"/"+dead)
		assert.NoDirExists(t, d.Path+"/"+reused)
	}
	closeAll(foreign)
	removed, err = SweepBase(base)
	require.NoError(t, err)
	assert.Equal(t, []string{locked}, removed, "once the lock is gone")
}

// The owner's own lock keeps a sweep away that cannot see its pid.
func TestSweepSparesOwner(t *testing.T) {
	base := sweepBase(t)
	w, err := NewOwner(base, os.Getpid(), Options{})
	require.NoError(t, err)
	name, err := OwnerName(os.Getpid())
	require.NoError(t, err)
	done, err := sweepOne(base, name)
	require.NoError(t, err)
	assert.False(t, done)
	require.NoError(t, w.Close())
}

func TestSweepHere(t *testing.T) {
	testBase(t)
	_, err := Sweep()
	require.NoError(t, err)
}

func TestParseOwner(t *testing.T) {
	pid, start, ok := parseOwner("belljar-12-345")
	assert.True(t, ok)
	assert.Equal(t, 12, pid)
	assert.EqualValues(t, 345, start)
	_, _, ok = parseOwner("belljar-12-345-6")
	assert.True(t, ok, "a further group of the same program")
	for _, bad := range []string{"", "belljar-", "belljar-1", "belljar-1-", "belljar--1", "belljar-1-2-", "belljar-1-2-x", "belljar-1-2-3-4", "belljar-+1-2", "xbelljar-1-2", "belljar-0-2"} {
		_, _, ok := parseOwner(bad)
		assert.False(t, ok, bad)
	}
}

// Below a parent that was named Sweep does not look, SweepAt does.
func TestSweepAt(t *testing.T) {
	_, name, dirs := nameable(t, MemoryController|PidsController)
	dead := fmt.Sprintf("belljar-%d-1-2", deadPid(t))
	for _, d := range dirs {
		require.NoError(t, os.MkdirAll(d+"/"+dead+"/sb/cmd", 0o755))
	}
	removed, err := Sweep()
	require.NoError(t, err)
	assert.NotContains(t, removed, dead)
	removed, err = SweepAt(name)
	require.NoError(t, err)
	assert.Equal(t, []string{dead}, removed)
	for _, d := range dirs {
		assert.NoDirExists(t, d+"/"+dead)
	}
	removed, err = SweepAt(name)
	require.NoError(t, err)
	assert.Empty(t, removed)
	_, err = SweepAt(name + "/missing")
	requireParentError(t, err, name+"/missing", unix.ENOENT, "does not exist", "mkdir ")
	_, err = SweepAt("/a/../b")
	require.ErrorIs(t, err, ErrInvalid)
}
