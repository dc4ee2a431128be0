package sandbox

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/belljar-go/belljar/namespace"
	"github.com/belljar-go/belljar/rootfs"
	"github.com/belljar-go/belljar/sandbox/internal/plan"
	"github.com/belljar-go/belljar/sandbox/internal/wire"
	"github.com/belljar-go/belljar/seccomp"
	"golang.org/x/sys/unix"
)

// engine is a sandbox that stands: the parent's side of what the zygote holds.
type engine struct {
	z       *zygoteClient
	spec    *spec
	ids     idPlan
	facts   *hostFacts
	walls   walls
	lxcfs   bool     // tells of the sandbox, by the group of PID 1
	view    string   // of which machine /proc tells, for the report
	legacy  []string // the host's hierarchies of v1
	showing bool     // there is room in the root for commands to see their groups
	// groupsErr is why they do not, although there is.
	groupsErr error
	box       uint64
	pid       int
	tasks     int
	grouped   bool                    // commands have a cgroup
	counted   bool                    // CPU time is accounted
	ended     chan struct{}           // closed when PID 1 is gone
	shape     *shape                  // what it has in common with others
	setup     *initSetup              // of that, what PID 1 walked
	held      *holdings               // of the host, until close
	scratch   atomic.Pointer[os.File] // the layer in memory that the job writes to; nil: none
	idBase    uint32                  // the first of the sandbox's own range of ids on the host; 0: none
	report    Report
	ending    []Stage              // what close took the zygote
	updated   atomic.Pointer[spec] // by Update: only limits differ
	points    []string             // paths of the root at which something of the sandbox's own is
	disk      disk
	reuseNet  bool         // see mayReuseNet
	known     atomic.Int32 // see show
	habit     *habit       // of those it was made ahead with; nil: it was not
	direct    direct
}

// newEngine sets a sandbox up. Whatever fails, nothing stays behind.
func newEngine(s *spec) (*engine, error) {
	e, err := tryEngine(s)
	var where *Error
	if errors.As(err, &where) && where.Stage == "root" && errors.Is(err, unix.ENOENT) && refreshFacts() {
		// What is known of the host's files has grown old: a package was removed, say.
		return tryEngine(s.clone())
	}
	return e, err
}

func tryEngine(s *spec) (_ *engine, err error) {
	begin := time.Now()
	e := &engine{}
	if z := livingZygote(); z != nil {
		if sh := z.shapes.find(s, z.hostFacts()); sh != nil {
			e.z = z
			e.lap("zygote", &begin)
			if src, ok := e.useShape(sh); ok {
				defer src.close()
				e.useTemplate(src)
				if err := e.set(src, nil, &begin); err != nil {
					return nil, err
				}
				return e, nil
			}
			z.shapes.drop(sh)
			e = &engine{}
		}
	}
	asked := s
	if s, err = e.checkTime(s); err != nil {
		return nil, err
	}
	e.spec = s
	if e.z, err = zygoteSoon(); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			_ = e.z.up() // it is not half there afterwards
		}
	}()
	e.facts = e.z.hostFacts()
	e.lap("zygote", &begin)
	if err := e.compileFilter(); err != nil {
		return nil, err
	}
	img, err := e.useImage()
	if err != nil {
		return nil, err
	}
	if img != nil {
		s = e.spec
		e.lap("image", &begin)
		defer func() {
			if err != nil {
				img.release()
			}
		}()
	}
	if e.ids, err = planIDs(s, e.facts); err != nil {
		return nil, err
	}
	if img != nil && !e.ids.groups && len(s.groups) > 0 {
		e.report.Notes = append(e.report.Notes, "the user of the image is in further groups, which an ordinary user without /etc/subgid cannot have")
	}
	view, err := e.viewOps()
	if err != nil {
		return nil, err
	}
	ops, err := s.rootOps(e.facts.root, view...)
	if err != nil {
		return nil, err
	}
	if e.held, err = hold(s, e.facts, e.ids); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			e.held.undo()
		}
	}()
	sources, err := openSources(s, e.facts, &ops)
	defer sources.close()
	if err == nil {
		err = sources.addUpper(e.held.upper, e.facts.mounts)
	}
	if err != nil {
		return nil, err
	}
	e.points, e.disk.targets = pointsOf(ops), boundedPlaces(s, ops)
	shown, err := sources.addScratch(s)
	if err != nil {
		return nil, err
	}
	defer shown.Close()
	if err := e.planLandlock(ops, sources); err != nil {
		return nil, err
	}
	sources.shown = e.triedGroup()
	p := compileInit(s, e.facts, e.ids, ops, sources, e.walls.landlock)
	for _, path := range sources.skipped {
		e.report.Notes = append(e.report.Notes, "optional bind left out, it does not exist: "+quotePath(path))
	}
	e.newShape(asked, p, sources, ops)
	if err := e.awaitZygote(&begin); err != nil {
		return nil, err
	}
	if err := e.set(sources, shown, &begin); err != nil {
		return nil, err
	}
	e.held.image = img
	return e, nil
}

// awaitZygote waits until the zygote serves, which counts as its start, and not as what has been done meanwhile.
func (e *engine) awaitZygote(begin *time.Time) error {
	since := time.Now()
	err := e.z.up()
	waited := time.Since(since)
	for i := range e.report.Stages {
		if s := &e.report.Stages[i]; s.Name == "zygote" {
			s.Duration += waited
		}
	}
	*begin = begin.Add(waited)
	return err
}

// set has the zygote set up what has been compiled. shown is where the descriptor of a scratch layer comes from, if there is one.
func (e *engine) set(src *sources, shown *os.File, begin *time.Time) error {
	e.lap("compile", begin)
	files := src.handles(e.setup.handles)
	err := e.create(e.setup.initPlan, files)
	if err != nil && e.withoutTemplate(err) {
		err = e.create(e.setup.initPlan, files)
	}
	if err != nil {
		return err
	}
	e.templateWorked()
	e.lap("create", begin)
	e.takeScratch(shown)
	e.describe(e.setup.initPlan)
	return nil
}

// text is the plan for people.
func (e *engine) text() string {
	if e.setup.template == nil {
		return e.setup.String()
	}
	return e.setup.template.StringAs("zygote", "once") + e.setup.String()
}

// compileFilter turns the policy into bytes, once for all of the sandbox's commands.
func (e *engine) compileFilter() error {
	policy := seccomp.Default()
	if e.spec.policy != nil {
		policy = *e.spec.policy
	}
	prog, err := policy.Compile()
	if err == nil {
		e.walls.filter, e.walls.flags, e.walls.lenient = prog.Bytes(), prog.Flags(), lenient(prog)
		return e.planListening(policy, prog)
	}
	if e.spec.mayGiveUp("WithSeccomp") {
		e.giveUp("WithSeccomp", err)
		return nil
	}
	return &Error{Stage: "seccomp", Op: "compile", Err: err}
}

// planLandlock decides on Landlock, and says in the report why there is none.
func (e *engine) planLandlock(ops []rootfs.Op, src *sources) error {
	l, why, err := planLandlock(e.spec, e.facts, ops, src)
	switch {
	case err != nil || why == "":
	case e.spec.mayGiveUp("WithLandlock"):
		e.report.GivenUp = append(e.report.GivenUp, GivenUp{Option: "WithLandlock", Reason: why})
	default:
		e.report.Notes = append(e.report.Notes, "landlock: "+why)
	}
	e.walls.landlock = l
	return err
}

func (e *engine) giveUp(option string, why error) {
	e.report.GivenUp = append(e.report.GivenUp, GivenUp{Option: option, Reason: why.Error()})
}

func closeAll(fds []int) {
	for _, fd := range fds {
		_ = unix.Close(fd)
	}
}

// create sends the plan to the zygote. Limits that may be given up are given up where they cannot be had.
func (e *engine) create(p *initPlan, files []int) error {
	e.reuseNet = e.mayReuseNet()
	limits, countIO := e.spec.limits, e.spec.countIO
	soft := e.softLimits()
	kept, work := e.held.keep()
	files = append(files, kept...)
	for {
		req := wire.CreateRequest{
			Work:    work,
			Name:    e.spec.name,
			Launch:  wire.Launch{Mode: uint8(p.mode), Flags: p.flags, Timeout: launchPatience},
			IDMap:   p.ids.wire,
			Group:   &wire.Group{Limits: limits, IO: countIO, Parent: e.spec.parent, Required: countIO || e.needsGroup(limits), Init: e.lxcfs, Shown: e.showing, Leaf: e.firstLeaf(limits)},
			Regs:    len(p.pivots)+len(p.mapped) > 0 || p.groups != plan.None, // see absorb
			OwnPIDs: e.spec.namespaces.Has(namespace.PID),
			Ruleset: int32(p.ruleset), Net: p.net, Reuse: e.reuseNet, Plan: e.setup.id, Template: e.setup.number, Ground: e.setup.ground,
		}
		ended := make(chan struct{})
		var a *wire.Answer
		err := retryAgain(func() (err error) {
			a, err = e.callCreate(req, files)
			return err
		})
		if lost := e.lostOptions(soft, err); len(lost) > 0 {
			for _, o := range lost {
				e.giveUp(o, err)
				limits = withoutOption(limits, o)
				countIO = countIO && o != "WithIO"
			}
			soft = slices.DeleteFunc(soft, func(o string) bool { return slices.Contains(lost, o) })
			continue
		}
		if err != nil {
			return err
		}
		if len(e.report.GivenUp) > 0 {
			e.spec = e.spec.clone() // what another attempt may yet have stays asked for
			e.spec.limits, e.spec.countIO = limits, countIO
		}
		e.box, e.pid, e.tasks, e.grouped, e.counted, e.ended = a.Box, a.PID, a.Tasks, a.Group, a.CPU, ended
		e.idBase, e.walls.shown = a.IDBase, placeGroups(a.Shown, e.legacy)
		e.z.watch(a.Box, ended)
		e.absorb(a, p)
		return e.checkAccounts()
	}
}

// callCreate sends the plan unless the zygote has it.
func (e *engine) callCreate(req wire.CreateRequest, files []int) (*wire.Answer, error) {
	for {
		known := e.setup.known.Load()
		a, err := e.z.callSoon(request{kind: wire.Create, body: req, plan: e.setup.Plan, kept: known, files: files})
		if a != nil && a.NoBase && known { // it has had too many others since
			e.setup.known.Store(false)
			continue
		}
		if a != nil && a.NoTemplate {
			return a, errTemplateGone
		}
		if err == nil && req.Plan != 0 {
			e.setup.known.Store(true)
		}
		return a, err
	}
}

// zygoteStages are what parts of a request took the zygote.
func zygoteStages(times []wire.Time) []Stage {
	all := make([]Stage, len(times))
	for i, t := range times {
		all[i] = Stage{Name: "zygote: " + t.Name, Duration: t.Took}
	}
	return all
}

// absorb takes over what the zygote has to say about the sandbox.
func (e *engine) absorb(a *wire.Answer, p *initPlan) {
	e.report.Stages = append(e.report.Stages, zygoteStages(a.Times)...)
	e.report.Notes = append(append(e.report.Notes, a.Notes...), p.notes...)
	if p.ids.note != "" {
		e.report.Notes = append(e.report.Notes, p.ids.note)
	}
	for _, r := range p.pivots {
		if int(r) < len(a.Regs) && a.Regs[r] < 0 {
			e.report.Notes = append(e.report.Notes, "root: entered by chroot, since pivot_root is impossible (EINVAL), as where the host program's root is the initial ramfs: the host's root stays mounted beneath the sandbox's, "+
				"and what keeps the job from it is that it has no capability to take mounts away")
		}
	}
	if r := int(p.groups); p.groups != plan.None && r < len(a.Regs) && a.Regs[r] < 0 {
		e.walls.shown, e.groupsErr = nil, syscall.Errno(-a.Regs[r])
	}
	for _, m := range p.mapped {
		if int(m.result) < len(a.Regs) && a.Regs[m.result] < 0 {
			e.report.Notes = append(e.report.Notes, fmt.Sprintf("%s: its file system cannot map ids (%v): files belong to nobody inside, and only what everybody may read can be read",
				quotePath(m.path), plan.ErrnoName(syscall.Errno(-a.Regs[m.result]))))
		}
	}
}

// describe fills the report.
func (e *engine) describe(p *initPlan) {
	s := e.spec
	add := func(format string, args ...any) {
		e.report.Enforced = append(e.report.Enforced, fmt.Sprintf(format, args...))
	}
	add("namespaces: %v", s.namespaces)
	add("%s", p.ids.summary)
	if s.namespaces.Has(namespace.Mount) {
		add("root: %s", s.describeRoot())
		if e.setup.template != nil {
			add("root: begun from a template")
		}
	}
	add("uid %d, gid %d, %d capabilities, no_new_privs", s.uid, s.gid, len(s.caps))
	if e.view != "" {
		add("proc: %s", e.view)
	}
	if len(e.walls.filter) > 0 {
		add("seccomp: filter of %d instructions%s", len(e.walls.filter)/8, map[bool]string{true: ", with a supervisor"}[e.walls.listening != nil])
	}
	if l := e.walls.landlock; l != nil {
		add("%s", l.describe())
	}
	if e.grouped {
		add("cgroup: every command in a group of its own")
		if s.parent != "" {
			add("cgroup parent: %s", quotePath(s.parent))
		}
	} else {
		e.report.Notes = append(e.report.Notes, "commands have no cgroup: leftovers of a command end with the last command that runs beside it")
	}
	e.describeGroups()
	for _, l := range limitLines(s) {
		add("%s", l)
	}
}

// process is a command that runs.
type process struct {
	e    *engine
	id   uint64
	pid  int
	exit chan *wire.Exit

	started time.Duration // of CLOCK_MONOTONIC, if this program has started it

	keep bool
	sup  *supervision
	cut  bool // the context was done before the program was known to run

	over  bool // it has ended already
	offer bool // the zygote makes one when the command has ended
}

// launchGrace is how much longer than a command's deadline its launch may take.
const launchGrace = time.Second

// start runs a command; files are its descriptors 0, 1, 2, …, and stay the caller's. It returns when the program has been
// executed, could not be, or ctx is done, in which case the command is killed.
func (e *engine) start(ctx context.Context, c *commandSpec, files []programFile) (_ *process, err error) {
	if len(files) > wire.MaxFiles {
		return nil, &Error{Stage: "files", Op: "ExtraFiles", Err: fmt.Errorf("%d descriptors, at most %d: %w", len(files), wire.MaxFiles, unix.E2BIG)}
	}
	if !e.noteFiles(files) {
		return nil, &Error{Stage: "sandbox", Op: "start", Err: ErrClosed}
	}
	e.direct.busy.Add(1)
	defer func() {
		if err != nil {
			e.direct.busy.Add(-1)
		}
	}()
	req, fds := e.startRequest(c, files)
	e.habit.note(c.shape())
	c.asked = time.Now()
	base := e.shape.base(e, c.shape())
	req.Base, req.Ruleset, req.Launch.Mode, req.Socket = base.id, base.shared, uint8(base.mode), int32(base.socket)
	if e.direct.may(e, c, base) {
		if p, err := e.startDirect(ctx, c, base, &req, fds); p != nil || err != nil {
			return p, err
		}
		if line := e.direct.ask(&req, len(fds)); len(line) > 0 {
			defer closeAll(line)
			fds = append(fds, line...)
		}
	}
	p := base.command(c)
	if len(p.attempts) == 0 {
		return nil, &Error{Stage: "exec", Op: "execve", Path: c.path, Err: unix.ENOENT}
	}
	exit := make(chan *wire.Exit, 1)
	sup := e.supervise()
	if sup != nil {
		req.Listen = base.listen
		defer func() {
			if err != nil {
				_, _ = sup.finish(false)
			}
		}()
	}
	for {
		r := request{kind: wire.Start, body: req, plan: p.Plan, files: fds, exit: exit}
		if sup != nil {
			r.listen = sup.listen
		}
		if !base.known.Load() {
			r.base = base.encoded
		}
		id, m, cut, err := e.ask(ctx, r, c.whole && sup == nil)
		if err != nil {
			return nil, err
		}
		if req.Offer {
			e.direct.remember(id, likeOf(e, c, base))
		}
		if m != nil && m.Kind == wire.Exited {
			var x wire.Exit
			if err := m.Decode(&x); err != nil {
				return nil, &Error{Stage: "zygote", Op: "receive", Err: err}
			}
			base.known.Store(true)
			exit = make(chan *wire.Exit, 1) // the other may have been closed meanwhile, with the zygote
			exit <- &x
			return &process{e: e, id: id, pid: x.PID, exit: exit, keep: c.keep, sup: sup, cut: cut, offer: req.Offer}, nil
		}
		a, _, err := e.z.answer(m, p.Plan)
		switch {
		case err == nil:
			base.known.Store(true)
			return &process{e: e, id: id, pid: a.PID, exit: exit, keep: c.keep, sup: sup, cut: cut, offer: req.Offer}, nil
		case a != nil && a.NoBase && r.base == nil: // it has had too many others since
			base.known.Store(false)
			e.z.forget(id)
			continue
		}
		e.z.forget(id)
		if cut && errors.Is(err, unix.ETIMEDOUT) {
			return nil, cutError(ctx)
		}
		return nil, execError(p, c, a, err)
	}
}

// cutError is the error of a command whose launch has been given up since ctx is done: a process that has been killed may take long to die on a busy host.
func cutError(ctx context.Context) error {
	return &Error{Stage: "exec", Op: "launch", Err: ctx.Err()}
}

// startRequest is what there is to say of a command beside its plan, and the descriptors that go along.
func (e *engine) startRequest(c *commandSpec, files []programFile) (wire.StartRequest, []int) {
	timeout := launchPatience
	if wall := c.limits.WallTime; wall > 0 {
		// On a busy host the set-up alone may take as long as a short deadline: then the program is started and ended at once, for a
		// verdict instead of an error. An exec that hangs ends a moment later than it might.
		timeout = min(wall+launchGrace, launchPatience)
	}
	req := wire.StartRequest{
		Box: e.box, Launch: wire.Launch{Timeout: timeout},
		Limits: e.leafLimits(c.limits), OwnMemory: c.own.Memory, OwnPids: c.own.Pids, CPU: c.limits.CPUTime, Wall: c.limits.WallTime, Keep: c.keep, Whole: c.whole,
		Files: make([]int16, len(files)),
	}
	var fds []int
	c.files, c.reopen = len(files), make([]uint64, len(files))
	for i, f := range files {
		if f.file == nil {
			req.Files[i] = wire.Null
			continue
		}
		req.Files[i] = int16(len(fds))
		fds = append(fds, int(f.file.Fd()))
		if l := e.walls.landlock; l != nil && !f.pipe {
			c.reopen[i] = reopen(f.file) & l.handled
		}
	}
	return req, fds
}

// ask sends a Start and returns the answer. whole says that nobody is to be told of anything else meanwhile.
func (e *engine) ask(ctx context.Context, r request, whole bool) (id uint64, m *wire.Message, cut bool, err error) {
	if whole {
		if id, m, cut, err = e.startOnLane(ctx, r); err != errNoLane {
			return id, m, cut, err
		}
	}
	id, reply, err := e.z.begin(r)
	if err == nil {
		m, cut, err = e.awaitStart(ctx, id, reply)
	}
	return id, m, cut, err
}

// awaitStart waits for the exec. A launch that neither succeeds nor dies when the context is done is left to the zygote.
func (e *engine) awaitStart(ctx context.Context, id uint64, reply <-chan *wire.Message) (m *wire.Message, cut bool, err error) {
	select {
	case m := <-reply:
		return m, false, nil
	case <-ctx.Done():
	}
	e.kill(id)
	select {
	case m := <-reply:
		return m, true, nil
	case <-time.After(time.Second):
		e.z.forget(id)
		return nil, true, cutError(ctx)
	}
}

// execError is the error of a command that could not be started. Of several places where it was looked for, one
// where it may not be executed says more than one where it is not (execvp(3)).
func execError(p *commandPlan, c *commandSpec, a *wire.Answer, err error) error {
	if a == nil || a.Error == nil || !a.Error.HasStep || a.Error.Step < p.Exec {
		return err
	}
	errno := a.Error.Errno
	regs := a.Error.Regs
	for i := p.Exec; i < p.Steps(); i++ {
		if s, _ := p.Step(i); s.Out != plan.None && int(s.Out) < len(regs) && regs[s.Out] == -int64(unix.EACCES) {
			errno = unix.EACCES
		}
	}
	return &Error{Stage: "exec", Op: "execve", Path: c.path, Err: errno}
}

// wait returns how the command ended.
func (p *process) wait() (*exitFacts, error) {
	x, ok := <-p.exit
	p.e.direct.busy.Add(-1)
	if p.offer {
		p.e.direct.expect()
	}
	denied, herr := p.sup.finish(ok && (p.keep || !p.e.grouped))
	if !ok {
		return nil, &Error{Stage: "wait", Op: "receive", Err: p.e.z.why}
	}
	if x.Ended > 0 {
		x.Wall = x.Ended - p.started
	}
	ws := syscall.WaitStatus(x.Status)
	f := &exitFacts{
		exited: ws.Exited(), code: ws.ExitStatus(), wall: x.Wall, user: x.User, system: x.System, maxRSS: x.MaxRSS,
		counted: x.HasStats, stats: x.Stats, peakAnon: x.PeakAnon, peakFile: x.PeakFile, cpuHit: x.CPUHit, wallHit: x.WallHit, killed: x.Killed,
		denied: denied, handlerErr: herr,
		stages: stageTimes{stageLeaf: x.Leaf, stageLaunch: x.Launch, stageRun: max(x.Wall-x.Launch, 0), stageAccounts: x.Accounts},
	}
	switch {
	case x.Lost:
		f.exited, f.signal = false, unix.SIGKILL
	case ws.Signaled():
		f.signal = ws.Signal()
	}
	return f, nil
}

func (p *process) kill() { p.e.kill(p.id) }

func (e *engine) kill(id uint64) {
	_, _, _ = e.z.call(request{kind: wire.Signal, body: wire.SignalRequest{Command: id, All: true}})
}

// killProcess kills the process of a thread in the sandbox: without a cgroup nobody knows what else a command has than its first one.
func (e *engine) killProcess(tid int) {
	_, _, _ = e.z.call(request{kind: wire.Signal, body: wire.SignalRequest{Box: e.box, TID: tid}})
}

func (p *process) signal(sig syscall.Signal) error {
	_, _, err := p.e.z.call(request{kind: wire.Signal, body: wire.SignalRequest{Command: p.id, Signal: int(sig)}})
	if err != nil && strings.Contains(err.Error(), os.ErrProcessDone.Error()) {
		return os.ErrProcessDone
	}
	return err
}

func (p *process) stats() (Stats, error) {
	return p.e.statsOf(wire.BoxRequest{Command: p.id})
}

func (e *engine) stats() (Stats, error) { return e.statsOf(wire.BoxRequest{Box: e.box}) }

func (e *engine) statsOf(req wire.BoxRequest) (Stats, error) {
	a, _, err := e.z.call(request{kind: wire.Stats, body: req})
	if err != nil {
		return Stats{}, err
	}
	if a.Stats == nil {
		return Stats{}, &Error{Stage: "cgroup", Op: "stats", Err: ErrUnsupported}
	}
	return *a.Stats, nil
}

func (e *engine) freeze(frozen bool) error {
	_, _, err := e.z.call(request{kind: wire.Freeze, body: wire.FreezeRequest{Box: e.box, Frozen: frozen}})
	return err
}

// close ends everything inside and gives it back.
func (e *engine) close() error {
	defer e.held.release()
	defer e.walls.listening.close()
	defer e.dropScratch()
	defer e.closeDisk()
	defer e.direct.close()
	e.z.unwatch(e.box)
	a, err := e.z.callSoon(request{kind: wire.CloseBox, body: wire.BoxRequest{Box: e.box, Kept: e.unknown()}})
	if a != nil {
		e.ending = zygoteStages(a.Times)
	}
	if errors.Is(err, ErrClosed) {
		err = nil // the zygote is gone, and everything with it
	}
	return err
}

// open opens a file inside. It never blocks on what the path names, and never leaves the sandbox's root.
func (e *engine) open(path string, flags int, perm uint32) (*os.File, error) {
	p := compileOpen(e.spec, e.ids, path, uint64(flags), perm)
	var files []*os.File
	err := retryAgain(func() (err error) { files, err = e.do(p); return err })
	if err != nil {
		return nil, err
	}
	return files[0], nil
}

// retryAgain repeats what a walk of a path has made fail because anybody on the machine renamed or mounted something while it went through
// a "..": the kernel then cannot tell that it has not been led out (openat2(2), EAGAIN).
func retryAgain(f func() error) error {
	for range 100 {
		err := f()
		var e *Error
		if !errors.Is(err, unix.EAGAIN) || !errors.As(err, &e) || e.Op != "openat2" {
			return err
		}
	}
	return f()
}

// terminal opens a terminal of the sandbox's own devpts.
func (e *engine) terminal(size WindowSize) (control, end *os.File, err error) {
	files, err := e.do(compileTerminal(e.spec, e.ids, size))
	if err != nil {
		return nil, nil, err
	}
	return files[0], files[1], nil
}

func (e *engine) do(p *plan.Plan) ([]*os.File, error) {
	req := wire.DoRequest{Box: e.box, Launch: wire.Launch{Timeout: launchPatience}}
	_, fds, err := e.z.call(request{kind: wire.Do, body: req, plan: p})
	if err != nil {
		return nil, err
	}
	if len(fds) != len(p.Outputs) {
		closeAll(fds)
		return nil, &Error{Stage: "files", Op: "receive", Err: wire.ErrProtocol}
	}
	files := make([]*os.File, len(fds))
	for i, fd := range fds {
		files[i] = os.NewFile(uintptr(fd), "sandbox file")
	}
	return files, nil
}

// ending is what happens when a sandbox's PID 1 goes without having been asked to.
type ending struct {
	ended chan struct{} // is closed
	then  func()        // is called; nil: nothing is
}

func (d ending) come() {
	close(d.ended)
	if d.then != nil {
		go d.then()
	}
}

// watch closes ended when the sandbox's PID 1 goes without having been asked to.
func (c *zygoteClient) watch(box uint64, ended chan struct{}) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.gone || c.early[box] {
		delete(c.early, box)
		close(ended)
		return
	}
	c.ends[box] = ending{ended: ended}
}

// whenEnded has f called, by a goroutine of its own, when PID 1 goes without having been asked to. Until then nothing waits for that.
func (e *engine) whenEnded(f func()) {
	e.z.mu.Lock()
	defer e.z.mu.Unlock()
	if d, ok := e.z.ends[e.box]; ok {
		d.then = f
		e.z.ends[e.box] = d
		return
	}
	go f()
}

// unwatch closes the channel that watch was given, if nothing has yet.
func (c *zygoteClient) unwatch(box uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if d, ok := c.ends[box]; ok {
		delete(c.ends, box)
		close(d.ended)
	}
}
