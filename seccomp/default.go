package seccomp

import "slices"

// Default is the policy of a sandbox that asks for none: what ordinary programs, compilers and interpreters use, without
// what reaches beyond a process's own resources or has a record of kernel holes. It is modelled on the profile that
// container engines use, and narrower.
//
//   - Known calls outside the list answer EPERM. Out are, among others: ptrace, process_vm_readv and process_vm_writev,
//     pidfd_getfd, kcmp (other processes); mount, umount2, open_tree, fsopen, move_mount, mount_setattr and their kin,
//     pivot_root, chroot (mounts); unshare, setns (namespaces); io_uring, bpf, perf_event_open, userfaultfd, the
//     keyring calls, modify_ldt (kernel surface); modules, kexec, reboot, swap, quota, clocks, host name (the machine).
//   - socket and socketpair make only AF_UNIX, AF_INET and AF_INET6 sockets.
//   - clone makes no namespace; personality sets only harmless values; ioctl does everything but TIOCSTI and TIOCLINUX,
//     which type into the terminal the program was started from (CVE-2017-5226, CVE-2023-1523).
//   - clone3 keeps its flags in memory, where no filter sees them: it answers ENOSYS, and libc takes clone. So do
//     statmount, listmount, listns, file_getattr, file_setattr, rseq_slice_yield and get_mempolicy, whose callers have
//     another way, and all numbers unknown to this package.
//
// The result is the caller's to change. It is [Preset] "default-v1".
func Default() Policy {
	return Policy{
		Default: Errno(eperm),
		Unknown: Errno(enosys),
		Rules:   defaultRules(),
	}
}

func defaultRules() []Rule {
	rules := make([]Rule, 0, 32)
	for _, g := range allowedGroups {
		rules = append(rules, Rule{Names: slices.Clone(g.names), Action: Allow})
	}
	rules = append(rules,
		Rule{Names: slices.Clone(lackingGroup.names), Action: Errno(enosys)},
		// The flags' place is the same on amd64 and arm64. CLONE_NEWTIME is none of clone's: it lies in the exit signal.
		Rule{Names: []string{"clone"}, Action: Allow, Args: []Arg{{Index: 0, Op: MaskedEqual, Value: cloneNamespaces}}},
	)
	for _, request := range []uint32{tiocsti, tioclinux} {
		rules = append(rules, Rule{Names: []string{"ioctl"}, Action: Errno(eperm), Args: []Arg{Low32(1, request)}})
	}
	rules = append(rules, Rule{Names: []string{"ioctl"}, Action: Allow})
	for _, family := range []uint32{afUnix, afInet, afInet6} {
		rules = append(rules, Rule{Names: []string{"socket", "socketpair"}, Action: Allow, Args: []Arg{Low32(0, family)}})
	}
	for _, persona := range []uint32{perLinux, perLinux32, uname26, perLinux32 | uname26, askPersona} {
		rules = append(rules, Rule{Names: []string{"personality"}, Action: Allow, Args: []Arg{Low32(0, persona)}})
	}
	return rules
}

// Values of the kernel's headers, here by number so that policies can be made on any system.
const (
	// NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET (linux/sched.h).
	cloneNamespaces = 0x00020000 | 0x02000000 | 0x04000000 | 0x08000000 | 0x10000000 | 0x20000000 | 0x40000000

	afUnix, afInet, afInet6 = 1, 2, 10 // linux/socket.h

	tiocsti, tioclinux = 0x5412, 0x541c // asm-generic/ioctls.h

	// linux/personality.h; all ones asks for the present value. ADDR_NO_RANDOMIZE and READ_IMPLIES_EXEC are left out.
	perLinux, perLinux32, uname26, askPersona = 0, 0x0008, 0x0020000, 0xffffffff
)
