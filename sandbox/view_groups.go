package sandbox

import (
	"slices"
	"strings"

	"github.com/belljar-go/belljar/cgroup"
	"github.com/belljar-go/belljar/rootfs"
)

// groupsDir is where programs look for their cgroup, to find out what they may use.
const groupsDir = "/sys/fs/cgroup"

// shownGroup is a hierarchy of cgroups of which a command sees its own group.
type shownGroup struct {
	name   string // as of cgroup.Manager.Shown
	target string // in the root
}

// groupsOps returns the operations that make room for the groups, at the paths where systemd would have them: the unified hierarchy by itself, or
// a directory for each of v1's, with links for those that have several controllers. Nil, if something of the caller's is in the way.
func groupsOps(legacy []string, callers []rootfs.Op) []rootfs.Op {
	for _, op := range callers {
		hostSys, ok := op.(rootfs.Bind)
		ok = ok && hostSys.Source == "/sys" && hostSys.Target == "/sys"
		if rootfs.Within(op.Path(), groupsDir) || rootfs.Within(groupsDir, op.Path()) && !ok {
			return nil
		}
	}
	ops := []rootfs.Op{rootfs.Tmpfs{Target: groupsDir, Size: 64 << 10, Inodes: 64, ReadOnly: true}}
	if len(legacy) == 0 {
		return ops
	}
	for _, name := range append(slices.Clone(legacy), unifiedBeside) {
		ops = append(ops, rootfs.Dir{Target: groupsDir + "/" + name})
		if parts := strings.Split(name, ","); len(parts) > 1 {
			for _, part := range parts {
				ops = append(ops, rootfs.Symlink{Target: groupsDir + "/" + part, Link: name})
			}
		}
	}
	return ops
}

const unifiedBeside = "unified"

// placeGroups says where each of the hierarchies goes on a host that has these of v1.
func placeGroups(names, legacy []string) []shownGroup {
	var groups []shownGroup
	for _, name := range names {
		g := shownGroup{name: name, target: groupsDir + "/" + name}
		switch {
		case name != cgroup.UnifiedHierarchy:
			if !slices.Contains(legacy, name) {
				continue
			}
		case len(legacy) == 0:
			g.target = groupsDir
		default:
			g.target = groupsDir + "/" + unifiedBeside
		}
		groups = append(groups, g)
	}
	return groups
}
