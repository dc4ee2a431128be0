package seccomp

import (
	"fmt"
	"slices"
	"strings"
)

// preset is a policy under a name and a version.
type preset struct {
	name    string
	version int
	policy  func() Policy
}

// presets are all there are, the newest version of each name last. A version is never changed: what should become
// different gets the next number, and a golden file holds the old one to what it was.
var presets = []preset{
	{"default", 1, Default},
	{"strict", 1, strictV1},
	{"strict", 2, Strict},
	{"build", 1, Build},
	{"network", 1, Network},
}

func (p preset) String() string { return fmt.Sprintf("%s-v%d", p.name, p.version) }

// Presets lists the names [Preset] takes, with their versions: "default-v1", "strict-v1" and so on. PRESETS.md says of
// each call what they do with it, and why.
func Presets() []string {
	names := make([]string, len(presets))
	for i, p := range presets {
		names[i] = p.String()
	}
	return names
}

// Preset gives a preset by its name: of a version, as in "build-v1", or the newest, as in "build". What a version does
// with a call never changes, so who names one is not surprised by a newer package; the functions [Default], [Strict],
// [Build] and [Network] give the newest. An unknown name is an [ErrInvalid].
func Preset(name string) (Policy, error) {
	for _, p := range slices.Backward(presets) {
		if name == p.name || name == p.String() {
			return p.policy(), nil
		}
	}
	return Policy{}, fmt.Errorf("%w: no preset %q: there are %s", ErrInvalid, name, strings.Join(Presets(), ", "))
}

// Strict is the policy for one process that computes: it reads what it was given, writes to the descriptors it has, and
// may have threads of its own. It is meant for submissions to a judge and other code of which nothing but an answer is
// wanted. Programs in C and C++, static or not, with glibc or musl, in Go, Python, Java and JavaScript run under it.
//
//   - Files are opened for reading only; nothing is created, renamed or removed. openat2 keeps its flags in memory, and
//     answers ENOSYS.
//   - No further process, but threads; no IPC; signals reach the program's own threads only.
//   - No socket but pairs of AF_UNIX, which lead nowhere: runtimes wake themselves by them. sendmsg, which takes
//     descriptors along, stays out; sendto and recvfrom name no address.
//   - prctl names threads and memory, ioctl asks a terminal's size and the like, limits are the program's own.
//   - execve passes: the filter stands before the program itself is started by it.
//
// It is [Preset] "strict-v2". In version 1 there was no pair of sockets, without which Java reads no file by java.nio
// and Python has no asyncio, and limits could not be changed, as C++ programs do with their stack's.
func Strict() Policy {
	p := strictV1().Without("prlimit64")
	p.Rules = append(p.Rules,
		Rule{Names: []string{"setrlimit"}, Action: Allow},
		Rule{Names: []string{"prlimit64"}, Action: Allow, Args: []Arg{Low32(0, 0)}},
		Rule{Names: []string{"socketpair"}, Action: Allow, Args: []Arg{Low32(0, afUnix)}},
		Rule{Names: []string{"sendto", "recvfrom"}, Action: Allow, Args: []Arg{{Index: 4, Op: Equal, Value: 0}}},
	)
	return p
}

func strictV1() Policy {
	rules := []Rule{
		{Names: slices.Clone(strictAllowed), Action: Allow},
		{Names: append(slices.Clone(lackingGroup.names), "openat2"), Action: Errno(enosys)},
		{Names: []string{"open"}, Action: Allow, Args: []Arg{{Index: 1, Op: MaskedEqual, Value: openWrites}}},
		{Names: []string{"openat"}, Action: Allow, Args: []Arg{{Index: 2, Op: MaskedEqual, Value: openWrites}}},
		{Names: []string{"clone"}, Action: Allow, Args: []Arg{
			{Index: 0, Op: MaskedEqual, Value: cloneNamespaces | cloneThread, ValueTwo: cloneThread},
		}},
		{Names: []string{"prlimit64"}, Action: Allow, Args: []Arg{{Index: 2, Op: Equal, Value: 0}}},
	}
	for _, option := range strictPrctl {
		rules = append(rules, Rule{Names: []string{"prctl"}, Action: Allow, Args: []Arg{Low32(0, option)}})
	}
	for _, request := range strictIoctl {
		rules = append(rules, Rule{Names: []string{"ioctl"}, Action: Allow, Args: []Arg{Low32(1, request)}})
	}
	return Policy{Default: Errno(eperm), Unknown: Errno(enosys), Rules: rules}
}

// Build is the policy for compilers, interpreters and build systems: [Default] without the internet, and without what
// nothing that builds has a use for. Sockets are of AF_UNIX alone, which language runtimes talk to their children by.
// It is [Preset] "build-v1".
func Build() Policy {
	p := Default().Without(buildDenied...).Without("socket", "socketpair")
	p.Rules = append(p.Rules, Rule{Names: []string{"socket", "socketpair"}, Action: Allow, Args: []Arg{Low32(0, afUnix)}})
	return p
}

// Network is the policy for clients and servers: [Default], and netlink sockets of NETLINK_ROUTE, by which programs list
// interfaces, addresses and routes (getifaddrs(3)). Other netlink protocols, such as netfilter's, stay out. In a network
// namespace of its own such a socket tells of nothing else; in the host's it tells of the host's. It is [Preset]
// "network-v1".
func Network() Policy {
	p := Default()
	p.Rules = append(p.Rules, Rule{
		Names: []string{"socket"}, Action: Allow, Args: []Arg{Low32(0, afNetlink), Low32(2, netlinkRoute)},
	})
	return p
}

const (
	// openWrites are the flags that open a file for more than reading: O_ACCMODE, O_CREAT, O_TRUNC (asm-generic/fcntl.h,
	// the same on arm64). O_TMPFILE needs a mode that writes.
	openWrites = 0x3 | 0x40 | 0x200
	// cloneThread are the flags of a thread (linux/sched.h): CLONE_VM, CLONE_SIGHAND, CLONE_THREAD.
	cloneThread = 0x100 | 0x800 | 0x10000

	afNetlink, netlinkRoute = 16, 0 // linux/socket.h, linux/netlink.h
)

// strictPrctl are the options prctl takes under Strict: PR_GET_DUMPABLE, PR_SET_NAME, PR_GET_NAME, PR_SET_VMA
// (linux/prctl.h).
var strictPrctl = []uint32{3, 15, 16, 0x53564d41}

// strictIoctl are the requests ioctl takes under Strict: TCGETS, TCGETS2, TIOCGWINSZ, FIONREAD, FIONBIO, FIOCLEX,
// FIONCLEX (asm-generic/ioctls.h).
var strictIoctl = []uint32{0x5401, 0x802c542a, 0x5413, 0x541b, 0x5421, 0x5451, 0x5450}

// strictAllowed pass under Strict with any arguments.
var strictAllowed = []string{
	// what is open, and looking at files
	"read", "readv", "pread64", "preadv", "preadv2", "write", "writev", "pwrite64", "pwritev", "pwritev2",
	"lseek", "close", "close_range", "fcntl", "dup", "dup2", "dup3", "pipe", "pipe2", "fadvise64",
	"stat", "fstat", "lstat", "newfstatat", "statx", "statfs", "fstatfs", "access", "faccessat", "faccessat2",
	"readlink", "readlinkat", "getcwd", "getdents", "getdents64",
	// waiting; Go's runtime has its own reactor
	"poll", "ppoll", "select", "pselect6",
	"epoll_create", "epoll_create1", "epoll_ctl", "epoll_wait", "epoll_pwait", "epoll_pwait2", "eventfd", "eventfd2",
	// memory
	"brk", "mmap", "munmap", "mremap", "mprotect", "madvise", "mincore", "msync", "mseal", "membarrier", "map_shadow_stack",
	"pkey_alloc", "pkey_free", "pkey_mprotect",
	// the process and its threads
	"execve", "execveat", "exit", "exit_group", "getpid", "getppid", "gettid", "getpgid", "getpgrp", "getsid",
	"set_tid_address", "set_robust_list", "get_robust_list", "rseq", "arch_prctl", "restart_syscall",
	"futex", "futex_wait", "futex_wake", "futex_requeue", "futex_waitv",
	"tkill", "tgkill", "pause", "rt_sigaction", "rt_sigprocmask", "rt_sigpending", "rt_sigreturn", "rt_sigsuspend",
	"rt_sigtimedwait", "sigaltstack",
	"getuid", "geteuid", "getresuid", "getgid", "getegid", "getresgid", "getgroups",
	"sched_yield", "sched_getaffinity", "sched_getparam", "sched_getscheduler", "sched_get_priority_max",
	"sched_get_priority_min", "getpriority", "getcpu", "getrlimit", "getrusage", "times", "sysinfo", "uname",
	// time and chance
	"time", "gettimeofday", "clock_gettime", "clock_getres", "clock_nanosleep", "nanosleep",
	"alarm", "getitimer", "setitimer", "getrandom",
}

// buildDenied are calls of Default that Build leaves out.
var buildDenied = []string{
	"io_setup", "io_destroy", "io_submit", "io_cancel", "io_getevents", "io_pgetevents", // databases' i/o
	"mq_getsetattr", "mq_notify", "mq_open", "mq_timedreceive", "mq_timedsend", "mq_unlink",
	"fanotify_mark", "name_to_handle_at", "memfd_secret", "vmsplice", "process_mrelease",
	"adjtimex", "clock_adjtime", "epoll_ctl_old", "epoll_wait_old", "set_thread_area", "get_thread_area",
	"recvmmsg", "sendmmsg",
}
