package sandbox

import (
	"errors"
	"slices"
	"strings"
	"syscall"

	"github.com/belljar-go/belljar/rootfs"
	"github.com/belljar-go/belljar/rootfs/image"
)

// Explain says in a sentence or a few what can be done about an error of this package, or
// "" if there is nothing to say that the error does not. It looks at nothing but the
// error: where several causes look the same it names them all. Probe finds out which.
func Explain(err error) string {
	if err == nil {
		return ""
	}
	if errors.Is(err, ErrClosed) {
		return "The sandbox has ended and its handle is of no more use. Make another with New."
	}
	if e := (*Error)(nil); errors.As(err, &e) && e.Stage == stageOptions {
		return "" // it names the option, the text and the rule already
	}
	special := ""
	var r interface{ Remedy() string }
	if errors.As(err, &r) {
		special = r.Remedy()
	}
	at := locate(err)
	named := special != "" && at.namesParent()
	for _, r := range remedies {
		if r.fits(at, err) && !(named && r.host) {
			return strings.TrimSpace(sentence(special) + " " + r.text)
		}
	}
	return sentence(special)
}

// sentence makes one of a clause.
func sentence(s string) string {
	if s == "" {
		return ""
	}
	return strings.ToUpper(s[:1]) + s[1:] + "."
}

// place is what an error says of where it happened.
type place struct{ steps, paths string }

func locate(err error) place {
	var at place
	for {
		var e *Error
		if !errors.As(err, &e) {
			return at
		}
		at.steps += strings.ToLower(e.Stage + " " + e.Op + " ")
		at.paths += e.Path + " "
		err = e.Err
	}
}

// namesParent says that the error is about a group which a caller named: the error has a remedy for that very group.
func (at place) namesParent() bool {
	return strings.Contains(at.steps, "cgroup parent ") || strings.Contains(at.steps, " controller ")
}

// remedy is what to do about one kind of error.
type remedy struct {
	steps  []string        // one of them is part of a stage or call,
	paths  []string        // or one of them of an object; both none: any
	errnos []syscall.Errno // the error is one of them; none: any
	is     error           // and this; nil: any
	host   bool            // speaks of the host program's own group and of what the host has: wrong of a group that a caller named
	text   string
}

func (r remedy) fits(at place, err error) bool {
	if r.is != nil && !errors.Is(err, r.is) {
		return false
	}
	anywhere := len(r.steps)+len(r.paths) == 0
	if !anywhere && !hasAny(at.steps, r.steps) && !hasAny(at.paths, r.paths) {
		return false
	}
	return len(r.errnos) == 0 || slices.ContainsFunc(r.errnos, func(e syscall.Errno) bool { return errors.Is(err, e) })
}

func hasAny(s string, words []string) bool {
	return slices.ContainsFunc(words, func(w string) bool { return strings.Contains(s, w) })
}

// remedies are tried in order: the more special come first.
var remedies = []remedy{
	{
		steps:  []string{"newuidmap", "newgidmap"},
		paths:  []string{"/newuidmap", "/newgidmap"},
		errnos: []syscall.Errno{syscall.ENOENT},
		text: "Ranges of ids need the programs newuidmap and newgidmap: install the package uidmap (Debian, Ubuntu) or shadow-utils (Fedora). " +
			"Without them only a single id can be mapped: leave out WithIDMap.",
	},
	{
		steps: []string{"newuidmap", "newgidmap", "subuid", "subgid"},
		paths: []string{"/newuidmap", "/newgidmap", "/etc/subuid", "/etc/subgid"},
		text: "This user may not map these ids. Give it a range in /etc/subuid and /etc/subgid: usermod --add-subuids 100000-165535 --add-subgids 100000-165535 USER. " +
			"newuidmap and newgidmap have to be setuid root, or have the file capabilities cap_setuid and cap_setgid.",
	},
	{
		steps:  []string{"clone", "unshare", "namespace"},
		errnos: []syscall.Errno{syscall.ENOSPC, errUsers},
		text: "The host limits how many namespaces there are, or how deep they nest (32). Raise the sysctl user.max_user_namespaces and its like below /proc/sys/user; " +
			"0 there means that somebody has forbidden them.",
	},
	{
		steps:  []string{"clone", "unshare", "setns", "uid_map", "gid_map", "setgroups", "id map"},
		paths:  []string{"/uid_map", "/gid_map", "/setgroups"},
		errnos: []syscall.Errno{syscall.EPERM, syscall.EACCES},
		text: "User namespaces are refused to this process. " +
			"On Ubuntu 23.10 and later AppArmor does that: give the program an AppArmor profile with the rule \"userns,\", or set the sysctl kernel.apparmor_restrict_unprivileged_userns=0. " +
			"On Debian the sysctl kernel.unprivileged_userns_clone may be 0. " +
			"In a container its seccomp profile does that: with docker use --security-opt seccomp=PROFILE with one that allows clone, clone3, unshare, mount and pivot_root, or unconfined; --privileged is not needed. " +
			"In Kubernetes set securityContext.seccompProfile.",
	},
	{
		is: rootfs.ErrStoreOpen,
		text: "A store of layers holds what images bring, setuid programs among it, and has to belong to this user and be closed to others: chmod 700 DIR, " +
			"or name another with image.WithStore.",
	},
	{
		is:   image.ErrLimit,
		text: "The image is larger than it may be. If it is meant to be, image.WithLimits sets other limits.",
	},
	{
		steps:  []string{"id map mount_setattr"},
		errnos: []syscall.Errno{syscall.EINVAL, syscall.EPERM},
		text: "The file system of this directory cannot map ids (tmpfs can since Linux 6.3, NFS and overlayfs cannot), so what the job writes there would belong to nobody. " +
			"Bind a directory of another file system, such as ext4, xfs or btrfs; bind it read-only; or collect results with Sandbox.FS.",
	},
	{
		steps: []string{"id map", "withidmap"},
		text: "An ordinary user maps ids other than the own only with the programs newuidmap and newgidmap (package uidmap or shadow-utils) and a range in /etc/subuid and /etc/subgid: " +
			"usermod --add-subuids 100000-165535 --add-subgids 100000-165535 USER.",
	},
	{
		steps:  []string{"cgroup"},
		paths:  []string{"/sys/fs/cgroup"},
		errnos: []syscall.Errno{syscall.EBUSY},
		host:   true,
		text: "Version 2 lets a cgroup have processes or controllers for its children, not both. Run the program in a cgroup of its own: " +
			"systemd-run --user --scope -p Delegate=yes PROGRAM, or Delegate=yes in its unit.",
	},
	{
		steps:  []string{"cgroup"},
		paths:  []string{"/sys/fs/cgroup"},
		errnos: []syscall.Errno{syscall.EROFS},
		text: "The cgroup file system is mounted read-only, as containers have it by default. With docker use --cgroupns=private and " +
			"-v /sys/fs/cgroup:/sys/fs/cgroup:rw; with podman --security-opt unmask=/sys/fs/cgroup. " +
			"Or wrap the limits in BestEffort to do without.",
	},
	{
		steps:  []string{"cgroup"},
		paths:  []string{"/sys/fs/cgroup"},
		errnos: []syscall.Errno{syscall.EPERM, syscall.EACCES},
		text: "No part of the cgroup tree is delegated to this user. With systemd: systemd-run --user --scope -p Delegate=yes PROGRAM, or Delegate=yes in the unit. " +
			"Some hosts delegate memory and pids but not cpu: put Delegate=cpu cpuset io memory pids in /etc/systemd/system/user@.service.d/delegate.conf. " +
			"Or wrap the limits in BestEffort to do without.",
	},
	{
		steps: []string{"cgroup"},
		paths: []string{"/sys/fs/cgroup"},
		is:    ErrUnsupported,
		host:  true,
		text: "This host has no such cgroup controller. On the kernel's command line cgroup_disable=memory takes it away, and cgroup_enable=memory gives it back (Raspberry Pi). " +
			"In a nested cgroup it has to be in cgroup.subtree_control of the one above.",
	},
	{
		steps: []string{"withproc"},
		text: "Install and start lxcfs (Debian, Ubuntu: the package lxcfs), as root. " +
			"WithProc(ViewSandbox) uses it where it runs and makes files of its own elsewhere.",
	},
	{
		paths:  []string{"/proc "},
		errnos: []syscall.Errno{syscall.EPERM},
		text: "The kernel refuses a /proc of one's own where parts of the outer one are covered, as in most containers. With docker use --security-opt systempaths=unconfined, " +
			"with podman --security-opt unmask=ALL, in Kubernetes securityContext.procMount: Unmasked.",
	},
	{
		paths:  []string{"/proc "},
		errnos: []syscall.Errno{syscall.ENOENT},
		text:   "There is no /proc where one is needed: mount one in the host program's root, or make the directory in the root given to WithRootfs.",
	},
	{
		steps:  []string{"mount_setattr", "idmap"},
		errnos: []syscall.Errno{syscall.EINVAL, syscall.EPERM, syscall.EOPNOTSUPP},
		text: "The file system of this directory takes no id-mapped mounts (Linux 5.12; overlayfs 5.19, tmpfs 6.3; not NFS, nor FUSE without its help). " +
			"Copy it to ext4, xfs or btrfs, or make it readable for everybody and use WithIDMap.",
	},
	{
		paths:  []string{overlayObject},
		errnos: []syscall.Errno{syscall.ENODEV},
		text:   "The kernel has no overlayfs: load the module (modprobe overlay), or give the root as one directory with WithRootfs, which needs none if the directory has all mount points.",
	},
	{
		paths:  []string{overlayObject},
		errnos: []syscall.Errno{syscall.EPERM, syscall.EACCES},
		text: "Overlayfs is refused to this process: the kernel allows it in a user namespace since Linux 5.11, but a security module or a container's seccomp profile may still forbid it. " +
			"Run the program as root, or lay the directories over each other yourself, with fuse-overlayfs say, and give the result with WithRootfs; belljar runs no such helper.",
	},
	{
		paths:  []string{overlayObject},
		errnos: []syscall.Errno{syscall.EINVAL, syscall.EOPNOTSUPP, syscall.EREMOTE},
		text: "Overlayfs does not take these directories: NFS, FUSE and overlayfs itself cannot hold what is written (WithUpper), and some, as vfat, cannot be a layer at all. " +
			"Put them on ext4, xfs or btrfs; dmesg has the kernel's reason.",
	},
	{
		steps:  []string{"mount"},
		errnos: []syscall.Errno{syscall.EPERM, syscall.EACCES},
		text: "Mounting is refused. Inside a container its seccomp or AppArmor profile may do that (docker: --security-opt apparmor=unconfined); " +
			"on Ubuntu 23.10 and later AppArmor does it to user namespaces of unprivileged programs: sysctl kernel.apparmor_restrict_unprivileged_userns. " +
			"A source on a mount that is locked by an outer namespace cannot be bound without what is mounted below it.",
	},
	{
		steps:  []string{"pivot_root"},
		errnos: []syscall.Errno{syscall.EINVAL},
		text: "The root of this process cannot be pivoted: it is the initial ramfs, or not a mount of its own. Run the program from a real root file system (switch_root); " +
			"or accept the weaker promise of WithChroot.",
	},
	{
		steps: []string{"seccomp"},
		is:    ErrUnsupported,
		text:  "There is no system call filter for this architecture: policies compile on amd64 and arm64. The kernel needs CONFIG_SECCOMP_FILTER.",
	},
	{
		steps:  []string{"chdir", "directory"},
		errnos: []syscall.Errno{syscall.ENOENT, syscall.ENOTDIR, syscall.EACCES},
		text:   "The working directory is not in the sandbox's root, or the job's user may not enter it. See WithDir, and the command's Dir.",
	},
	{
		steps:  []string{"exec"},
		errnos: []syscall.Errno{syscall.ENOEXEC},
		text:   "The file is no program for this machine: it was built for another architecture, is damaged or empty, or is a script without #! in its first line.",
	},
	{
		steps:  []string{"exec"},
		errnos: []syscall.Errno{syscall.ENOENT},
		text: "The program is not in the sandbox's root, or what runs it is not: the interpreter in a script's first line, or the dynamic loader and libraries of a program (ldd PROGRAM lists them). " +
			"Add what is missing with WithBind, or use a static program.",
	},
	{
		steps:  []string{"exec"},
		errnos: []syscall.Errno{syscall.EACCES, syscall.EPERM},
		text: "The program may not be executed by the job's user: the file has no x permission for it, a directory on the way cannot be entered, it is no regular file, or its mount is noexec. " +
			"See WithCredential and WithBind.",
	},
	{
		steps:  []string{"rlimit"},
		errnos: []syscall.Errno{syscall.EPERM},
		text:   "Nobody but root can raise a hard limit: ask for less, or raise it for the host program (ulimit -H, LimitNOFILE= and its like in a unit).",
	},
	{
		errnos: []syscall.Errno{syscall.EMFILE, syscall.ENFILE},
		text:   "The host program has too many files open: close sandboxes that are done, or raise its limit (ulimit -n, LimitNOFILE=).",
	},
	{
		errnos: []syscall.Errno{syscall.ENOSYS},
		text: "The kernel does not have this system call: belljar needs Linux 5.14. In a container with an old runtime its seccomp profile may answer so in place of the kernel: " +
			"update docker (20.10.10 or later) and libseccomp (2.5 or later).",
	},
}

// overlayObject is what errors of mounting layers are about.
const overlayObject = "layers over each other"

// errUsers is EUSERS as Linux numbers it, which not every operating system has.
const errUsers = syscall.Errno(87)
