package cgroup

import "strings"

// Controllers is a set of kernel controllers. On v2, CPU time accounting and
// freezing belong to the core and need no controller; they are members here
// because v1 has them as controllers of their own.
type Controllers uint16

// The controllers this package knows. IOController is "io" on v2 and "blkio"
// on v1.
const (
	CPUController Controllers = 1 << iota
	CPUAcctController
	MemoryController
	PidsController
	FreezerController
	IOController
	CPUSetController
	HugetlbController
)

// DefaultAccounts is what [New] sets up beyond what the limits need, as far as
// the host has it.
const DefaultAccounts = MemoryController | CPUAcctController | PidsController | FreezerController

const (
	// coreV2 needs no controller on v2: cpu.stat and cgroup.freeze are in every group.
	coreV2 = CPUAcctController | FreezerController
	// leafV1 are the v1 hierarchies in which a leaf has a directory of its own.
	// Every further one would cost each command a mkdir, an rmdir and an open.
	leafV1 = MemoryController | CPUAcctController | PidsController
)

var controllerNames = []struct {
	c      Controllers
	v1, v2 string
}{
	{CPUController, "cpu", "cpu"},
	{CPUAcctController, "cpuacct", ""},
	{MemoryController, "memory", "memory"},
	{PidsController, "pids", "pids"},
	{FreezerController, "freezer", ""},
	{IOController, "blkio", "io"},
	{CPUSetController, "cpuset", "cpuset"},
	{HugetlbController, "hugetlb", "hugetlb"},
}

// Has reports whether all of x are in c.
func (c Controllers) Has(x Controllers) bool { return c&x == x }

// String lists the kernel's names (v1's where they differ), comma-separated.
func (c Controllers) String() string {
	var s []string
	for _, n := range controllerNames {
		if c.Has(n.c) {
			s = append(s, n.v1)
		}
	}
	return strings.Join(s, ",")
}

// enable is the text which turns c on in a cgroup.subtree_control file.
func (c Controllers) enable() string {
	var s []string
	for _, n := range controllerNames {
		if n.v2 != "" && c.Has(n.c) {
			s = append(s, "+"+n.v2)
		}
	}
	return strings.Join(s, " ")
}

// parseV2Controllers reads cgroup.controllers or cgroup.subtree_control.
// Unknown names are left out.
func parseV2Controllers(s string) Controllers {
	var c Controllers
	for _, f := range strings.Fields(s) {
		for _, n := range controllerNames {
			if n.v2 == f && f != "" {
				c |= n.c
			}
		}
	}
	return c
}

// parseV1Controllers reads a comma-separated list such as "rw,cpu,cpuacct".
func parseV1Controllers(s string) Controllers {
	var c Controllers
	for _, f := range strings.Split(s, ",") {
		for _, n := range controllerNames {
			if n.v1 == f {
				c |= n.c
			}
		}
	}
	return c
}
