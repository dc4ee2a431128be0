package cgroup

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Hosts as data: the plans need no privileges and no cgroups.
var (
	unified = Parent{[]Dir{{
		Version: 2, Path: "/cg/own",
		Controllers: CPUController | MemoryController | PidsController | IOController | coreV2,
		Enabled:     MemoryController | PidsController, Pending: CPUController | IOController,
	}}}
	legacy = Parent{[]Dir{
		{Version: 1, Path: "/cg/memory/own", Controllers: MemoryController},
		{Version: 1, Path: "/cg/cpu,cpuacct/own", Controllers: CPUController | CPUAcctController},
		{Version: 1, Path: "/cg/pids/own", Controllers: PidsController},
		{Version: 1, Path: "/cg/freezer/own", Controllers: FreezerController},
		{Version: 1, Path: "/cg/blkio/own", Controllers: IOController},
	}}
	mixed = Parent{[]Dir{
		{Version: 2, Path: "/cg/unified/own", Controllers: PidsController | coreV2, Enabled: PidsController},
		{Version: 1, Path: "/cg/memory/own", Controllers: MemoryController},
	}}
	usual = Limits{Memory: 50 << 20, CPUs: 0.5, CPUWeight: 50, Pids: 20, OOMGroup: true}
)

func TestPlanGroup(t *testing.T) {
	for _, c := range []struct {
		name   string
		parent Parent
		l      Limits
		want   string
	}{
		{"unified", unified, usual, `
write /cg/cgroup.subtree_control "+cpu"
write /cg/own/cgroup.subtree_control "+cpu"
mkdir /cg/own/sb
open /cg/own/sb
write /cg/own/sb/pids.max "20"
write /cg/own/sb/cpu.max "50000 100000"
write /cg/own/sb/cpu.weight "50"
write /cg/own/sb/memory.max "52428800"
write /cg/own/sb/memory.swap.max "0"
write /cg/own/sb/cgroup.subtree_control "+memory +pids"`},
		{"unified, no limits", unified, Limits{}, `
mkdir /cg/own/sb
open /cg/own/sb
write /cg/own/sb/cgroup.subtree_control "+memory +pids"`},
		{"unified, max", unified, Limits{Memory: Max, MemoryHigh: 8192, Swap: Max, CPUs: Max, Pids: Max}, `
write /cg/cgroup.subtree_control "+cpu"
write /cg/own/cgroup.subtree_control "+cpu"
mkdir /cg/own/sb
open /cg/own/sb
write /cg/own/sb/pids.max "max"
write /cg/own/sb/cpu.max "max 100000"
write /cg/own/sb/memory.max "max"
write /cg/own/sb/memory.high "8192"
write /cg/own/sb/memory.swap.max "max"
write /cg/own/sb/cgroup.subtree_control "+memory +pids"`},
		{"legacy", legacy, usual, `
mkdir /cg/memory/own/sb
open /cg/memory/own/sb
write /cg/memory/own/sb/memory.limit_in_bytes "52428800"
write /cg/memory/own/sb/memory.memsw.limit_in_bytes "52428800"
mkdir /cg/cpu,cpuacct/own/sb
open /cg/cpu,cpuacct/own/sb
write /cg/cpu,cpuacct/own/sb/cpu.cfs_period_us "100000"
write /cg/cpu,cpuacct/own/sb/cpu.cfs_quota_us "50000"
write /cg/cpu,cpuacct/own/sb/cpu.shares "512"
mkdir /cg/pids/own/sb
open /cg/pids/own/sb
write /cg/pids/own/sb/pids.max "20"
mkdir /cg/freezer/own/sb
open /cg/freezer/own/sb
open /cg/freezer/own/sb/tasks`},
		{"legacy, max and swap", legacy, Limits{Memory: Max, Swap: Max, CPUs: Max, Pids: Max}, `
mkdir /cg/memory/own/sb
open /cg/memory/own/sb
write /cg/memory/own/sb/memory.limit_in_bytes "-1"
write /cg/memory/own/sb/memory.memsw.limit_in_bytes "-1"
mkdir /cg/cpu,cpuacct/own/sb
open /cg/cpu,cpuacct/own/sb
write /cg/cpu,cpuacct/own/sb/cpu.cfs_period_us "100000"
write /cg/cpu,cpuacct/own/sb/cpu.cfs_quota_us "-1"
mkdir /cg/pids/own/sb
open /cg/pids/own/sb
write /cg/pids/own/sb/pids.max "max"
mkdir /cg/freezer/own/sb
open /cg/freezer/own/sb
open /cg/freezer/own/sb/tasks`},
		{"mixed", mixed, Limits{Memory: 8192, Swap: 4096, Pids: 3}, `
mkdir /cg/unified/own/sb
open /cg/unified/own/sb
write /cg/unified/own/sb/pids.max "3"
write /cg/unified/own/sb/cgroup.subtree_control "+pids"
mkdir /cg/memory/own/sb
open /cg/memory/own/sb
write /cg/memory/own/sb/memory.limit_in_bytes "8192"
write /cg/memory/own/sb/memory.memsw.limit_in_bytes "12288"`},
	} {
		t.Run(c.name, func(t *testing.T) {
			ops, err := c.l.Plan(c.parent, "sb")
			require.NoError(t, err)
			assert.Equal(t, c.want[1:], lines(ops))
		})
	}
}

func lines(ops []Op) string {
	var s []string
	for _, o := range ops {
		s = append(s, o.String())
	}
	return strings.Join(s, "\n")
}

func TestPlanLeaf(t *testing.T) {
	sb := func(p Parent, l Limits) []Dir {
		g, err := planGroup(p, "sb", l, DefaultAccounts)
		require.NoError(t, err)
		var dirs []Dir
		for i, use := range g.use {
			if use != 0 {
				dirs = append(dirs, Dir{Version: p.Dirs[i].Version, Path: p.Dirs[i].Path + "/sb", Controllers: use, Enabled: use &^ coreV2 &^ CPUController})
			}
		}
		return dirs
	}
	for _, c := range []struct {
		name string
		dirs []Dir
		l    Limits
		want string
	}{
		{"unified", sb(unified, usual), Limits{}, `
mkdir /cg/own/sb/1
write /cg/own/sb/1/memory.oom.group "1"
open /cg/own/sb/1`},
		{"unified, quota of its own", sb(unified, usual), Limits{CPUs: 0.1, Memory: 4096}, `
write /cg/own/sb/cgroup.subtree_control "+cpu"
mkdir /cg/own/sb/1
write /cg/own/sb/1/cpu.max "10000 100000"
write /cg/own/sb/1/memory.max "4096"
write /cg/own/sb/1/memory.swap.max "0"
write /cg/own/sb/1/memory.oom.group "1"
open /cg/own/sb/1`},
		{"legacy", sb(legacy, usual), Limits{}, `
mkdir /cg/memory/own/sb/1
open /cg/memory/own/sb/1/tasks
mkdir /cg/cpu,cpuacct/own/sb/1
open /cg/cpu,cpuacct/own/sb/1/tasks
mkdir /cg/pids/own/sb/1
open /cg/pids/own/sb/1/tasks`},
		{"mixed", sb(mixed, Limits{}), Limits{Pids: 2}, `
mkdir /cg/unified/own/sb/1
write /cg/unified/own/sb/1/pids.max "2"
open /cg/unified/own/sb/1
mkdir /cg/memory/own/sb/1
open /cg/memory/own/sb/1/tasks`},
	} {
		t.Run(c.name, func(t *testing.T) {
			p, err := planLeaf(c.dirs, "1", c.l, true)
			require.NoError(t, err)
			assert.Equal(t, c.want[1:], lines(p.ops(c.dirs)))
		})
	}
}

func TestPlanRefuses(t *testing.T) {
	bare := Parent{[]Dir{{Version: 1, Path: "/cg/freezer", Controllers: FreezerController}}}
	for _, c := range []struct {
		name   string
		parent Parent
		group  string
		l      Limits
		want   error
		text   string
	}{
		{"bad limit", unified, "sb", Limits{Pids: -5}, ErrInvalid, `Pids "-5"`},
		{"bad name", unified, "a/b", Limits{}, ErrInvalid, `name "a/b"`},
		{"no pids controller", bare, "sb", Limits{Pids: 5}, ErrUnsupported, "pids limit"},
		{"no memory controller", bare, "sb", Limits{OOMGroup: true}, ErrUnsupported, "memory limit"},
		{"no cpu controller", mixed, "sb", Limits{CPUWeight: 5}, ErrUnsupported, "cpu limit"},
		{"nothing at all", Parent{}, "sb", Limits{Memory: 4096}, ErrUnsupported, "memory limit"},
		{"memory.high on v1", legacy, "sb", Limits{MemoryHigh: 4096}, ErrUnsupported, "MemoryHigh"},
		{"swap alone on v1", legacy, "sb", Limits{Swap: 4096}, ErrUnsupported, "Swap without Memory"},
	} {
		t.Run(c.name, func(t *testing.T) {
			ops, err := c.l.Plan(c.parent, c.group)
			require.ErrorIs(t, err, c.want)
			assert.Contains(t, err.Error(), c.text)
			assert.Empty(t, ops)
		})
	}
}

func TestPlanOwner(t *testing.T) {
	base := Parent{[]Dir{
		{Version: 2, Path: "/cg", Controllers: MemoryController | PidsController | CPUController | coreV2, Enabled: MemoryController},
		{Version: 1, Path: "/cg1/cpu", Controllers: CPUController},
	}}
	p, below := planOwner(base, "belljar-1-2", DefaultAccounts)
	assert.Equal(t, `write /cg/cgroup.subtree_control "+pids"
mkdir /cg/belljar-1-2
open /cg/belljar-1-2
write /cg/belljar-1-2/cgroup.subtree_control "+memory +pids"
mkdir /cg1/cpu/belljar-1-2
open /cg1/cpu/belljar-1-2`, lines(p.ops(base.Dirs)))
	assert.Equal(t, Parent{[]Dir{
		{Version: 2, Path: "/cg/belljar-1-2", Controllers: base.Dirs[0].Controllers, Enabled: MemoryController | PidsController, Pending: CPUController},
		{Version: 1, Path: "/cg1/cpu/belljar-1-2", Controllers: CPUController},
	}}, below)
}

// On v1 the kernel has no memory.oom.group: that is said, and is no error.
func TestNotes(t *testing.T) {
	p, err := planGroup(legacy, "sb", Limits{OOMGroup: true}, DefaultAccounts)
	require.NoError(t, err)
	require.Len(t, p.notes, 1)
	assert.Contains(t, p.notes[0], "memory.oom.group")
	p, err = planGroup(unified, "sb", Limits{OOMGroup: true}, DefaultAccounts)
	require.NoError(t, err)
	assert.Empty(t, p.notes)
}
