package cgroup

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

func TestUpdate(t *testing.T) {
	m := testManager(t, Limits{Memory: 64 << 20, Pids: 20})
	l := testLeaf(t, m, "cmd", Limits{})
	require.NoError(t, m.Update(Limits{Memory: 256 << 20, Pids: 30}))
	assert.Equal(t, Limits{Memory: 256 << 20, Pids: 30}, m.Limits())
	require.NoError(t, run(self(l, "hog 128")), "more than the first limit")
	require.NoError(t, m.Update(Limits{Memory: 32 << 20}))
	require.Error(t, run(self(l, "hog 128")))
	require.NoError(t, m.Update(Limits{Memory: Max, Swap: Max}))
	require.NoError(t, run(self(l, "hog 128")))
	require.ErrorIs(t, m.Update(Limits{Pids: -3}), ErrInvalid)
	require.ErrorIs(t, m.Update(Limits{CPUs: 0.5}), ErrUnsupported, "New set up no cpu controller")
	p := m.ps.of(PidsController)
	assert.Equal(t, "30", slurp(t, p.Path+"/pids.max"))
}

// A limit that is refused leaves the others as they were.
func TestUpdateRollback(t *testing.T) {
	fail := func(Op) error { return nil }
	m, err := NewWith(testParent(t), "sb", Limits{Memory: 64 << 20, Pids: 20}, Options{Trace: func(o Op) error { return fail(o) }})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, m.Delete()) })
	fail = func(o Op) error {
		if strings.HasSuffix(o.Path, "/pids.max") && o.Data == "30" {
			return unix.EMLINK
		}
		return nil
	}
	require.ErrorIs(t, m.Update(Limits{Memory: 128 << 20, Pids: 30}), unix.EMLINK)
	file := "/memory.max"
	if versionOf(m.dirs, MemoryController) == 1 {
		file = "/memory.limit_in_bytes"
	}
	assert.Equal(t, "67108864", slurp(t, m.ps.of(MemoryController).Path+file))
	assert.Equal(t, "20", slurp(t, m.ps.of(PidsController).Path+"/pids.max"))
}

// Leaves change with the sandbox or not at all, and a delete that waits for an
// update is not waited for by it.
func TestUpdateLeaves(t *testing.T) {
	m := testManager(t, Limits{Memory: 64 << 20, Pids: 20})
	a, b := testLeaf(t, m, "a", Limits{Pids: 10}), testLeaf(t, m, "b", Limits{})
	p := a.ps.of(PidsController)
	max := func(l string) string { return slurp(t, m.ps.of(PidsController).Path+"/"+l+"/pids.max") }
	require.NoError(t, m.UpdateWith(Limits{Pids: 30}, func(name string) Limits {
		if name == "a" {
			return Limits{Pids: 15}
		}
		return Limits{}
	}))
	assert.Equal(t, []string{"30", "15", "max"}, []string{max(""), max("a"), max("b")})
	assert.Equal(t, []int{15, 0}, []int{a.Limits().Pids, b.Limits().Pids})
	require.Error(t, m.UpdateWith(Limits{Pids: 40}, func(name string) Limits {
		if name == "a" {
			return Limits{Pids: 20}
		}
		return Limits{Pids: 1 << 30}
	}), "no kernel takes that")
	assert.Equal(t, []string{"30", "15", "max"}, []string{max(""), max("a"), max("b")})
	assert.Equal(t, 30, m.Limits().Pids)
	require.NotNil(t, p)

	other, err := New(testParentOf(m), "other", Limits{Pids: 20})
	require.NoError(t, err)
	_, err = other.NewLeaf("cmd", Limits{})
	require.NoError(t, err)
	deleted := make(chan error)
	_ = other.UpdateWith(Limits{Pids: 5}, func(string) Limits {
		go func() { deleted <- other.Delete() }()
		time.Sleep(20 * time.Millisecond) // until it waits
		return Limits{Pids: 5}
	})
	require.NoError(t, <-deleted)
}
