package sandbox

import (
	"github.com/belljar-go/belljar/namespace"
	"github.com/belljar-go/belljar/sandbox/internal/launch"
	"github.com/belljar-go/belljar/sandbox/internal/plan"
	"github.com/belljar-go/belljar/seccomp"
	"golang.org/x/sys/unix"
)

// holds tells whether the zygote may walk the base ahead of time (internal/launch, Ready). The process does not have the files then that it is going to have; a terminal,
// files that Landlock has rules for and a listener are needed earlier. In a user namespace of its own nothing of the order of these steps matters to what they may do: limits of
// resources can only be lowered there.
func (b *commandBase) holds(s *spec, w *walls, shape commandShape) bool {
	own := s.namespaces
	return b.mode == launch.Join && shape.files > 0 && own.Has(namespace.PID) && own.Has(namespace.User) && !shape.tty && w.listening == nil && (b.shared || w.landlock == nil) &&
		len(w.shown) == 0
}

// holdingBase makes a base of the same steps in another order: everything up to the wall of Landlock, then what needs the command's files. The filter comes before that if it lets
// pass what comes after it.
func (a assembler) holdingBase(b *commandBase, s *spec, ids idPlan, lastCap int, w *walls, pidfd plan.Reg, groups, files []plan.Reg) {
	b.held = true
	a.join(s, lastCap, pidfd)
	a.Stage("files")
	a.ownTable()
	a.enterGroups(s, w, groups)
	a.session(false)
	a.bindCPUs(w.cpus)
	a.rlimits(s, func(r int) bool { return r != unix.RLIMIT_NOFILE })
	a.identity(s, ids)
	if b.shared {
		a.restrictBy(b.land, b.rules)
	}
	if len(w.filter) > 0 {
		b.filter, b.flags = a.Filter(w.filter), w.filterFlags()
		if w.lenient {
			a.Stage("exec")
			a.loadFilter(b.filter, b.flags)
			b.filter = plan.Arg{}
		}
	}
	a.Stage("files")
	b.socket = a.Reg("socket")
	n := len(files)
	// Ahead of time there is the socket and none of the files; they get the numbers from 0, the lowest that are free. Otherwise there is no socket.
	a.Call(unix.SYS_DUP3, "dup3", "socket", plan.R(b.socket), plan.Int(n), plan.Flag(unix.O_CLOEXEC, "O_CLOEXEC")).Tolerate(unix.EBADF).Skipping(5)
	a.Call(unix.SYS_CLOSE_RANGE, "close_range", "descriptors", plan.Int(n+1), plan.Flag(1<<32-1, "~0"), plan.Zero)
	a.Call(unix.SYS_CLOSE_RANGE, "close_range", "descriptors", plan.Zero, plan.Int(n-1), plan.Zero)
	a.Call(unix.SYS_RECVMSG, "recvmsg", "files", plan.Int(n), a.Room(n), plan.Zero).Wanting(1)
	a.Call(unix.SYS_FCNTL, "fcntl", "files", plan.Int(n-1), plan.Flag(unix.F_GETFD, "F_GETFD"), plan.Zero)
	a.Jump(2*n + 1)
	a.keepOnly(files, n)
	a.rlimits(s, func(r int) bool { return r == unix.RLIMIT_NOFILE }) // numbers of descriptors that come from elsewhere may be higher
	b.plan = a.Plan()
}

// lenient tells whether a filter lets pass, whatever their arguments, the calls that follow it when it is loaded before the files are there.
func lenient(prog seccomp.Program) bool {
	for _, nr := range []uint32{
		unix.SYS_DUP3, unix.SYS_CLOSE_RANGE, unix.SYS_RECVMSG, unix.SYS_FCNTL, unix.SYS_PRLIMIT64, unix.SYS_CHDIR, unix.SYS_RT_SIGPROCMASK, unix.SYS_EXECVE,
		unix.SYS_FUTEX, unix.SYS_EXIT, // to say what has failed
	} {
		if !prog.Allows(nr) {
			return false
		}
	}
	return true
}
