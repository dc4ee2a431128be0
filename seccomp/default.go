package seccomp

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
// The result is the caller's to change.
func Default() Policy {
	return Policy{
		Default: Errno(eperm),
		Unknown: Errno(enosys),
		Rules:   defaultRules(),
	}
}

func defaultRules() []Rule {
	rules := make([]Rule, 0, 32)
	for _, names := range defaultAllowed {
		rules = append(rules, Rule{Names: append([]string(nil), names...), Action: Allow})
	}
	rules = append(rules,
		Rule{Names: append([]string(nil), lacking...), Action: Errno(enosys)},
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

// lacking are denied calls that answer as on a kernel without them. Callers know that answer and take another way, where
// EPERM would be an error to them and a kill action the end: clone3's for clone, the young ones' for what was there
// before, libnuma's for a machine without NUMA. statmount and its kin would also tell of the host's mounts that a masked
// /proc hides.
var lacking = []string{
	"clone3",
	"statmount", "listmount", "listns",
	"file_getattr", "file_setattr", "rseq_slice_yield",
	"get_mempolicy",
}

// defaultAllowed are the calls that pass with any arguments, by what they are for. Calls only one of the architectures
// has stand beside their successors.
var defaultAllowed = [][]string{
	{ // open, read and write files
		"open", "openat", "openat2", "creat", "close", "close_range",
		"read", "readv", "pread64", "preadv", "preadv2", "readahead",
		"write", "writev", "pwrite64", "pwritev", "pwritev2",
		"lseek", "fsync", "fdatasync", "sync", "syncfs", "sync_file_range",
		"truncate", "ftruncate", "fallocate", "fadvise64", "cachestat", "flock", "fcntl",
		"copy_file_range", "sendfile", "splice", "tee", "vmsplice",
		"dup", "dup2", "dup3", "pipe", "pipe2",
	},
	{ // what files are: attributes and extended attributes
		"stat", "fstat", "lstat", "newfstatat", "statx", "statfs", "fstatfs",
		"access", "faccessat", "faccessat2",
		"chmod", "fchmod", "fchmodat", "fchmodat2", "chown", "fchown", "lchown", "fchownat", "umask",
		"utime", "utimes", "futimesat", "utimensat",
		"getxattr", "lgetxattr", "fgetxattr", "getxattrat", "setxattr", "lsetxattr", "fsetxattr", "setxattrat",
		"listxattr", "llistxattr", "flistxattr", "listxattrat",
		"removexattr", "lremovexattr", "fremovexattr", "removexattrat",
		"name_to_handle_at", // open_by_handle_at, which makes use of the handle, is out
	},
	{ // directories and names
		"chdir", "fchdir", "getcwd", "getdents", "getdents64",
		"mkdir", "mkdirat", "rmdir", "mknod", "mknodat", // device nodes need a capability
		"link", "linkat", "symlink", "symlinkat", "readlink", "readlinkat", "unlink", "unlinkat",
		"rename", "renameat", "renameat2",
		"inotify_init", "inotify_init1", "inotify_add_watch", "inotify_rm_watch", "fanotify_mark",
	},
	{ // waiting for descriptors; asynchronous i/o of the old kind
		"poll", "ppoll", "select", "pselect6",
		"epoll_create", "epoll_create1", "epoll_ctl", "epoll_wait", "epoll_pwait", "epoll_pwait2",
		"epoll_ctl_old", "epoll_wait_old",
		"eventfd", "eventfd2", "signalfd", "signalfd4",
		"io_setup", "io_destroy", "io_submit", "io_cancel", "io_getevents", "io_pgetevents",
	},
	{ // memory
		"brk", "mmap", "munmap", "mremap", "mprotect", "madvise", "mincore", "msync", "mseal", "remap_file_pages",
		"mlock", "mlock2", "mlockall", "munlock", "munlockall", "membarrier", "map_shadow_stack",
		"pkey_alloc", "pkey_free", "pkey_mprotect", "memfd_create", "memfd_secret",
	},
	{ // processes and threads; clone is below, by its flags
		"fork", "vfork", "execve", "execveat", "exit", "exit_group", "wait4", "waitid",
		"getpid", "getppid", "gettid", "getpgid", "getpgrp", "getsid", "setpgid", "setsid",
		"set_tid_address", "set_robust_list", "get_robust_list", "rseq",
		"set_thread_area", "get_thread_area", "arch_prctl", "prctl",
		"futex", "futex_wait", "futex_wake", "futex_requeue", "futex_waitv",
		"pidfd_open", "pidfd_send_signal", "process_mrelease", "restart_syscall",
	},
	{ // signals
		"kill", "tkill", "tgkill", "pause", "rt_sigaction", "rt_sigprocmask", "rt_sigpending", "rt_sigqueueinfo",
		"rt_tgsigqueueinfo", "rt_sigreturn", "rt_sigsuspend", "rt_sigtimedwait", "sigaltstack",
		"uretprobe", // the kernel's own trampoline for a traced function, from 6.11 on
	},
	{ // identity; the changes need capabilities a sandboxed program lacks, and programs ask all the same
		"getuid", "geteuid", "getresuid", "getgid", "getegid", "getresgid", "getgroups", "capget",
		"setuid", "setreuid", "setresuid", "setfsuid", "setgid", "setregid", "setresgid", "setfsgid", "setgroups", "capset",
	},
	{ // scheduling, limits, accounts
		"sched_yield", "sched_getaffinity", "sched_setaffinity", "sched_getattr", "sched_setattr",
		"sched_getparam", "sched_setparam", "sched_getscheduler", "sched_setscheduler",
		"sched_get_priority_max", "sched_get_priority_min", "sched_rr_get_interval",
		"getpriority", "setpriority", "ioprio_get", "ioprio_set", "getcpu",
		"getrlimit", "setrlimit", "prlimit64", "getrusage", "times", "sysinfo", "uname",
	},
	{ // time; setting a clock needs a capability, reading its adjustment does not
		"time", "gettimeofday", "clock_gettime", "clock_getres", "clock_nanosleep", "nanosleep", "adjtimex", "clock_adjtime",
		"alarm", "getitimer", "setitimer",
		"timer_create", "timer_delete", "timer_getoverrun", "timer_gettime", "timer_settime",
		"timerfd_create", "timerfd_gettime", "timerfd_settime",
	},
	{ // sockets that stand already; socket and socketpair are below, by family
		"bind", "connect", "listen", "accept", "accept4", "shutdown", "getsockname", "getpeername", "getsockopt", "setsockopt",
		"sendto", "sendmsg", "sendmmsg", "recvfrom", "recvmsg", "recvmmsg",
	},
	{ // SysV and POSIX message queues, semaphores, shared memory: the IPC namespace is the sandbox's own
		"msgctl", "msgget", "msgrcv", "msgsnd", "semctl", "semget", "semop", "semtimedop", "shmat", "shmctl", "shmdt", "shmget",
		"mq_getsetattr", "mq_notify", "mq_open", "mq_timedreceive", "mq_timedsend", "mq_unlink",
	},
	{ // chance, and a program's own further confinement
		"getrandom", "seccomp", "landlock_create_ruleset", "landlock_add_rule", "landlock_restrict_self",
	},
}
