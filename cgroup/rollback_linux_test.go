package cgroup

import (
	"os"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// Every operation of a set-up made to fail, one after the other.
func TestRollback(t *testing.T) {
	limits := Limits{Memory: 64 << 20, CPUs: 0.5, CPUWeight: 50, Pids: 20, OOMGroup: true}
	t.Run("usual", func(t *testing.T) { rollback(t, limits) })
	limits.CPUSet, limits.MemoryNodes = "0", "0"
	if n := hugeSize(); n != 0 {
		limits.Hugepages = []HugepageLimit{{n, 4 << 20}}
	}
	if dev := disk(); dev != "" {
		limits.IO = []IOLimit{{Device: dev, ReadBytes: 1 << 20, WriteOps: 100}}
	}
	t.Run("all", func(t *testing.T) { rollback(t, limits) })
}

func rollback(t *testing.T, limits Limits) {
	p := testParent(t, limits.Controllers())
	empty := func(what string, op Op) {
		for _, d := range p.Dirs {
			fd, subs, err := openSubdirs(unix.AT_FDCWD, d.Path)
			require.NoError(t, err)
			unix.Close(fd)
			assert.Empty(t, subs, "%s: left after %s", what, op)
		}
	}
	plan, err := limits.Plan(p, "sb")
	require.NoError(t, err)
	var done []Op
	m, err := NewWith(p, "sb", limits, Options{Trace: func(o Op) error { done = append(done, o); return nil }})
	require.NoError(t, err)
	require.NoError(t, m.Delete())
	assert.Equal(t, plan, done, "the plan is what is done")
	fds := openFDs()
	for i := range plan {
		fail := failAt(i)
		_, err := NewWith(p, "sb", limits, Options{Trace: fail})
		requireFailed(t, err, plan[i])
		empty("New", plan[i])
	}

	count, fail := 0, func(Op) error { return nil }
	m, err = NewWith(p, "sb", limits, Options{Trace: func(o Op) error { count++; return fail(o) }})
	require.NoError(t, err)
	own := Limits{Memory: 32 << 20, Pids: 5}
	leafPlan, err := m.LeafPlan("cmd", own)
	require.NoError(t, err)
	for i := range leafPlan {
		fail = failAt(i)
		_, err := m.NewLeaf("cmd", own)
		requireFailed(t, err, leafPlan[i])
	}
	fail, count = func(Op) error { return nil }, 0
	l, err := m.NewLeaf("cmd", own)
	require.NoError(t, err, "usable after every failure")
	assert.Equal(t, len(leafPlan), count)
	_, err = m.NewLeaf("cmd", own)
	require.ErrorIs(t, err, unix.EEXIST)
	_, err = l.Stats()
	require.NoError(t, err, "the first of that name is untouched")
	require.NoError(t, m.Delete())
	empty("Delete", Op{})
	assert.Equal(t, fds, openFDs())
}

func failAt(n int) func(Op) error {
	return func(Op) error {
		if n--; n < 0 {
			return unix.EMLINK // which nothing here returns by itself
		}
		return nil
	}
}

func requireFailed(t *testing.T, err error, op Op) {
	t.Helper()
	require.ErrorIs(t, err, unix.EMLINK)
	var e *Error
	require.ErrorAs(t, err, &e)
	assert.Equal(t, op, Op{e.Op, e.Path, e.Data})
}

// A hook that says all itself is not wrapped again.
func TestTraceError(t *testing.T) {
	mine := &Error{Op: "mkdir", Path: "/x", Err: unix.EMLINK}
	_, err := NewWith(testParent(t), "sb", Limits{}, Options{Trace: func(Op) error { return mine }})
	assert.Same(t, mine, err)
}

func TestOwnerRollback(t *testing.T) {
	base := testBase(t)
	w, err := NewOwner(base, os.Getpid(), Options{})
	require.NoError(t, err)
	_, err = NewOwner(base, os.Getpid(), Options{})
	require.ErrorIs(t, err, unix.EEXIST)
	require.NoError(t, w.Close())
	require.NoError(t, w.Close())
	for i := 0; ; i++ {
		w, err := NewOwner(base, os.Getpid(), Options{Trace: failAt(i)})
		if err == nil {
			assert.Greater(t, i, 1)
			require.NoError(t, w.Close())
			return
		}
		require.ErrorIs(t, err, unix.EMLINK)
		name, err := OwnerName(os.Getpid())
		require.NoError(t, err)
		for _, d := range base.Dirs {
			assert.NoDirExists(t, d.Path+"/"+name)
		}
	}
}
