package sandbox

import (
	"slices"

	"github.com/belljar-go/belljar/rootfs"
)

// WithProc says of what machine /proc tells, for programs that fit themselves to it: with
// ViewSandbox they find the limits of the sandbox in place of the host's size. It covers
// the files named at [View]; sysinfo(2) is a system call and stays the host's.
//
// Memory follows WithMemory and WithSwap, and CPUs WithCPUs, rounded up to whole ones.
// Because many programs (nproc, Go, Java) ask the scheduler instead of a file, commands
// are bound to that many CPUs too (sched_setaffinity(2)): of those that the host program
// may use, and sandbox by sandbox others. That is no wall: the limit of time is.
//
// Runtimes that read their cgroup find it too: Java for its heap, Go from 1.25 on for GOMAXPROCS. A command
// sees its own group, and nothing else of the host's, read-only at /sys/fs/cgroup, with its own limits where it has some.
// For that each command has a mount namespace of its own, a copy of the sandbox's: what one mounts that may do so
// (CAP_SYS_ADMIN and a filter of the caller's), others do not see. It takes a cgroup, and namespaces for mounts and cgroups;
// where something of the caller's is at /sys or below, other than the host's own /sys, that stays. The report says whether
// commands see their groups.
//
// BestEffort around ViewLXCFS makes files where lxcfs does not run.
func WithProc(view View) Option {
	fault := ""
	if int(view) >= len(viewNames) {
		fault = "is no view"
	}
	return softly(single("WithProc", view.String(), view, fault, func(s *spec, v View) { s.view = v }))
}

// What WithHidePID can be asked for.
const (
	// HideContents shows processes that the job may not trace, but nothing in their directories.
	HideContents = rootfs.HideContents
	// HideProcesses shows nothing of processes that the job may not trace.
	HideProcesses = rootfs.HideProcesses
)

// WithHidePID hides processes of the sandbox in /proc from those that may not trace them:
// PID 1, those of other users and, where Landlock is on, those of other commands.
func WithHidePID(how rootfs.HidePID) Option {
	fault := ""
	if why := opFault(rootfs.Proc{Target: "/proc", Hide: how}); why != "" {
		fault = "is no way to hide processes"
	}
	o := single("WithHidePID", "", how, fault, func(s *spec, h rootfs.HidePID) { s.hidePID = h })
	return o
}

// WithProcPIDs leaves everything out of /proc but processes and the links self and
// thread-self (subset=pid of proc(5)): no meminfo, no cpuinfo, no sys, net and mounts that
// tell of the machine. Programs that look for these do without or fail.
func WithProcPIDs() Option {
	return single("WithProcPIDs", "", true, "", func(s *spec, on bool) { s.pidsOnly = on })
}

// WithDevice shows a device of the host's at dst in the sandbox's /dev, such as "/dev/fuse",
// "/dev/net/tun", "/dev/kvm" or "/dev/dri/renderD128"; dst is usually the same path. What
// is no device, or one that the caller may not open, is an error.
//
// As root the job gets a node of its own, which it may open whatever the permissions of
// the host's, for reading and writing or, with ReadOnly, for reading alone; which the
// host's node loses does not concern it. An ordinary user's job has the host's node, and
// ReadOnly is an ErrUnsupported. Optional leaves out what does not exist.
//
// A device is as much of the host as its driver lets a user of it reach: a disk is all
// that is on it. No device cgroup is involved, since nothing in a sandbox can make a node.
func WithDevice(src, dst string, flags ...rootfs.Flags) Option {
	var all rootfs.Flags
	for _, f := range flags {
		all |= f
	}
	o := option{label: "WithDevice", text: src + ":" + dst, soft: true}
	o.set = func(s *spec, soft bool) error {
		abs, err := hostPath(o, src)
		if err != nil {
			return err
		}
		device := rootfs.Device{Source: abs, Target: dst, Flags: all}
		if soft {
			device.Flags |= Optional
		}
		if !rootfs.Within(dst, "/dev") {
			if why := opFault(device); why == "" {
				return invalid(o.label, dst, "is not in /dev, the only place where nodes work")
			}
		}
		return s.addOp(o, device)
	}
	return o
}

// WithChroot lets the root be entered by chroot(2) where pivot_root(2) is impossible: where the host program's own root is the
// initial ramfs of the kernel (EINVAL), as in a rescue system or a machine that runs from its initramfs. Without it New fails there.
//
// The promise is weaker then, and the report says so: the host's root stays mounted beneath the sandbox's, in its mount namespace. No path leads
// there, but who could take mounts away would come to it, so the option does not go with CAP_SYS_ADMIN and CAP_SYS_CHROOT.
func WithChroot() Option {
	return single("WithChroot", "", true, "", func(s *spec, on bool) { s.chroot = on })
}

// partOps returns the caller's operations in a form in which they can be checked without the rest of the root.
func (s *spec) partOps() []rootfs.Op {
	isDevice := func(op rootfs.Op) bool { _, ok := op.(rootfs.Device); return ok }
	if !slices.ContainsFunc(s.ops, isDevice) {
		return s.ops
	}
	return slices.Insert(slices.Clone(s.ops), 0, rootfs.Op(rootfs.Dev{Target: "/dev"}))
}
