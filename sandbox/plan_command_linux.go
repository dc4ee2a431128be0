package sandbox

import (
	"encoding/binary"
	"path"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/belljar-go/belljar/namespace"
	"github.com/belljar-go/belljar/sandbox/internal/launch"
	"github.com/belljar-go/belljar/sandbox/internal/plan"
	"github.com/belljar-go/belljar/sandbox/internal/wire"
	"github.com/belljar-go/belljar/seccomp"
	"golang.org/x/sys/unix"
)

// commandSpec is a command as it will be started: all defaults filled in.
type commandSpec struct {
	path   string // as given: looked up in the sandbox's PATH if it has no slash
	args   []string
	env    []string
	dir    string
	files  int // descriptors 0, 1, 2, … of the program
	tty    bool
	limits Limits
	own    Limits    // of it what the command asked for itself
	asked  time.Time // when the zygote was asked to start it
	keep   bool
	whole  bool             // nobody needs to know when it starts
	alone  bool             // nor who, see direct
	sinks  []*sink          // its output, which somebody has to take then
	pass   func(*sink) bool // has what has been taken go where it is to go, if that is possible at once
	reopen []uint64         // for each of files, the rights to open it again, see reopen
}

// walls are what holds every command of a sandbox beside its namespaces and limits.
type walls struct {
	filter    []byte
	flags     seccomp.Flags // with which the filter is loaded
	lenient   bool          // it may be loaded early, see lenient
	listening *listening    // somebody answers for the filter
	landlock  *landlock
	cpus      []int        // that commands are bound to; nil: any
	shown     []shownGroup // that commands see of their own
}

// commandPlan is the compiled start of a command.
type commandPlan struct {
	*plan.Plan
	mode     launch.Mode
	attempts []string // paths tried, from step Exec on
}

// commandShape is what the plans of commands differ in before it comes to names: all commands of a shape have a base in common.
type commandShape struct {
	files  int
	tty    bool
	reopen string // the rights to open each of the files again, 8 bytes each; "": none needs any
}

func (c *commandSpec) shape() commandShape {
	s := commandShape{files: c.files, tty: c.tty}
	for _, rights := range c.reopen {
		if rights != 0 {
			var b []byte
			for _, r := range c.reopen {
				b = binary.NativeEndian.AppendUint64(b, r)
			}
			s.reopen = string(b)
			break
		}
	}
	return s
}

// commandBase is what the plans of all commands of a shape begin with.
type commandBase struct {
	plan    *plan.Plan
	mode    launch.Mode
	filter  plan.Arg // in the plan's data
	flags   plan.Arg // of the filter
	rules   plan.Reg // Landlock's ruleset; None: there is none
	land    *landlock
	listen  *wire.Listen
	shared  bool     // it is the sandbox's own, which comes along with the files
	held    bool     // the base may be walked ahead of time; Landlock is in it
	socket  plan.Reg // from which it receives its files then
	encoded []byte
	id      uint64      // of the zygote's copy
	known   atomic.Bool // the zygote has it
}

// compileCommand makes the plan of a command. It makes no system call.
func compileCommand(s *spec, ids idPlan, lastCap, tasks int, w *walls, c *commandSpec) *commandPlan {
	return compileBase(s, ids, lastCap, tasks, w, c.shape()).command(c)
}

// compileBase makes the part of a command's plan that does not depend on what is executed. Its inputs are PID 1's descriptor, one tasks file for
// each v1 hierarchy, the ruleset if it is shared, then the program's files.
func compileBase(s *spec, ids idPlan, lastCap, tasks int, w *walls, shape commandShape) *commandBase {
	a := newAssembler()
	b := &commandBase{mode: launch.Join, rules: plan.None, socket: plan.None, land: w.landlock}
	own := s.namespaces
	pidfd := a.Input("sandbox")
	var groups, files []plan.Reg
	for range tasks {
		groups = append(groups, a.Input("tasks"))
	}
	if b.shared = w.landlock != nil && shape.reopen == ""; b.shared {
		b.rules = a.Input("ruleset")
	}
	for range shape.files {
		files = append(files, a.Input("file"))
	}
	if b.holds(s, w, shape) {
		a.holdingBase(b, s, ids, lastCap, w, pidfd, groups, files)
		return b
	}

	a.join(s, lastCap, pidfd)
	if w.listening == nil {
		a.Stage("files")
		a.ownTable()
	}
	a.enterGroups(s, w, groups)
	a.Stage("files")
	kept := files
	if w.listening != nil {
		sock := a.Reg("socket")
		b.listen = &wire.Listen{Socket: int32(sock), Listener: int32(a.Reg("listener"))}
		kept = append(slices.Clone(files), sock)
	}
	if b.shared {
		kept = append(kept[:len(kept):len(kept)], b.rules)
	}
	a.keepOnly(kept, len(files))
	if b.shared {
		b.rules = kept[len(kept)-1]
	} else if w.landlock != nil {
		b.rules = a.ruleset(w.landlock, len(files), shape.reopen)
	}
	a.session(shape.tty)
	a.bindCPUs(w.cpus)
	a.privileges(s, ids)
	if !own.Has(namespace.PID) {
		a.deathSignal(unix.SIGKILL) // no PID namespace ends it with the sandbox
	}
	if len(w.filter) > 0 {
		b.filter, b.flags = a.Filter(w.filter), w.filterFlags()
	}
	b.plan = a.Plan()
	return b
}

// join enters the sandbox's namespaces and clones the process that stays there.
func (a assembler) join(s *spec, lastCap int, pidfd plan.Reg) {
	a.Stage("join")
	if join := s.namespaces.CloneFlags() &^ unix.CLONE_NEWCGROUP; join != 0 {
		a.Call(unix.SYS_SETNS, "setns", "sandbox", plan.R(pidfd), names(join, cloneNames))
	}
	// What comes before the fork may be done once for many commands: a setns into a user namespace fills the set again, an unshare or exec does not.
	a.Stage("privileges")
	a.bound(s, lastCap)
	a.noNewPrivs()
	a.fork()
}

// enterGroups enters a command's own cgroup, and makes it the root of what the command sees of them.
func (a assembler) enterGroups(s *spec, w *walls, groups []plan.Reg) {
	a.Stage("cgroup")
	for _, g := range groups {
		a.write(g, []byte("0"), "tasks")
	}
	if s.namespaces.Has(namespace.Cgroup) {
		a.ownGroups(w.shown)
	}
}

// command makes the plan of a command of the base's shape.
func (b *commandBase) command(c *commandSpec) *commandPlan {
	a := assembler{Builder: plan.After(b.plan)}
	p := &commandPlan{mode: b.mode}
	a.Stage("directory")
	a.Call(unix.SYS_CHDIR, "chdir", c.dir, a.Str(c.dir))
	if b.rules != plan.None && !b.held {
		a.restrict(b.land, b.rules)
	}
	a.exec(p, b.filter, b.flags, b.listen, c)
	p.Plan = a.Plan()
	return p
}

// session makes a session, a terminal's if there is one, and a session keyring that nobody else has.
func (a assembler) session(tty bool) {
	a.Stage("session")
	a.Call(unix.SYS_SETSID, "setsid", "process")
	if tty {
		a.Call(unix.SYS_IOCTL, "ioctl", "terminal", plan.Int(0), plan.Flag(unix.TIOCSCTTY, "TIOCSCTTY"), plan.Zero)
	}
	a.Call(unix.SYS_KEYCTL, "keyctl", "session keyring", plan.Flag(unix.KEYCTL_JOIN_SESSION_KEYRING, "JOIN_SESSION_KEYRING"), plan.Null).Tolerate(unix.ENOSYS)
	a.Call(unix.SYS_UMASK, "umask", "process", octal(0o022))
}

// granted are the capabilities that were asked for, as a mask.
func (s *spec) granted() (mask uint64) {
	for _, c := range s.caps {
		mask |= 1 << c
	}
	return mask
}

// bound drops all but the granted capabilities from the bounding set.
func (a assembler) bound(s *spec, lastCap int) {
	granted := s.granted()
	for c := range lastCap + 1 {
		if granted&(1<<c) == 0 {
			a.prctl(unix.PR_CAPBSET_DROP, "PR_CAPBSET_DROP", plan.Int(c))
		}
	}
}

// privileges takes away everything that was not asked for: resources, capabilities in the four other sets, groups, ids.
func (a assembler) privileges(s *spec, ids idPlan) {
	a.rlimits(s, func(int) bool { return true })
	a.identity(s, ids)
}

// rlimits sets those limits of the resources that are wanted.
func (a assembler) rlimits(s *spec, wanted func(resource int) bool) {
	a.Stage("rlimits")
	for _, l := range s.rlimits {
		if !wanted(l.Resource) {
			continue
		}
		step := a.Call(unix.SYS_PRLIMIT64, "prlimit64", rlimitName(l.Resource), plan.Zero, plan.Flag(uint64(l.Resource), rlimitName(l.Resource)),
			a.Words("{"+rlimitText(l.Soft)+", "+rlimitText(l.Hard)+"}", l.Soft, l.Hard), plan.Null)
		if l.Resource == unix.RLIMIT_CORE && l.Hard == 1 {
			step.Tolerate(unix.EPERM) // where 0 is the most that may be had it stays 0, which is as good but for a pipe
		}
	}
}

// identity becomes who the program is to be.
func (a assembler) identity(s *spec, ids idPlan) {
	a.Stage("privileges")
	granted := s.granted()
	if ids.groups {
		a.setGroups(s.groups)
	}
	a.assume(s.uid, s.gid, granted)
	for _, c := range s.caps {
		a.prctl(unix.PR_CAP_AMBIENT, "PR_CAP_AMBIENT", plan.Flag(unix.PR_CAP_AMBIENT_RAISE, "RAISE"), plan.Int(uint64(c)))
	}
}

// exec resets the signal mask, installs the filter and becomes the program.
func (a assembler) exec(p *commandPlan, filter, flags plan.Arg, listen *wire.Listen, c *commandSpec) {
	a.Stage("exec")
	a.Call(unix.SYS_RT_SIGPROCMASK, "rt_sigprocmask", "process", plan.Flag(unix.SIG_SETMASK, "SIG_SETMASK"), a.Words("[]", 0), plan.Null, plan.Int(8))
	if filter.Kind == plan.Data {
		step := a.loadFilter(filter, flags)
		if listen != nil {
			step.To(plan.Reg(listen.Listener))
		}
	}
	p.attempts = execPaths(c.path, c.env)
	argv, envp := a.Strings(c.args), a.Strings(c.env)
	a.Exec()
	for i, file := range p.attempts {
		step := a.Call(unix.SYS_EXECVE, "execve", file, a.Str(file), argv, envp).To(a.Reg("execve"))
		if i < len(p.attempts)-1 {
			step.Tolerate(unix.ENOENT, unix.ENOTDIR, unix.EACCES)
		}
	}
}

func (a assembler) loadFilter(filter, flags plan.Arg) *plan.Step {
	return a.Call(unix.SYS_SECCOMP, "seccomp", "filter", plan.Flag(unix.SECCOMP_SET_MODE_FILTER, "SET_MODE_FILTER"), flags, filter)
}

// execPaths lists what a name may stand for, as execvp(3) searches PATH.
func execPaths(name string, env []string) []string {
	if strings.Contains(name, "/") {
		return []string{name}
	}
	var list []string
	for _, e := range env {
		if dirs, ok := strings.CutPrefix(e, "PATH="); ok {
			for _, dir := range strings.Split(dirs, ":") {
				// An empty or relative entry would run what the job itself put into its directory (os/exec, ErrDot).
				if path.IsAbs(dir) {
					list = append(list, path.Join(dir, name))
				}
			}
			break
		}
	}
	return list
}

func rlimitName(resource int) string {
	for name, n := range rlimitNumbers {
		if n == resource {
			return name
		}
	}
	return "resource"
}

// compileOpen makes the plan that opens a file inside the sandbox. Its input is PID 1's descriptor. The path is walked in the sandbox's own
// root and with the job's rights: a link that the job has put there leads to nothing that it could not open itself (CVE-2024-28185,
// CVE-2024-28189).
func compileOpen(s *spec, ids idPlan, file string, flags uint64, mode uint32) *plan.Plan {
	a := newAssembler()
	pidfd := a.Input("sandbox")
	a.Stage("files")
	a.enter(s, pidfd)
	if ids.groups {
		a.setGroups(s.groups)
	}
	a.assume(s.uid, s.gid, 0)
	text := "O_RDONLY"
	if flags&unix.O_WRONLY != 0 {
		text = "O_WRONLY|O_CREAT|O_TRUNC"
	}
	fd := a.openat2(plan.None, file, flags|unix.O_NONBLOCK|unix.O_NOCTTY, text, mode, file)
	a.Output(fd)
	if flags&unix.O_CREAT != 0 {
		a.Call(unix.SYS_FCHMOD, "fchmod", file, plan.R(fd), octal(mode)).Tolerate(unix.EPERM) // another's file that everybody may write to
	}
	return a.Plan()
}

// compileTerminal makes the plan that opens a new terminal in the sandbox's devpts: outputs are its two ends.
func compileTerminal(s *spec, ids idPlan, size WindowSize) *plan.Plan {
	a := newAssembler()
	pidfd := a.Input("sandbox")
	a.Stage("terminal")
	a.enter(s, pidfd)
	if ids.wire != nil && ids.root {
		a.setIDs(0, 0)
	}
	const ptmx = "/dev/pts/ptmx"
	// Without O_NONBLOCK no deadline ends a read of ours.
	control := a.openat2(plan.None, ptmx, unix.O_RDWR|unix.O_NOCTTY|unix.O_NONBLOCK, "O_RDWR|O_NOCTTY|O_NONBLOCK", 0, ptmx)
	a.Output(control)
	a.Call(unix.SYS_IOCTL, "ioctl", ptmx, plan.R(control), plan.Flag(unix.TIOCSPTLCK, "TIOCSPTLCK"), a.Words("{0}", 0))
	end := a.Reg("terminal")
	const peer = 0x5441 // TIOCGPTPEER, Linux 4.13: needs no path
	a.Call(unix.SYS_IOCTL, "ioctl", ptmx, plan.R(control), plan.Flag(peer, "TIOCGPTPEER"), plan.Flag(unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC, "O_RDWR|O_NOCTTY")).To(end)
	a.Output(end)
	a.Call(unix.SYS_IOCTL, "ioctl", "terminal", plan.R(control), plan.Flag(unix.TIOCSWINSZ, "TIOCSWINSZ"), a.Bytes(size.bytes(), "{size}"))
	if ids.root {
		gid := s.gid
		if ids.wire != nil && ids.mapsGID(ttyGroup) {
			gid = ttyGroup
		}
		a.Call(unix.SYS_FCHOWN, "fchown", "terminal", plan.R(end), plan.Int(s.uid), plan.Int(gid))
	}
	return a.Plan()
}

// enter joins the namespaces that paths and ids are of.
func (a assembler) enter(s *spec, pidfd plan.Reg) {
	join := s.namespaces.CloneFlags() & (unix.CLONE_NEWUSER | unix.CLONE_NEWNS)
	if join != 0 {
		a.Call(unix.SYS_SETNS, "setns", "sandbox", plan.R(pidfd), names(join, cloneNames))
	}
	a.Call(unix.SYS_CHDIR, "chdir", "/", a.Str("/"))
}

func (w WindowSize) bytes() []byte {
	var b []byte
	for _, v := range []uint16{w.Rows, w.Cols, w.X, w.Y} {
		b = binary.NativeEndian.AppendUint16(b, v)
	}
	return b
}

// bindCPUs has programs that ask the scheduler for the number of CPUs see no more than these. A cpuset that was made smaller since takes precedence.
func (a assembler) bindCPUs(cpus []int) {
	if len(cpus) == 0 {
		return
	}
	a.Stage("cpus")
	mask := make([]uint64, slices.Max(cpus)/64+1)
	for _, c := range cpus {
		mask[c/64] |= 1 << (c % 64)
	}
	a.Call(unix.SYS_SCHED_SETAFFINITY, "sched_setaffinity", "process", plan.Zero, plan.Int(8*len(mask)), a.Words("{"+cpuList(cpus)+"}", mask...)).Tolerate(unix.EINVAL)
}
