//go:build linux

package zygote

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/belljar-go/belljar/cgroup"
	"github.com/belljar-go/belljar/rootfs"
	"github.com/belljar-go/belljar/sandbox/internal/launch"
	"github.com/belljar-go/belljar/sandbox/internal/plan"
	"github.com/belljar-go/belljar/sandbox/internal/wire"
	"golang.org/x/sys/unix"
)

// endPatience is how long a killed process may take to die before it counts as lost in the kernel.
const endPatience = 3 * time.Second

// box is a standing sandbox.
type box struct {
	id        uint64
	pidfd     int      // of PID 1, for setns; closed by end
	init      *process // PID 1
	lifeline  int      // its write end; PID 1 ends when it is closed
	ruleset   int      // Landlock's, for the commands; -1: none
	group     *cgroup.Manager
	leave     func() // gives up the place that group is in
	ungrouped bool   // group is removed
	ids       *idRange
	upper     *rootfs.HeldUpper
	ownPIDs   bool
	limits    limits
	spare     spare // with the limits locked, if with any lock
	userNS    bool
	initLeaf  *cgroup.Leaf // PID 1's, if it is in the sandbox's group
	nets      *nets
	net       *netns      // to be given back to nets; nil: there is none
	noted     int         // the directory of the group of v2 that commands are cloned into which have no leaf there, see groups.noting; -1: none
	astray    atomic.Bool // that has become impossible
	netKept   atomic.Bool // all else that it takes to use that again has been said

	// sweeping keeps commands from being started while everything in the PID namespace is killed.
	sweeping sync.RWMutex
	freezing sync.Mutex // held during Freeze and Thaw; not by a kill

	mu       sync.Mutex
	closing  bool
	walks    map[*launch.Handle]bool // launches under way that are no commands
	frozen   bool
	commands map[uint64]*command
	watchers []*watcher
	told     bool           // somebody has watched events: there are to be none of what is no command
	pids     map[string]int // of commands, by their leaves
	kept     []keptLeaf     // of commands whose leftovers may stay
	starting sync.WaitGroup // launches under way
	running  sync.WaitGroup // commands not yet reported
	reaping  sync.Mutex
	reaped   bool            // PID 1 is gone
	status   unix.WaitStatus // of PID 1, once it is gone
	ended    sync.Once
	endErr   error
	endSaid  wire.Answer // how long the end took
	closed   chan struct{}
	late     *sync.WaitGroup // what goes on after the end
	leafSeq  atomic.Uint64
	started  atomic.Uint64 // commands
}

// create makes a sandbox. The caller closes what is spent.
func (z *zygote) create(m *wire.Message, spent *[]int) (_ *wire.Answer, err error) {
	var req wire.CreateRequest
	if err := m.Decode(&req); err != nil {
		return nil, err
	}
	p, err := z.plans.find(req.Plan, m.Raw)
	if errors.Is(err, errNoBase) {
		return &wire.Answer{NoBase: true}, err
	}
	if err != nil {
		return nil, err
	}
	b := &box{
		id: z.lastBox.Add(1), pidfd: -1, lifeline: -1, ruleset: -1, noted: -1, ownPIDs: req.OwnPIDs, userNS: req.IDMap != nil,
		commands: map[uint64]*command{}, walks: map[*launch.Handle]bool{}, late: &z.handlers, closed: make(chan struct{}),
	}
	a := &wire.Answer{Box: b.id}
	watch := stopwatch{a: a, last: time.Now()}
	group := z.planGroup(b, &req)
	defer func() {
		if err != nil {
			b.spare.drop(true)
			b.dismantle()
		}
	}()
	files := m.Files
	if req.Work != "" {
		files, err = b.keepUpper(files, req.Work)
	}
	if err == nil {
		err = b.launch(z, &req, p, files, a, group.make, spent)
	}
	watch.lap("launch")
	watch.part("cgroup", group.took)
	if a.NoTemplate {
		return a, err // and it is asked for again, without
	}
	if gerr := group.end(a); gerr != nil {
		// What the host lacks says more than how far the launch has got meanwhile.
		err = gerr
	}
	if err == nil && req.Group != nil && req.Group.Init && b.group != nil {
		err = b.adoptInit()
		watch.lap("init group")
	}
	if err == nil {
		err = z.deaths.watch(b, z.died)
	}
	if err != nil {
		if b.init != nil {
			b.kill()
		}
		return a, err
	}
	a.Group = b.group != nil
	z.mu.Lock()
	z.boxes[b.id] = b
	z.mu.Unlock()
	if b.group != nil {
		z.keepSpare(b)
	}
	return a, nil
}

// groupWork is the making of a sandbox's group, once.
type groupWork struct {
	z    *zygote
	b    *box
	req  *wire.Group
	name string
	said wire.Answer
	done bool
	took time.Duration
	err  error
}

// planGroup says how the sandbox's group is made: while PID 1, which is not in it, makes its root, by the thread that waits for that. Only where this process may have to step aside
// for it, which another PID 1 would be in the way of, it is made at once.
func (z *zygote) planGroup(b *box, req *wire.CreateRequest) *groupWork {
	w := &groupWork{z: z, b: b, req: req.Group, name: boxName(b.id, req.Name)}
	if w.done = w.req == nil; w.done {
		return w
	}
	b.limits.oomGroup.Store(w.req.Limits.OOMGroup)
	if w.req.Init {
		besideInit(&w.req.Limits)
	}
	if !z.groups.standing(w.req) {
		w.make()
	}
	return w
}

// make makes the group unless that has been done.
func (w *groupWork) make() {
	if w.done {
		return
	}
	w.done = true
	begin := time.Now()
	defer func() { w.took = time.Since(begin) }()
	w.b.group, w.b.leave, w.err = w.z.groups.make(w.name, w.req, &w.said)
	if w.err == nil && w.b.group != nil && w.req.Leaf != nil {
		w.b.firstLeaf(*w.req.Leaf)
	}
}

// end has it made, and tells of it.
func (w *groupWork) end(a *wire.Answer) error {
	if w.req == nil {
		return nil
	}
	w.make()
	a.CPU, a.Tasks = w.said.CPU, countTasks(w.b.group)
	if w.b.group != nil {
		a.Shown = w.b.group.Shown()
	}
	a.Notes = append(a.Notes, w.said.Notes...)
	return w.err
}

// keepUpper holds what the host program has locked, so that nobody else gets it before this sandbox is gone, whatever becomes of the host
// program. It returns the other files.
func (b *box) keepUpper(files []int, work string) ([]int, error) {
	n := len(files) - 2
	if n < 0 {
		return nil, wire.ErrProtocol
	}
	parent, err := unix.FcntlInt(uintptr(files[n]), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return nil, os.NewSyscallError("fcntl", err)
	}
	layer, err := unix.FcntlInt(uintptr(files[n+1]), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		_ = unix.Close(parent)
		return nil, os.NewSyscallError("fcntl", err)
	}
	b.upper = rootfs.AdoptUpper(parent, layer, work)
	return files[:n], nil
}

// launch starts PID 1, and does something else while that makes its root. The caller closes what is spent then.
func (b *box) launch(z *zygote, req *wire.CreateRequest, p *plan.Plan, files []int, a *wire.Answer, beside func(), spent *[]int) (err error) {
	var pipe [2]int
	if err := unix.Pipe2(pipe[:], unix.O_CLOEXEC); err != nil {
		return os.NewSyscallError("pipe2", err)
	}
	*spent = append(*spent, pipe[0])
	b.lifeline = pipe[1]
	r := &launch.Request{
		Plan: p, Files: append([]int{z.image, pipe[0]}, files...), Mode: launch.Mode(req.Launch.Mode),
		Flags: req.Launch.Flags, Cgroup: -1, Until: deadline(req.Launch.Timeout), Keep: plan.None, Handle: &launch.Handle{}, Beside: beside,
	}
	defer z.launching(r.Handle)()
	if req.Ground != 0 {
		if r.Mounts, err = z.templates.enter(req.Ground); err != nil {
			a.NoTemplate = errors.Is(err, errNoTemplate)
			return err
		}
		*spent = append(*spent, r.Mounts.NS)
	}
	if req.Template != 0 {
		tree, err := z.templates.clone(req.Template)
		if err != nil {
			a.NoTemplate = true
			return err
		}
		*spent = append(*spent, tree)
		r.Files = append([]int{z.image, pipe[0], tree}, files...)
	}
	if req.Net {
		ns, home, err := z.nets.take()
		if err != nil {
			return err
		}
		r.Net, r.NetHome = ns.fd, home
		if req.Reuse && ns.cookie != 0 {
			b.net, b.nets, b.noted = ns, &z.nets, z.groups.notedFD()
			r.Cgroup = b.noted
		} else {
			z.nets.witness.forget(ns.cookie)
			*spent = append(*spent, ns.fd)
		}
	}
	if req.Ruleset >= 0 {
		r.Keep = plan.Reg(req.Ruleset)
	}
	if err := b.claimIDs(req.IDMap); err != nil {
		return err
	}
	if b.ids != nil {
		a.IDBase, r.Owner = b.ids.base, b.ids.base
	}
	r.Started = func(pid, pidfd int, set func(plan.Reg, int)) error {
		if req.IDMap == nil {
			return nil
		}
		if err := mapIDs(pid, req.IDMap, b.ids); err != nil {
			return err
		}
		if req.IDMap.Namespace >= 0 {
			fd, err := userNamespace(pid, pidfd)
			if err != nil {
				return err
			}
			*spent = append(*spent, fd)
			set(plan.Reg(req.IDMap.Namespace), fd)
		}
		return nil
	}
	proc, err := launch.Launch(r)
	if err != nil && b.noted >= 0 && r.NotCloned(err) {
		// Somebody has removed that group, or does not let processes into it any more. All that follows is that nothing is noted of the namespace.
		z.groups.noNote()
		b.noted, r.Cgroup = -1, -1
		proc, err = launch.Launch(r)
	}
	if err != nil {
		return launchError("launch", err)
	}
	if r.Keep != plan.None {
		b.ruleset = int(proc.Kept)
	}
	awaitProgram(proc.PID)
	a.PID = proc.PID
	if req.Regs {
		a.Regs = proc.Regs
	}
	b.pidfd, err = unix.FcntlInt(uintptr(proc.PIDFD), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		_ = unix.PidfdSendSignal(proc.PIDFD, unix.SIGKILL, nil, 0)
		_ = unix.Close(proc.PIDFD)
		return os.NewSyscallError("fcntl", err)
	}
	b.init = newProcess(proc.PID, proc.PIDFD)
	return nil
}

// initLeafName is that of a scope which lxcfs (and systemd) take for the group above.
const initLeafName = "init.scope"

// besideInit changes the limits of a group that has PID 1 in it. It does not count as a process of the jobs', and is not to die with them where memory runs
// out: a whole leaf is killed then, for each has memory.oom.group for itself, and never the whole group. PID 1's few pages make it nobody's first choice.
func besideInit(l *cgroup.Limits) {
	if l.Pids > 0 {
		l.Pids++
	}
	l.OOMGroup = false
}

// adoptInit puts PID 1 into the sandbox's group.
func (b *box) adoptInit() (err error) {
	if b.initLeaf, err = b.group.NewLeaf(initLeafName, cgroup.Limits{}); err != nil {
		return err
	}
	return b.initLeaf.Adopt(b.init.pid)
}

// awaitProgram waits until PID 1 can be joined, and can be put into a group. The kernel tells of its exec a moment before the process has its new memory (exec_mmap in fs/exec.c), and
// until then it has that of the launch: an ordinary user may not look at that, setns(2) would be refused; and what shares this process's memory is to be in no group where memory may run out.
func awaitProgram(pid int) {
	exe := fmt.Sprintf("/proc/%d/exe", pid)
	for end := time.Now().Add(endPatience); time.Now().Before(end); time.Sleep(100 * time.Microsecond) {
		if is, err := os.Readlink(exe); !errors.Is(err, os.ErrPermission) && (err != nil || is != ownProgram()) {
			return
		}
	}
}

// ownProgram is what /proc says that this process executes.
var ownProgram = sync.OnceValue(func() string {
	exe, err := os.Readlink("/proc/self/exe")
	if err != nil {
		return "" // then nobody's is looked at
	}
	return exe
})

func launchError(stage string, err error) error {
	var step *launch.StepError
	var own *stageError
	if errors.As(err, &step) || errors.As(err, &own) {
		return err
	}
	if errors.Is(err, launch.ErrMounts) {
		return &stageError{"template", "setns", "mount namespace", err}
	}
	return &stageError{stage, "clone3", "", err}
}

// enter registers a launch into the sandbox; false if it is being closed.
func (b *box) enter() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closing {
		return false
	}
	b.starting.Add(1)
	return true
}

// killing has kill end a launch too, until the returned function is called.
func (b *box) killing(h *launch.Handle) (done func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.walks[h] = true
	if b.closing {
		h.Kill()
	}
	return func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		delete(b.walks, h)
	}
}

func (z *zygote) freeze(m *wire.Message) error {
	var req wire.FreezeRequest
	if err := m.Decode(&req); err != nil {
		return err
	}
	b, err := z.groupedBox(req.Box)
	if err != nil {
		return err
	}
	// One after the other, but a kill does not wait for them.
	b.freezing.Lock()
	defer b.freezing.Unlock()
	if req.Frozen && !b.setFrozen(true) {
		return errGone
	}
	b.spare.dropReady()
	if req.Frozen {
		err = b.group.Freeze(soon())
	} else {
		err = b.group.Thaw(soon())
	}
	if b.isClosing() {
		return errGone
	}
	if !req.Frozen && err == nil {
		b.setFrozen(false)
	}
	return err
}

// setFrozen notes, before it is so, that processes may be frozen; false if the sandbox is being closed.
func (b *box) setFrozen(is bool) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.frozen = is
	return !b.closing
}

// stopwatch notes how long parts of a request take.
type stopwatch struct {
	a    *wire.Answer
	last time.Time
}

func (s *stopwatch) lap(name string) {
	now := time.Now()
	s.a.Times = append(s.a.Times, wire.Time{Name: name, Took: now.Sub(s.last)})
	s.last = now
}

// part says that some of the part that was noted last was something else.
func (s *stopwatch) part(name string, took time.Duration) {
	s.a.Times[len(s.a.Times)-1].Took -= took
	s.a.Times = append(s.a.Times, wire.Time{Name: name, Took: took})
}

func deadline(d time.Duration) time.Time {
	if d <= 0 {
		return time.Time{}
	}
	return time.Now().Add(d)
}
