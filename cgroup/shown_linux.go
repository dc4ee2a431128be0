package cgroup

import (
	"slices"

	"golang.org/x/sys/unix"
)

// ShownOnV1 are the controllers of v1 that a group with Options.Shown wants beyond those of its limits.
func (h *Host) ShownOnV1() Controllers {
	var c Controllers
	for _, n := range controllerNames {
		if y := h.holder(n.c); y != nil && y.Version == 1 && shownControllers.Has(n.c) {
			c |= n.c
		}
	}
	return c
}

// Shown lists the hierarchies to mount for a command to see the limits that hold for it, in the kernel's words: UnifiedHierarchy, or v1's such as
// "cpu,cpuacct". In each the processes of a command are in the leaf or in the sandbox's group, so that is all they see in a cgroup
// namespace of their own (cgroup_namespaces(7)). Nil without Options.Shown.
func (m *Manager) Shown() []string {
	if !m.opts.Shown {
		return nil
	}
	text, err := readString(unix.AT_FDCWD, "/proc/self/cgroup")
	if err != nil {
		return nil
	}
	legacy := LegacyHierarchies(text)
	var names []string
	for _, d := range m.dirs {
		switch {
		case d.Version == 2 && d.Controllers&shownControllers&^coreV2 != 0:
			names = append(names, UnifiedHierarchy)
		case d.Version == 1:
			if i := slices.IndexFunc(legacy, func(n string) bool { return parseV1Controllers(n)&d.Controllers != 0 }); i >= 0 {
				names = append(names, legacy[i])
			}
		}
	}
	return names
}

// shown adds to a leaf's limits, or to a change of them, the sandbox's CPU time.
func (m *Manager) shown(l, sandbox Limits) Limits {
	if m.opts.Shown && l.CPUs == 0 {
		l.CPUs = sandbox.CPUs
	}
	return l
}

// shownChange is what changes in a standing leaf. One with CPU time of its own keeps that; one that began without any has no group to show it in.
func (l *Leaf) shownChange(change, sandbox Limits) Limits {
	if has := l.Limits().CPUs; has == Max || has != 0 && has == l.m.Limits().CPUs {
		return l.m.shown(change, sandbox)
	}
	return change
}

// loosen takes away, where less CPU time is about to be had, the leaves' repetitions of what there was: v1 refuses less than a group below
// has (tg_cfs_schedulable_down in kernel/sched/core.c).
func (m *Manager) loosen(change Limits) (undo func() error, err error) {
	if !m.opts.Shown || change.CPUs <= 0 || versionOf(m.dirs, CPUController) != 1 {
		return func() error { return nil }, nil
	}
	return m.updateLeaves(func(l *Leaf) Limits { return l.shownChange(Limits{}, Limits{CPUs: Max}) })
}
