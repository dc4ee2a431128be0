package seccomp

import (
	"slices"
)

// Policy is the smallest one that lets through what was seen, as far as Base did, with the companions of [Learner.Exact]. What it does not know
// it refuses as Base refuses. It is ready for use and for [Policy.Marshal].
func (l *Learned) Policy() Policy {
	p := Policy{Default: l.base.Default, Unknown: l.base.unknown()}
	if p.Default == Allow || p.Default == Log || p.Default == Ask {
		p.Default = Errno(eperm)
	}
	if p.Unknown == Allow || p.Unknown == Log || p.Unknown == Ask {
		p.Unknown = Errno(enosys)
	}
	rules := newLessons()
	for _, u := range l.Uses() {
		if u.Allowed() && isCall(u.Call) {
			rules.add(u.Call, u.args)
		}
	}
	if !l.exact {
		for _, u := range l.companions() {
			rules.add(u.Call, u.args)
		}
	}
	p.Rules = append(rules.rules(), l.refusals(rules, p.Default)...)
	if len(p.Rules) == 0 { // nothing was seen
		p.Rules = []Rule{{Names: []string{"exit_group"}, Action: p.Default}}
	}
	return p
}

// refusals are the answers of Base that are not its default, for calls nothing was learnt of: what a libc takes for a call that the
// kernel lacks it must go on taking for one.
func (l *Learned) refusals(learnt *lessons, otherwise Action) []Rule {
	var rules []Rule
	for _, r := range l.base.Rules {
		if _, refuses := r.Action.Errno(); !refuses || r.Action == otherwise || len(r.Args) > 0 || len(r.Arches) > 0 {
			continue
		}
		names := slices.DeleteFunc(slices.Clone(r.Names), func(name string) bool { return learnt.has(name) })
		if len(names) > 0 {
			rules = append(rules, Rule{Names: names, Action: r.Action})
		}
	}
	return rules
}

// lessons collects what is allowed, by call.
type lessons struct {
	any   map[string]bool    // whatever the arguments
	cases map[string][][]Arg // otherwise with any of these
}

func newLessons() *lessons { return &lessons{any: map[string]bool{}, cases: map[string][][]Arg{}} }

func (l *lessons) has(name string) bool { return l.any[name] || len(l.cases[name]) > 0 }

func (l *lessons) add(name string, args []Arg) {
	switch {
	case len(args) == 0:
		l.any[name] = true
	case !slices.ContainsFunc(l.cases[name], func(have []Arg) bool { return slices.Equal(have, args) }):
		l.cases[name] = append(l.cases[name], args)
	}
}

// rules gives one rule for the calls with any arguments, and one for each case, by name.
func (l *lessons) rules() []Rule {
	var rules []Rule
	if names := sortedKeys(l.any); len(names) > 0 {
		rules = append(rules, Rule{Names: names, Action: Allow})
	}
	for _, name := range sortedKeys(l.cases) {
		if l.any[name] {
			continue
		}
		for _, args := range l.cases[name] {
			rules = append(rules, Rule{Names: []string{name}, Action: Allow, Args: args})
		}
	}
	return rules
}

// companions are the uses that were not seen but may as well have been. Only what Base allows is among them.
func (l *Learned) companions() []Use {
	seen := map[string]bool{}
	for _, u := range l.Uses() {
		if !u.Allowed() {
			continue
		}
		if seen[u.Call] = true; u.Class == toWrite {
			seen[toWrite] = true
		}
	}
	prog, err := l.base.Compile()
	if err != nil {
		return nil
	}
	var list []Use
	add := func(name string, arguments [6]uint64) {
		number, ok := prog.Arch().Number(name)
		if !ok {
			return
		}
		c := Call{Arch: prog.Arch(), Number: number, Args: arguments}
		class := classify(name, c)
		if l.mayHave(prog, c, class) {
			list = append(list, Use{Call: name, Class: class.text, First: c, Answer: Allow, args: class.args})
		}
	}
	for _, name := range floor {
		add(name, [6]uint64{})
	}
	for _, family := range kin {
		if slices.ContainsFunc(family, func(name string) bool { return seen[name] }) {
			for _, name := range family {
				add(name, [6]uint64{})
			}
		}
	}
	if seen[toWrite] {
		add("open", [6]uint64{1: 1})
		add("openat", [6]uint64{2: 1})
	}
	for call, of := range kinArguments {
		if seen[call] {
			for _, v := range of.values {
				var args [6]uint64
				args[of.index] = v
				add(call, args)
			}
		}
	}
	return list
}

// mayHave tells whether Base allows a call of that class whatever its other arguments are.
func (l *Learned) mayHave(prog Program, c Call, class class) bool {
	if prog.Decide(c) != Allow {
		return false
	}
	name, _ := c.Arch.Name(c.Number)
	for _, r := range l.base.Rules {
		// A call that Base decides by arguments this package has no class for is not guessed at.
		if slices.Contains(r.Names, name) && len(r.Args) > 0 && len(class.args) == 0 {
			return false
		}
	}
	return true
}

// floor is what the kernel, the loader and a libc do by themselves in any program, depending on signals, memory and time.
var floor = []string{
	"restart_syscall", "rt_sigreturn", "rt_sigaction", "rt_sigprocmask", "sigaltstack", "futex", "sched_yield", "madvise", "munmap", "mremap", "brk",
	"mmap", "mprotect", "exit", "exit_group", "getpid", "gettid", "tgkill", "clock_gettime", "gettimeofday", "time", "clock_nanosleep", "nanosleep",
	"getrandom", "rseq", "set_robust_list", "set_tid_address", "prlimit64", "close", "read", "write", "fstat", "lseek", "getcpu",
}

// kin are calls of which one stands for all: versions of one call, and those that the data, not the program, chooses between.
var kin = [][]string{
	{"read", "readv", "pread64", "preadv", "preadv2"},
	{"write", "writev", "pwrite64", "pwritev", "pwritev2"},
	{ // looking at what is at a path: a link or none, with attributes or without
		"stat", "lstat", "fstat", "newfstatat", "statx", "statfs", "fstatfs", "access", "faccessat", "faccessat2", "readlink", "readlinkat",
		"getxattr", "lgetxattr", "fgetxattr", "listxattr", "llistxattr", "flistxattr",
	},
	{"open", "openat"},
	{"getdents", "getdents64"},
	{"mkdir", "mkdirat"},
	{"unlink", "unlinkat", "rmdir"},
	{"rename", "renameat", "renameat2"},
	{"link", "linkat"},
	{"symlink", "symlinkat"},
	{"chmod", "fchmod", "fchmodat", "fchmodat2"},
	{"utimensat", "utime", "utimes", "futimesat"},
	{"truncate", "ftruncate", "fallocate"},
	{toWrite, "ftruncate", "fallocate", "fsync", "fdatasync"}, // opening may truncate
	{"fsync", "fdatasync", "sync_file_range"},
	{"chdir", "fchdir", "getcwd"},
	{"dup", "dup2", "dup3"},
	{"pipe", "pipe2"},
	{"poll", "ppoll", "select", "pselect6"},
	{"epoll_create", "epoll_create1", "epoll_ctl", "epoll_wait", "epoll_pwait", "epoll_pwait2"},
	{"eventfd", "eventfd2"},
	{"inotify_init", "inotify_init1", "inotify_add_watch", "inotify_rm_watch"},
	{"clone", "fork", "vfork"},
	{"wait4", "waitid"},
	{"kill", "tkill", "tgkill"},
	{"rt_sigaction", "rt_sigprocmask", "rt_sigpending", "rt_sigsuspend", "rt_sigtimedwait", "sigaltstack"},
	{"getuid", "geteuid", "getresuid", "getgid", "getegid", "getresgid"},
	{"getpid", "getppid", "gettid", "getpgid", "getpgrp", "getsid"},
	{"getrlimit", "prlimit64"},
	{"sched_getaffinity", "sched_getparam", "sched_getscheduler", "sched_get_priority_max", "sched_get_priority_min"},
	{"clock_gettime", "clock_getres", "gettimeofday", "time"},
	{"nanosleep", "clock_nanosleep"},
	{"accept", "accept4"},
	{"sendto", "sendmsg", "sendmmsg"},
	{"recvfrom", "recvmsg", "recvmmsg"},
	{"copy_file_range", "sendfile", "splice"},
	{"getsockname", "getpeername", "getsockopt"},
	{"execve", "execveat"},
}

// kinArguments are values of a deciding argument that come with any other.
var kinArguments = map[string]struct {
	index  int
	values []uint64
}{
	"fcntl":    {1, []uint64{0, 1, 2, 3, 4, 1030}},
	"ioctl":    {1, []uint64{0x5401, 0x5413, 0x541b, 0x5421, 0x5450, 0x5451}},
	"mmap":     {2, []uint64{protWrite, protExec}}, // a library, which the loader maps
	"mprotect": {2, []uint64{protWrite, protExec}},
	"prctl":    {0, []uint64{15, 16}},
}
