package cgroup

import (
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

func TestLegacyHierarchies(t *testing.T) {
	const self = "12:name=systemd:/\n9:cpu,cpuacct:/a:b\n8:net_cls,net_prio:/\n7:memory,name=odd:/\n6:pids:/x\n5:memory,misc:/\n1:freezer:/\n0::/\n\nbad\n"
	assert.Equal(t, []string{"cpu,cpuacct", "pids", "memory,misc"}, LegacyHierarchies(self))
	assert.Empty(t, LegacyHierarchies("0::/user.slice\n"))
}

// Where leaves are shown, they have the sandbox's CPU time for their own, and v1 has groups of which nobody else's are in sight.
func TestPlanShown(t *testing.T) {
	acc := Options{Shown: true}.accounts()
	p, err := planGroup(legacy, "sb", Limits{Memory: 64 << 20}, acc)
	require.NoError(t, err)
	var made []string
	for _, op := range p.ops(legacy.Dirs) {
		if op.Call == "mkdir" {
			made = append(made, op.Path)
		}
	}
	for _, d := range []string{"memory", "cpu,cpuacct", "cpuset", "pids"} {
		assert.Contains(t, made, "/cg/"+d+"/own/sb")
	}
	p, err = planGroup(unified, "sb", Limits{Memory: 64 << 20}, acc)
	require.NoError(t, err)
	assert.NotContains(t, lines(p.ops(unified.Dirs)), "cpuset", "v2 shows limits without")
}

// A leaf repeats the CPU time of its sandbox, and follows it down and up, or back where a change fails.
func TestShownQuota(t *testing.T) {
	failing := ""
	opts := Options{Shown: true, Trace: func(o Op) error {
		if failing != "" && strings.HasSuffix(o.Path, failing) {
			return unix.EMLINK
		}
		return nil
	}}
	limits := Limits{CPUs: 1, Pids: 20, Memory: 64 << 20}
	m, err := NewWith(testParent(t, limits.Controllers()), "sb", limits, opts)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, m.Delete()) })
	shared, own := testLeaf(t, m, "shared", Limits{}), testLeaf(t, m, "own", Limits{CPUs: 0.1})
	quota := func(ps places) string {
		p := ps.of(CPUController)
		if p.Version == 2 {
			return strings.Fields(slurp(t, p.Path+"/cpu.max"))[0]
		}
		return slurp(t, p.Path+"/cpu.cfs_quota_us")
	}
	have := func() []string { return []string{quota(m.ps), quota(shared.ps), quota(own.ps)} }
	assert.Equal(t, []string{"100000", "100000", "10000"}, have())
	require.NoError(t, m.Update(Limits{CPUs: 0.5}))
	assert.Equal(t, []string{"50000", "50000", "10000"}, have(), "less")
	require.NoError(t, m.UpdateWith(Limits{CPUs: 2}, func(string) Limits { return Limits{Pids: 10} }))
	assert.Equal(t, []string{"200000", "200000", "10000"}, have(), "more")
	failing = "/own/pids.max"
	require.ErrorIs(t, m.UpdateWith(Limits{CPUs: 0.5}, func(string) Limits { return Limits{Pids: 15} }), unix.EMLINK)
	failing = ""
	assert.Equal(t, []string{"200000", "200000", "10000"}, have(), "all or nothing")
	assert.Equal(t, 2.0, m.Limits().CPUs)
	assert.Equal(t, 2.0, shared.Limits().CPUs)

	names := m.Shown()
	if versionOf(m.dirs, MemoryController) == 2 {
		assert.Equal(t, []string{UnifiedHierarchy}, names)
	} else {
		assert.True(t, slices.ContainsFunc(names, func(n string) bool { return parseV1Controllers(n).Has(MemoryController) }), names)
	}

	// Control: leaves that nobody is shown have no quota of their own.
	plain := testManagerNamed(t, m, "plain", limits)
	leaf := testLeaf(t, plain, "l", Limits{})
	assert.Zero(t, leaf.Limits().CPUs)
	assert.Nil(t, plain.Shown())
}
