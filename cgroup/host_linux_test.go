package cgroup

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

const (
	hybridMounts = `31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
32 31 0:29 / /sys/fs/cgroup/cpu rw,relatime - cgroup cgroup rw,cpu
33 31 0:30 / /sys/fs/cgroup/cpuacct rw,relatime - cgroup cgroup rw,cpuacct
35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory
37 31 0:34 / /sys/fs/cgroup/freezer rw,relatime - cgroup cgroup rw,freezer
38 31 0:35 / /sys/fs/cgroup/blkio rw,relatime - cgroup cgroup rw,blkio
39 31 0:36 / /sys/fs/cgroup/pids rw,relatime - cgroup cgroup rw,pids
40 31 0:37 / /sys/fs/cgroup/systemd rw,relatime - cgroup cgroup rw,name=systemd
41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
`
	hybridSelf = `9:name=systemd:/
8:pids:/
7:blkio:/
6:freezer:/
4:memory:/vm/3e212dd9
2:cpuacct:/
1:cpu:/
0::/
`
	desktopMounts = `24 30 0:22 / /proc rw,nosuid,nodev,noexec,relatime shared:12 - proc proc rw
35 24 0:30 / /sys/fs/cgroup rw,nosuid,nodev,noexec,relatime shared:9 - cgroup2 cgroup2 rw,nsdelegate,memory_recursiveprot
`
	desktopSelf        = "0::/user.slice/user-1000.slice/user@1000.service/app.slice/run-u7.scope\n"
	desktopControllers = "cpuset cpu io memory hugetlb pids rdma misc\n"
	dockerMounts       = `800 799 0:51 / /sys/fs/cgroup rw,nosuid,nodev,noexec,relatime - tmpfs tmpfs rw,mode=755
801 800 0:29 /docker/abc /sys/fs/cgroup/cpu,cpuacct ro,nosuid,nodev,noexec,relatime master:11 - cgroup cgroup rw,cpu,cpuacct
802 800 0:30 /docker/abc /sys/fs/cgroup/memory ro,nosuid,nodev,noexec,relatime master:15 - cgroup cgroup rw,memory
`
	dockerSelf = "3:cpu,cpuacct:/docker/abc\n2:memory:/docker/abc\n1:name=systemd:/docker/abc\n"
)

func TestParseHost(t *testing.T) {
	const all = CPUController | MemoryController | PidsController | IOController | CPUSetController | HugetlbController
	for _, c := range []struct {
		name                      string
		mounts, self, controllers string
		want                      []Hierarchy
		dirs                      []string // of the own groups
	}{
		{
			"hybrid", hybridMounts, hybridSelf, "",
			[]Hierarchy{
				{Version: 2, Mount: "/sys/fs/cgroup/unified", Root: "/", Own: "/"},
				{Version: 1, Controllers: CPUController, Mount: "/sys/fs/cgroup/cpu", Root: "/", Own: "/"},
				{Version: 1, Controllers: CPUAcctController, Mount: "/sys/fs/cgroup/cpuacct", Root: "/", Own: "/"},
				{Version: 1, Controllers: MemoryController, Mount: "/sys/fs/cgroup/memory", Root: "/", Own: "/vm/3e212dd9"},
				{Version: 1, Controllers: FreezerController, Mount: "/sys/fs/cgroup/freezer", Root: "/", Own: "/"},
				{Version: 1, Controllers: IOController, Mount: "/sys/fs/cgroup/blkio", Root: "/", Own: "/"},
				{Version: 1, Controllers: PidsController, Mount: "/sys/fs/cgroup/pids", Root: "/", Own: "/"},
			},
			[]string{"/sys/fs/cgroup/unified", "/sys/fs/cgroup/cpu", "/sys/fs/cgroup/cpuacct", "/sys/fs/cgroup/memory/vm/3e212dd9"},
		},
		{
			"desktop", desktopMounts, desktopSelf, desktopControllers,
			[]Hierarchy{{Version: 2, Controllers: all, Mount: "/sys/fs/cgroup", Root: "/", Own: desktopSelf[3 : len(desktopSelf)-1]}},
			[]string{"/sys/fs/cgroup/user.slice/user-1000.slice/user@1000.service/app.slice/run-u7.scope"},
		},
		{
			"docker on v1", dockerMounts, dockerSelf, "",
			[]Hierarchy{
				{Version: 1, Controllers: CPUController | CPUAcctController, Mount: "/sys/fs/cgroup/cpu,cpuacct", Root: "/docker/abc", Own: "/docker/abc", ReadOnly: true},
				{Version: 1, Controllers: MemoryController, Mount: "/sys/fs/cgroup/memory", Root: "/docker/abc", Own: "/docker/abc", ReadOnly: true},
			},
			[]string{"/sys/fs/cgroup/cpu,cpuacct", "/sys/fs/cgroup/memory"},
		},
		{
			"outside of the cgroup namespace", desktopMounts, "0::/../other\n", "",
			[]Hierarchy{{
				Version: 2, Mount: "/sys/fs/cgroup", Root: "/", Own: "/../other",
				Unusable: "the group of this process (/../other) is outside of what is mounted (/)",
			}},
			nil,
		},
		{
			"another container's mount", "1 0 0:1 /docker/abcdef /c rw - cgroup2 c rw\n", "0::/docker/abc\n", "",
			[]Hierarchy{{
				Version: 2, Mount: "/c", Root: "/docker/abcdef", Own: "/docker/abc",
				Unusable: "the group of this process (/docker/abc) is outside of what is mounted (/docker/abcdef)",
			}},
			nil,
		},
		{
			"removed", desktopMounts, "0::/gone (deleted)\n", "",
			[]Hierarchy{{
				Version: 2, Mount: "/sys/fs/cgroup", Root: "/", Own: "/gone (deleted)",
				Unusable: "the group of this process has been removed",
			}},
			nil,
		},
		{
			"colon, blank and backslash", "1 0 0:1 / /my\\040cg\\134 rw - cgroup2 c rw\n", "0::/a:b\n", "pids\n",
			[]Hierarchy{{Version: 2, Controllers: PidsController, Mount: `/my cg\`, Root: "/", Own: "/a:b"}},
			[]string{`/my cg\/a:b`},
		},
		{
			"the writable one of two", "1 0 0:1 / /ro ro - cgroup2 c rw\n2 0 0:1 / /rw rw - cgroup2 c rw\n3 0 0:1 / /later rw - cgroup2 c rw\n", "0::/\n", "",
			[]Hierarchy{{Version: 2, Mount: "/rw", Root: "/", Own: "/"}},
			[]string{"/rw"},
		},
		{"no cgroups", "24 30 0:22 / /proc rw - proc proc rw\n", "", "", nil, nil},
		{"nothing", "", "", "", nil, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := ParseHost(c.mounts, c.self, c.controllers)
			assert.Equal(t, c.want, h.Hierarchies)
			for i, want := range c.dirs {
				dir, ok := h.Hierarchies[i].dir("")
				assert.True(t, ok)
				assert.Equal(t, want, dir)
			}
		})
	}
}

func TestHolder(t *testing.T) {
	hybrid := ParseHost(hybridMounts, hybridSelf, "")
	for c, want := range map[Controllers]string{
		MemoryController: "/sys/fs/cgroup/memory", PidsController: "/sys/fs/cgroup/pids", CPUController: "/sys/fs/cgroup/cpu",
		CPUAcctController: "/sys/fs/cgroup/cpuacct", FreezerController: "/sys/fs/cgroup/freezer", IOController: "/sys/fs/cgroup/blkio",
	} {
		assert.Equal(t, want, hybrid.holder(c).Mount, c.String())
	}
	desktop := ParseHost(desktopMounts, desktopSelf, desktopControllers)
	for _, n := range controllerNames {
		assert.Equal(t, 2, desktop.holder(n.c).Version, n.v1)
	}
	// Some in v2 and some in v1: freezing and CPU time follow memory or pids.
	split := ParseHost(hybridMounts, hybridSelf, "pids")
	assert.Equal(t, 2, split.holder(PidsController).Version)
	assert.Equal(t, 2, split.holder(FreezerController).Version)
	assert.Equal(t, 1, split.holder(MemoryController).Version)
	// A hybrid host without a freezer of v1 has that of v2.
	core := ParseHost("1 0 0:1 / /u rw - cgroup2 c rw\n2 0 0:2 / /m rw - cgroup c rw,memory\n", "0::/\n1:memory:/\n", "")
	assert.Equal(t, 2, core.holder(FreezerController).Version)
	assert.Nil(t, core.holder(PidsController))
	assert.ErrorIs(t, core.whyNot(PidsController), ErrUnsupported)
}

func FuzzParseHost(f *testing.F) {
	f.Add(hybridMounts, hybridSelf, "")
	f.Add(desktopMounts, desktopSelf, desktopControllers)
	f.Add(dockerMounts, dockerSelf, "")
	f.Add("1 0 0:1 \\057 /a\\ rw - cgroup2 c rw", "0::/../x", "pids")
	f.Fuzz(func(t *testing.T, mounts, self, controllers string) {
		for _, y := range ParseHost(mounts, self, controllers).Hierarchies {
			if y.Unusable != "" {
				continue
			}
			dir, ok := y.dir("")
			if !ok || dir == "" || dir[0] != '/' {
				t.Fatalf("usable but nowhere: %+v", y)
			}
		}
	})
}
