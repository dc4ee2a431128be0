package sandbox

import (
	"strings"

	"github.com/belljar-go/belljar/cgroup"
	"github.com/belljar-go/belljar/sandbox/internal/plan"
	"golang.org/x/sys/unix"
)

// ownGroups gives a command a cgroup namespace, made by itself so that its own leaf is the root of what it sees (cgroup_namespaces(7)), and shows it its
// groups where it is to see them. The mounts are made in a mount namespace of the command's own, for they differ from command to command.
//
// They are read-only and cannot be made otherwise without CAP_SYS_ADMIN, for a rootless job has the ids of those who may write to its group's files (CVE-2023-25809).
func (a assembler) ownGroups(shown []shownGroup) {
	const object = "cgroup namespace"
	if len(shown) == 0 {
		a.Call(unix.SYS_UNSHARE, "unshare", object, names(unix.CLONE_NEWCGROUP, cloneNames))
		return
	}
	a.Call(unix.SYS_UNSHARE, "unshare", object, names(unix.CLONE_NEWCGROUP|unix.CLONE_NEWNS, cloneNames))
	a.strict = true
	for _, g := range shown {
		kind, options := hierarchy(g.name)
		// Neither descriptor is closed here: close_range does it next.
		mnt := a.filesystem(kind, g.target, attrNone|attrRO, options...)
		at := a.openat2(plan.None, g.target, unix.O_PATH|unix.O_DIRECTORY, "O_PATH|O_DIRECTORY", 0, g.target)
		a.attach(mnt, at, g.target)
	}
}

// hierarchy is how the file system of a hierarchy is mounted.
func hierarchy(name string) (kind string, options []string) {
	if name == cgroup.UnifiedHierarchy {
		return "cgroup2", nil
	}
	return "cgroup", strings.Split(name, ",")
}

// tryGroups finds out, before there are commands, whether they will be able to mount what they are to see: a security module of the host's may be against it. The result
// is that of the step which it returns the register of.
func (a assembler) tryGroups(name string) plan.Reg {
	const object = "groups to show"
	a.Stage("groups")
	a.Call(unix.SYS_UNSHARE, "unshare", object, names(unix.CLONE_NEWCGROUP, cloneNames))
	kind, options := hierarchy(name)
	fs, out := a.Reg("fs"), a.Reg("groups")
	a.Call(unix.SYS_FSOPEN, "fsopen", object, a.Str(kind), plan.Flag(unix.FSOPEN_CLOEXEC, "FSOPEN_CLOEXEC")).To(fs)
	for _, o := range options {
		a.Call(unix.SYS_FSCONFIG, "fsconfig", object, plan.R(fs), plan.Flag(unix.FSCONFIG_SET_FLAG, "SET_FLAG"), a.Str(o), plan.Null, plan.Zero)
	}
	a.Call(unix.SYS_FSCONFIG, "fsconfig", object, plan.R(fs), plan.Flag(unix.FSCONFIG_CMD_CREATE, "CMD_CREATE"), plan.Null, plan.Null, plan.Zero).Tolerate().To(out)
	a.close(fs)
	return out
}
