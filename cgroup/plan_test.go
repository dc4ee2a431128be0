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
		Controllers: CPUController | MemoryController | PidsController | IOController | CPUSetController | HugetlbController | coreV2,
		Enabled:     MemoryController | PidsController | IOController, Pending: CPUController | CPUSetController | HugetlbController,
	}}}
	legacy = Parent{[]Dir{
		{Version: 1, Path: "/cg/memory/own", Controllers: MemoryController},
		{Version: 1, Path: "/cg/cpu,cpuacct/own", Controllers: CPUController | CPUAcctController},
		{Version: 1, Path: "/cg/pids/own", Controllers: PidsController},
		{Version: 1, Path: "/cg/freezer/own", Controllers: FreezerController},
		{Version: 1, Path: "/cg/blkio/own", Controllers: IOController},
		{Version: 1, Path: "/cg/cpuset/own", Controllers: CPUSetController},
		{Version: 1, Path: "/cg/hugetlb/own", Controllers: HugetlbController},
	}}
	mixed = Parent{[]Dir{
		{Version: 2, Path: "/cg/unified/own", Controllers: PidsController | coreV2, Enabled: PidsController},
		{Version: 1, Path: "/cg/memory/own", Controllers: MemoryController},
	}}
	together = Parent{[]Dir{{Version: 1, Path: "/cg/all/own", Controllers: CPUController | CPUAcctController | CPUSetController}}}
	hugeV2   = Parent{[]Dir{
		{Version: 2, Path: "/cg/unified/own", Controllers: HugetlbController, Pending: HugetlbController},
		{Version: 1, Path: "/cg/memory/own", Controllers: MemoryController},
	}}
	rest = Limits{
		CPUSet: "7,0-1", MemoryNodes: "0",
		IO: []IOLimit{{Device: "8:0", ReadBytes: 1 << 20, WriteBytes: Max, ReadOps: 100}, {Device: "8:16", Weight: 50}}, IOWeight: 1000,
		Hugepages: []HugepageLimit{{2 << 20, 4 << 20}, {1 << 30, 0}, {64 << 10, Max}},
	}
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
write /cg/own/sb/cgroup.subtree_control "+memory +pids +io"`},
		{"unified, no limits", unified, Limits{}, `
mkdir /cg/own/sb
open /cg/own/sb
write /cg/own/sb/cgroup.subtree_control "+memory +pids +io"`},
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
write /cg/own/sb/cgroup.subtree_control "+memory +pids +io"`},
		{"unified, the rest", unified, rest, `
write /cg/cgroup.subtree_control "+cpuset +hugetlb"
write /cg/own/cgroup.subtree_control "+cpuset +hugetlb"
mkdir /cg/own/sb
open /cg/own/sb
write /cg/own/sb/cpuset.cpus "0-1,7"
write /cg/own/sb/cpuset.mems "0"
write /cg/own/sb/io.max "8:0 rbps=1048576 wbps=max riops=100"
write /cg/own/sb/io.weight "default 1000"
write /cg/own/sb/io.bfq.weight "default 181"
write /cg/own/sb/io.weight "8:16 50"
write /cg/own/sb/hugetlb.2MB.max "4194304"
write /cg/own/sb/hugetlb.2MB.rsvd.max "4194304"
write /cg/own/sb/hugetlb.1GB.max "0"
write /cg/own/sb/hugetlb.1GB.rsvd.max "0"
write /cg/own/sb/hugetlb.64KB.max "max"
write /cg/own/sb/hugetlb.64KB.rsvd.max "max"
write /cg/own/sb/cgroup.subtree_control "+memory +pids +io"`},
		{"unified, protected", unified, Limits{Memory: 1 << 20, MemoryLow: 8192, MemoryMin: 4096, CPUSet: AllOfThem}, `
write /cg/cgroup.subtree_control "+cpuset"
write /cg/own/cgroup.subtree_control "+cpuset"
mkdir /cg/own/sb
open /cg/own/sb
write /cg/own/sb/cpuset.cpus "\n"
write /cg/own/sb/memory.max "1048576"
write /cg/own/sb/memory.low "8192"
write /cg/own/sb/memory.min "4096"
write /cg/own/sb/memory.swap.max "0"
write /cg/own/sb/cgroup.subtree_control "+memory +pids +io"`},
		{"legacy, the rest", legacy, rest, `
mkdir /cg/memory/own/sb
open /cg/memory/own/sb
mkdir /cg/cpu,cpuacct/own/sb
open /cg/cpu,cpuacct/own/sb
mkdir /cg/pids/own/sb
open /cg/pids/own/sb
mkdir /cg/freezer/own/sb
open /cg/freezer/own/sb
open /cg/freezer/own/sb/tasks
mkdir /cg/blkio/own/sb
open /cg/blkio/own/sb
write /cg/blkio/own/sb/blkio.throttle.read_bps_device "8:0 1048576"
write /cg/blkio/own/sb/blkio.throttle.write_bps_device "8:0 0"
write /cg/blkio/own/sb/blkio.throttle.read_iops_device "8:0 100"
write /cg/blkio/own/sb/blkio.bfq.weight "181"
write /cg/blkio/own/sb/blkio.bfq.weight_device "8:16 50"
open /cg/blkio/own/sb/tasks
mkdir /cg/cpuset/own/sb
open /cg/cpuset/own/sb
write /cg/cpuset/own/sb/cpuset.cpus "0-1,7"
write /cg/cpuset/own/sb/cpuset.mems "0"
open /cg/cpuset/own/sb/tasks
mkdir /cg/hugetlb/own/sb
open /cg/hugetlb/own/sb
write /cg/hugetlb/own/sb/hugetlb.2MB.limit_in_bytes "4194304"
write /cg/hugetlb/own/sb/hugetlb.2MB.rsvd.limit_in_bytes "4194304"
write /cg/hugetlb/own/sb/hugetlb.1GB.limit_in_bytes "0"
write /cg/hugetlb/own/sb/hugetlb.1GB.rsvd.limit_in_bytes "0"
write /cg/hugetlb/own/sb/hugetlb.64KB.limit_in_bytes "-1"
write /cg/hugetlb/own/sb/hugetlb.64KB.rsvd.limit_in_bytes "-1"
open /cg/hugetlb/own/sb/tasks`},
		{"legacy, CPUs but no nodes", Parent{legacy.Dirs[5:6]}, Limits{CPUSet: "1"}, `
mkdir /cg/cpuset/own/sb
open /cg/cpuset/own/sb
write /cg/cpuset/own/sb/cpuset.cpus "1"
copy /cg/cpuset/own/sb/cpuset.mems "/cg/cpuset/own/cpuset.mems"
open /cg/cpuset/own/sb/tasks`},
		{"legacy, mounted together", together, Limits{CPUs: 1}, `
mkdir /cg/all/own/sb
open /cg/all/own/sb
copy /cg/all/own/sb/cpuset.cpus "/cg/all/own/cpuset.cpus"
copy /cg/all/own/sb/cpuset.mems "/cg/all/own/cpuset.mems"
write /cg/all/own/sb/cpu.cfs_period_us "100000"
write /cg/all/own/sb/cpu.cfs_quota_us "100000"`},
		{"huge pages in v2, the rest in v1", hugeV2, Limits{Memory: 8192, Hugepages: rest.Hugepages[:1]}, `
write /cg/unified/cgroup.subtree_control "+hugetlb"
write /cg/unified/own/cgroup.subtree_control "+hugetlb"
mkdir /cg/unified/own/sb
open /cg/unified/own/sb
write /cg/unified/own/sb/hugetlb.2MB.max "4194304"
write /cg/unified/own/sb/hugetlb.2MB.rsvd.max "4194304"
mkdir /cg/memory/own/sb
open /cg/memory/own/sb
write /cg/memory/own/sb/memory.limit_in_bytes "8192"
write /cg/memory/own/sb/memory.memsw.limit_in_bytes "8192"`},
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
		acc := Options{}.accounts().with(l)
		g, err := planGroup(p, "sb", l, acc)
		require.NoError(t, err)
		var dirs []Dir
		for i, use := range g.use {
			if use != 0 {
				d := Dir{Version: p.Dirs[i].Version, Path: p.Dirs[i].Path + "/sb", Controllers: use}
				if d.Version == 2 {
					d.Enabled = use & acc.leaves(d)
				}
				dirs = append(dirs, d)
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
		{"unified, all of it", sb(unified, rest), Limits{}, `
mkdir /cg/own/sb/1
write /cg/own/sb/1/memory.oom.group "1"
open /cg/own/sb/1`},
		{"unified, CPUs of its own", sb(unified, rest), Limits{CPUSet: "1"}, `
write /cg/own/sb/cgroup.subtree_control "+cpuset"
mkdir /cg/own/sb/1
write /cg/own/sb/1/cpuset.cpus "1"
write /cg/own/sb/1/memory.oom.group "1"
open /cg/own/sb/1`},
		{"legacy, rates", sb(legacy, rest), Limits{}, `
mkdir /cg/memory/own/sb/1
open /cg/memory/own/sb/1/tasks
mkdir /cg/cpu,cpuacct/own/sb/1
open /cg/cpu,cpuacct/own/sb/1/tasks
mkdir /cg/pids/own/sb/1
open /cg/pids/own/sb/1/tasks`},
		{"legacy, weights", sb(legacy, Limits{IOWeight: 50}), Limits{}, `
mkdir /cg/memory/own/sb/1
open /cg/memory/own/sb/1/tasks
mkdir /cg/cpu,cpuacct/own/sb/1
open /cg/cpu,cpuacct/own/sb/1/tasks
mkdir /cg/pids/own/sb/1
open /cg/pids/own/sb/1/tasks
mkdir /cg/blkio/own/sb/1
open /cg/blkio/own/sb/1/tasks`},
		{"legacy, CPUs of its own", sb(Parent{legacy.Dirs[5:6]}, rest.Without("IO", "IOWeight", "Hugepages")), Limits{CPUSet: "0"}, `
mkdir /cg/cpuset/own/sb/1
write /cg/cpuset/own/sb/1/cpuset.cpus "0"
copy /cg/cpuset/own/sb/1/cpuset.mems "/cg/cpuset/own/sb/cpuset.mems"
open /cg/cpuset/own/sb/1/tasks`},
		{"legacy, mounted together", sb(together, Limits{}), Limits{}, `
mkdir /cg/all/own/sb/1
copy /cg/all/own/sb/1/cpuset.cpus "/cg/all/own/sb/cpuset.cpus"
copy /cg/all/own/sb/1/cpuset.mems "/cg/all/own/sb/cpuset.mems"
open /cg/all/own/sb/1/tasks`},
		{"huge pages in v2", sb(hugeV2, Limits{Hugepages: rest.Hugepages}), Limits{}, `
mkdir /cg/unified/own/sb/1
open /cg/unified/own/sb/1
mkdir /cg/memory/own/sb/1
open /cg/memory/own/sb/1/tasks`},
		{"mixed", sb(mixed, Limits{}), Limits{Pids: 2}, `
mkdir /cg/unified/own/sb/1
write /cg/unified/own/sb/1/pids.max "2"
open /cg/unified/own/sb/1
mkdir /cg/memory/own/sb/1
open /cg/memory/own/sb/1/tasks`},
	} {
		t.Run(c.name, func(t *testing.T) {
			acc := Options{}.accounts()
			if versionOf(c.dirs, IOController) == 1 {
				acc.v1 |= IOController // nothing else puts a sandbox there
				acc.flatIO = c.name == "legacy, rates"
			}
			p, err := planLeaf(c.dirs, "1", c.l, leafOptions{acc: acc, oomGroup: true})
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
		{"memory.low on v1", legacy, "sb", Limits{MemoryLow: 4096}, ErrUnsupported, "memory.low"},
		{"memory.min on v1", legacy, "sb", Limits{MemoryMin: 4096}, ErrUnsupported, "memory.min"},
		{"no cpuset controller", mixed, "sb", Limits{CPUSet: "0"}, ErrUnsupported, "cpuset limit"},
		{"no io controller", mixed, "sb", Limits{IOWeight: 5}, ErrUnsupported, "blkio limit"},
		{"no hugetlb controller", mixed, "sb", Limits{Hugepages: rest.Hugepages}, ErrUnsupported, "hugetlb limit"},
		{"bad set", unified, "sb", Limits{CPUSet: "0-"}, ErrInvalid, `CPUSet "0-"`},
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
	p, below := planOwner(base, "belljar-1-2", Options{}.accounts())
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
	p, err := planGroup(legacy, "sb", Limits{OOMGroup: true}, Options{}.accounts())
	require.NoError(t, err)
	require.Len(t, p.notes, 1)
	assert.Contains(t, p.notes[0], "memory.oom.group")
	p, err = planGroup(unified, "sb", Limits{OOMGroup: true}, Options{}.accounts())
	require.NoError(t, err)
	assert.Empty(t, p.notes)
}
