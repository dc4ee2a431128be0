package sandbox

import (
	"github.com/belljar-go/belljar/namespace"
	"github.com/belljar-go/belljar/rootfs"
	"github.com/belljar-go/belljar/sandbox/internal/launch"
	"github.com/belljar-go/belljar/sandbox/internal/plan"
	"golang.org/x/sys/unix"
)

// initPlan is the compiled set-up of a sandbox: what PID 1 does before it becomes pause.
type initPlan struct {
	*plan.Plan
	mode    launch.Mode
	flags   uint64
	ids     idPlan
	handles []string // host paths whose descriptors go along, in this order
	mapped  []mappedTree
	pivots  []plan.Reg // results of pivot_root, where chroot may stand in for it
	notes   []string   // for the report
	ruleset plan.Reg   // Landlock's, which the zygote keeps for the commands
	groups  plan.Reg   // result of mounting what commands are to see of their cgroups
	net     bool       // the zygote has it start in a network namespace of its own
}

// compileInit turns a spec into the plan of its PID 1. It makes no system call.
func compileInit(s *spec, f *hostFacts, ids idPlan, ops []rootfs.Op, src *sources, l *landlock) *initPlan {
	return compileInitPart(s, f, ids, ops, src, l, wholePart)
}

// compileInitPart is compileInit for a root that is begun from a template, or is not.
func compileInitPart(s *spec, f *hostFacts, ids idPlan, ops []rootfs.Op, src *sources, l *landlock, part rootPart) *initPlan {
	a := newAssembler()
	p := &initPlan{ids: ids, ruleset: plan.None, groups: plan.None}
	own := s.namespaces
	if p.net = netAhead(s, f, ids); p.net {
		own = own.Without(namespace.Net)
	}
	if ids.copy || own.Has(namespace.Time) {
		p.mode = launch.Copy
	}
	p.flags = own.CloneFlags() & (unix.CLONE_NEWUSER | unix.CLONE_NEWPID)

	image, lifeline := a.Input("pause"), a.Input("lifeline")
	userns := plan.None
	r := newRootPlan(a, s, f, ids, ops, src, part)
	if f.mounts && ids.wire != nil {
		userns = a.Reg("userns")
		mapping := *ids.wire // which plans of other sandboxes have too
		mapping.Namespace = int32(userns)
		p.ids.wire = &mapping
		r.userns = userns
	}

	a.start(p, ids)
	keep := []plan.Reg{lifeline, image}
	if part == ownPart {
		r.root = r.cloneTemplate()
		keep = append(keep, r.root)
	}
	// The zygote's steps come first in time, so its trees are known to exist when descriptors are sorted out.
	p.handles = r.openHandles(&keep)
	if l != nil {
		a.InParent(func() { p.ruleset = a.newRuleset(l) })
		keep = append(keep, p.ruleset)
	}
	a.Stage("start")
	a.keepOnly(keep, 1)
	a.become(s, ids, own, r)
	if own.Has(namespace.Mount) {
		if src.shown != "" {
			p.groups = a.tryGroups(src.shown)
		}
		r.open()
		a.limitNamespaces(r, ids)
		r.pivot()
		r.fill()
	}
	if l != nil {
		a.landRules(l, keep[len(keep)-1])
	}
	a.network(own)
	a.hostname(s, own)
	a.pause(image)
	p.mapped, p.notes, p.pivots = r.mapped, r.notes, r.pivots
	p.Plan = a.Plan().Clone() // without the room that its slices have left to grow
	return p
}

// netAhead tells whether the network namespace can be one that was made before there was a sandbox, by the zygote, whose user namespace it then belongs
// to: to a job with capabilities it has to belong to the sandbox's, over which they are.
func netAhead(s *spec, f *hostFacts, ids idPlan) bool {
	return f.netAhead && s.namespaces.Has(namespace.Net) && (len(s.caps) == 0 || ids.wire == nil)
}

func newRootPlan(a assembler, s *spec, f *hostFacts, ids idPlan, ops []rootfs.Op, src *sources, part rootPart) *rootPlan {
	own := s.namespaces
	r := &rootPlan{
		assembler: a, ids: ids, facts: f, job: owner{s.uid, s.gid}, ops: sortedForPlan(ops), sources: src, part: part,
		trees: map[int]plan.Reg{}, devices: map[string]plan.Reg{}, made: map[string]bool{}, userns: plan.None,
		mqueue: own.Has(namespace.IPC), ownPIDs: own.Has(namespace.PID), root: plan.None, proc: plan.None, devfs: plan.None, nodes: plan.None, switches: plan.None, layered: src.layered, writable: s.writable(), scratch: s.scratch, kept: plan.None, show: plan.None, mayChroot: s.chroot,
	}
	switch part {
	case fixedPart, ownPart:
		r.fresh = freshTargets(r.ops, src)
	case groundedPart:
		r.fresh = devTargets()
	}
	r.grounded = part == ownPart || part == groundedPart
	return r
}

// start lets the zygote do its part.
func (a assembler) start(p *initPlan, ids idPlan) {
	a.Stage("start")
	if p.mode == launch.Copy {
		if ids.copy {
			a.dumpable(1)
		}
		a.fork()
	}
	a.deathSignal(unix.SIGKILL)
	a.awaitParent()
	a.ownTable()
	p.flags |= unix.CLONE_FILES
}

// become takes the user namespace's root and makes the other namespaces.
func (a assembler) become(s *spec, ids idPlan, own namespace.Set, r *rootPlan) {
	a.Stage("namespaces")
	flags := own.CloneFlags() &^ (unix.CLONE_NEWUSER | unix.CLONE_NEWPID | unix.CLONE_NEWCGROUP)
	early := ids.changes() && !r.facts.mounts && own.Has(namespace.Mount)
	unshare := func() {
		if flags != 0 {
			a.Call(unix.SYS_UNSHARE, "unshare", "namespaces", names(flags, cloneNames))
		}
	}
	if early {
		unshare()
		r.openEarly()
		a.Stage("namespaces")
	}
	if ids.wire != nil && ids.root {
		if ids.groups {
			a.setGroups(nil)
		}
		a.setIDs(0, 0)
		a.deathSignal(unix.SIGKILL) // a change of uid has cleared it (prctl(2))
	}
	a.Call(unix.SYS_SETSID, "setsid", "process")
	if !early {
		unshare()
	}
	if own.Has(namespace.Time) {
		// The offsets' file belongs to root of the initial namespace unless the process is dumpable (proc_pid_attr(5)); its memory is
		// its own here.
		a.dumpable(1)
		const file = "/proc/self/timens_offsets"
		fd := a.Reg("fd:" + file)
		a.Call(unix.SYS_OPENAT, "openat", file, plan.CWD, a.Str(file), plan.Flag(unix.O_WRONLY|unix.O_CLOEXEC, "O_WRONLY|O_CLOEXEC"), plan.Zero).To(fd)
		a.write(fd, []byte(s.offsets.Text()), file)
		a.close(fd)
		a.dumpable(0)
	}
}

// limitNamespaces forbids nested user namespaces, on top of the filter.
func (a assembler) limitNamespaces(r *rootPlan, ids idPlan) {
	if ids.wire == nil || r.proc == plan.None {
		return
	}
	const file = "/proc/sys/user/max_user_namespaces"
	proc := r.proc
	if r.switches != plan.None {
		proc = r.switches
	}
	fd := a.openat2(proc, "sys/user/max_user_namespaces", unix.O_WRONLY, "O_WRONLY", 0, file)
	a.write(fd, []byte("0"), file)
	a.close(fd)
	if r.switches != plan.None {
		a.close(r.switches)
	}
}

// network brings the loopback up: a new network namespace has one, down.
func (a assembler) network(own namespace.Set) {
	if !own.Has(namespace.Net) {
		return
	}
	a.Stage("network")
	s := a.Reg("socket")
	a.Call(unix.SYS_SOCKET, "socket", "lo", plan.Flag(unix.AF_INET, "AF_INET"), plan.Flag(unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, "SOCK_DGRAM|SOCK_CLOEXEC"), plan.Zero).To(s)
	req := make([]byte, 40) // struct ifreq
	copy(req, "lo")
	req[16] = unix.IFF_UP | unix.IFF_RUNNING
	a.Call(unix.SYS_IOCTL, "ioctl", "lo", plan.R(s), plan.Flag(unix.SIOCSIFFLAGS, "SIOCSIFFLAGS"), a.Bytes(req, "{lo, IFF_UP|IFF_RUNNING}"))
	a.close(s)
}

func (a assembler) hostname(s *spec, own namespace.Set) {
	if !own.Has(namespace.UTS) {
		return
	}
	a.Stage("hostname")
	a.Call(unix.SYS_SETHOSTNAME, "sethostname", s.hostname, a.Str(s.hostname), plan.Int(len(s.hostname)))
	const none = "(none)"
	a.Call(unix.SYS_SETDOMAINNAME, "setdomainname", none, a.Str(none), plan.Int(len(none)))
}

// pause gives up every power and executes PID 1's program. SIGCHLD stays ignored over an exec, so the kernel reaps its children.
func (a assembler) pause(image plan.Reg) {
	a.Stage("pause")
	a.Call(unix.SYS_RT_SIGACTION, "rt_sigaction", "SIGCHLD", plan.Flag(uint64(unix.SIGCHLD), "SIGCHLD"), a.Words("{SIG_IGN}", 1, 0, 0, 0), plan.Null, plan.Int(8))
	a.setCaps(0)
	a.noNewPrivs()
	a.deathSignal(0) // the lifeline takes over
	a.Exec()
	a.Call(unix.SYS_EXECVEAT, "execveat", "pause", plan.R(image), a.Str(""), a.Strings([]string{"pause"}), a.Strings(nil), plan.Flag(unix.AT_EMPTY_PATH, "AT_EMPTY_PATH"))
}
