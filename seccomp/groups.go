package seccomp

// group is calls that have one reason to pass or not to. The groups are what PRESETS.md is made of.
type group struct {
	title, why string
	names      []string
}

// allowedGroups pass with any arguments under [Default]. Calls only one of the architectures has stand beside their
// successors.
var allowedGroups = []group{
	{"Files: opening, reading, writing", "What can be reached is decided by the root and its mounts; a filter cannot read paths.", []string{
		"open", "openat", "openat2", "creat", "close", "close_range",
		"read", "readv", "pread64", "preadv", "preadv2", "readahead",
		"write", "writev", "pwrite64", "pwritev", "pwritev2",
		"lseek", "fsync", "fdatasync", "sync", "syncfs", "sync_file_range",
		"truncate", "ftruncate", "fallocate", "fadvise64", "cachestat", "flock", "fcntl",
		"copy_file_range", "sendfile", "splice", "tee", "vmsplice",
		"dup", "dup2", "dup3", "pipe", "pipe2",
	}},
	{"Files: attributes", "As for contents. open_by_handle_at, which would make use of what name_to_handle_at gives, is out.", []string{
		"stat", "fstat", "lstat", "newfstatat", "statx", "statfs", "fstatfs",
		"access", "faccessat", "faccessat2",
		"chmod", "fchmod", "fchmodat", "fchmodat2", "chown", "fchown", "lchown", "fchownat", "umask",
		"utime", "utimes", "futimesat", "utimensat",
		"getxattr", "lgetxattr", "fgetxattr", "getxattrat", "setxattr", "lsetxattr", "fsetxattr", "setxattrat",
		"listxattr", "llistxattr", "flistxattr", "listxattrat",
		"removexattr", "lremovexattr", "fremovexattr", "removexattrat",
		"name_to_handle_at",
	}},
	{"Directories and names", "As for contents. A device node needs a capability that programs lack.", []string{
		"chdir", "fchdir", "getcwd", "getdents", "getdents64",
		"mkdir", "mkdirat", "rmdir", "mknod", "mknodat",
		"link", "linkat", "symlink", "symlinkat", "readlink", "readlinkat", "unlink", "unlinkat",
		"rename", "renameat", "renameat2",
		"inotify_init", "inotify_init1", "inotify_add_watch", "inotify_rm_watch", "fanotify_mark",
	}},
	{"Waiting for descriptors, asynchronous i/o of the old kind", "They wait for what the program has open already.", []string{
		"poll", "ppoll", "select", "pselect6",
		"epoll_create", "epoll_create1", "epoll_ctl", "epoll_wait", "epoll_pwait", "epoll_pwait2",
		"epoll_ctl_old", "epoll_wait_old",
		"eventfd", "eventfd2", "signalfd", "signalfd4",
		"io_setup", "io_destroy", "io_submit", "io_cancel", "io_getevents", "io_pgetevents",
	}},
	{"Memory", "A program's own; how much is for the cgroup to bound.", []string{
		"brk", "mmap", "munmap", "mremap", "mprotect", "madvise", "mincore", "msync", "mseal", "remap_file_pages",
		"mlock", "mlock2", "mlockall", "munlock", "munlockall", "membarrier", "map_shadow_stack",
		"pkey_alloc", "pkey_free", "pkey_mprotect", "memfd_create", "memfd_secret",
	}},
	{"Processes and threads", "In the sandbox's own PID namespace; how many is for the cgroup to bound.", []string{
		"fork", "vfork", "execve", "execveat", "exit", "exit_group", "wait4", "waitid",
		"getpid", "getppid", "gettid", "getpgid", "getpgrp", "getsid", "setpgid", "setsid",
		"set_tid_address", "set_robust_list", "get_robust_list", "rseq",
		"set_thread_area", "get_thread_area", "arch_prctl", "prctl",
		"futex", "futex_wait", "futex_wake", "futex_requeue", "futex_waitv",
		"pidfd_open", "pidfd_send_signal", "process_mrelease", "restart_syscall",
	}},
	{"Signals", "They reach the sandbox's own processes. uretprobe is the kernel's trampoline for a traced function, from 6.11 on.", []string{
		"kill", "tkill", "tgkill", "pause", "rt_sigaction", "rt_sigprocmask", "rt_sigpending", "rt_sigqueueinfo",
		"rt_tgsigqueueinfo", "rt_sigreturn", "rt_sigsuspend", "rt_sigtimedwait", "sigaltstack",
		"uretprobe",
	}},
	{"Identity", "The changes need capabilities that programs lack, and programs ask all the same.", []string{
		"getuid", "geteuid", "getresuid", "getgid", "getegid", "getresgid", "getgroups", "capget",
		"setuid", "setreuid", "setresuid", "setfsuid", "setgid", "setregid", "setresgid", "setfsgid", "setgroups", "capset",
	}},
	{"Scheduling, limits, accounts", "Of the sandbox's own processes; raising a priority or a hard limit needs a capability.", []string{
		"sched_yield", "sched_getaffinity", "sched_setaffinity", "sched_getattr", "sched_setattr",
		"sched_getparam", "sched_setparam", "sched_getscheduler", "sched_setscheduler",
		"sched_get_priority_max", "sched_get_priority_min", "sched_rr_get_interval",
		"getpriority", "setpriority", "ioprio_get", "ioprio_set", "getcpu",
		"getrlimit", "setrlimit", "prlimit64", "getrusage", "times", "sysinfo", "uname",
	}},
	{"Time", "Setting a clock needs a capability; reading its adjustment does not.", []string{
		"time", "gettimeofday", "clock_gettime", "clock_getres", "clock_nanosleep", "nanosleep", "adjtimex", "clock_adjtime",
		"alarm", "getitimer", "setitimer",
		"timer_create", "timer_delete", "timer_getoverrun", "timer_gettime", "timer_settime",
		"timerfd_create", "timerfd_gettime", "timerfd_settime",
	}},
	{"Sockets that stand already", "Which can be made is decided by family, below; what they reach by the network namespace.", []string{
		"bind", "connect", "listen", "accept", "accept4", "shutdown", "getsockname", "getpeername", "getsockopt", "setsockopt",
		"sendto", "sendmsg", "sendmmsg", "recvfrom", "recvmsg", "recvmmsg",
	}},
	{"SysV and POSIX message queues, semaphores, shared memory", "The IPC namespace is the sandbox's own.", []string{
		"msgctl", "msgget", "msgrcv", "msgsnd", "semctl", "semget", "semop", "semtimedop", "shmat", "shmctl", "shmdt", "shmget",
		"mq_getsetattr", "mq_notify", "mq_open", "mq_timedreceive", "mq_timedsend", "mq_unlink",
	}},
	{"Randomness, and a program's own further confinement", "They can take away, not give.", []string{
		"getrandom", "seccomp", "landlock_create_ruleset", "landlock_add_rule", "landlock_restrict_self",
	}},
}

// argumentGroup are calls that presets decide by their arguments.
var argumentGroup = group{
	"By their arguments", "What one call can do is harmless with some arguments and not with others.",
	[]string{"clone", "ioctl", "socket", "socketpair", "personality"},
}

// deniedGroups answer EPERM under every preset.
var deniedGroups = []group{
	{"Other processes", "They read and write another process's memory or descriptors; the record of holes is long.", []string{
		"ptrace", "process_vm_readv", "process_vm_writev", "process_madvise", "pidfd_getfd", "kcmp",
	}},
	{"Mounts", "The root is made before the program starts, and masks hang on it.", []string{
		"mount", "umount2", "pivot_root", "chroot", "open_tree", "open_tree_attr", "move_mount",
		"fsopen", "fsconfig", "fsmount", "fspick", "mount_setattr",
	}},
	{"Namespaces", "A new user namespace would give capabilities over the kernel's less tried parts.", []string{"unshare", "setns"}},
	{"Kernel surface", "Large, and with a record of holes; io_uring also makes calls that no filter sees.", []string{
		"io_uring_setup", "io_uring_enter", "io_uring_register", "bpf", "perf_event_open", "userfaultfd",
		"add_key", "request_key", "keyctl", "fanotify_init", "lookup_dcookie", "modify_ldt", "uprobe",
		"lsm_get_self_attr", "lsm_set_self_attr", "lsm_list_modules",
	}},
	{"Files by number", "A handle leads past the root to any file of the file system.", []string{"open_by_handle_at"}},
	{"The machine", "They change or halt the host, or tell of it.", []string{
		"init_module", "finit_module", "delete_module", "kexec_load", "kexec_file_load", "reboot", "swapon", "swapoff",
		"acct", "quotactl", "quotactl_fd", "syslog", "vhangup", "iopl", "ioperm",
		"settimeofday", "clock_settime", "sethostname", "setdomainname",
	}},
	{"Placement of memory", "It tells of the machine and moves other processes' pages; programs work without.", []string{
		"mbind", "set_mempolicy", "migrate_pages", "move_pages", "set_mempolicy_home_node",
	}},
	{"Numbers that kernels no longer answer, or never did", "Nothing uses them.", []string{
		"uselib", "ustat", "sysfs", "_sysctl", "create_module", "get_kernel_syms", "query_module", "nfsservctl",
		"getpmsg", "putpmsg", "afs_syscall", "tuxcall", "security", "vserver",
	}},
}

// lackingGroup are denied calls that answer as on a kernel without them.
var lackingGroup = group{
	"As on a kernel without them",
	"Callers know ENOSYS and take another way, where EPERM would be an error to them and a kill action the end: clone's for " +
		"clone3, which keeps its flags in memory where no filter sees them, what was there before for the young ones, and that " +
		"of a machine without NUMA for libnuma. statmount and its kin would also tell of host mounts that a masked /proc hides.",
	[]string{
		"clone3",
		"statmount", "listmount", "listns",
		"file_getattr", "file_setattr", "rseq_slice_yield",
		"get_mempolicy",
	},
}
