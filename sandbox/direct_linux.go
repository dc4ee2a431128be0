package sandbox

import (
	"context"
	"errors"
	"io"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"

	"github.com/belljar-go/belljar/cgroup"
	"github.com/belljar-go/belljar/sandbox/internal/launch"
	"github.com/belljar-go/belljar/sandbox/internal/wire"
	"golang.org/x/sys/unix"
)

// direct starts commands without the zygote, which has made a process that waits for nothing but what it is to execute, and has offered it (wire.Offering): the process itself is sent that, and a
// thread of the zygote's tells of its end. Only what the zygote would do at the start as well can be done so: commands that somebody else has a part in, and those whose time is up in next to no
// time, are started by it, and what does not end within a moment is left to it.
type direct struct {
	mu     sync.Mutex // held from the offer to the end, or until the zygote goes with the command
	line   *wire.Line
	timer  int        // beside line, see wire.StartRequest
	port   *wire.Line // where offers come, and what has been claimed is sent what to do; nil: not yet, or not at present
	null   nullDevice
	off    bool // there is to be no line
	asked  int  // commands that could have been started so
	due    bool // one may be on its way: a command has just ended
	vain   bool // the last that was waited for did not come, and none has since: sandboxes there is no room for have none
	begun  int  // those that were
	packet packet
	sheet  sheet
	oob    []byte
	seen   []byte // room for an offer
	call   directCall

	// tamper, if set, is called before each step of a start, with what is going to be sent once that is known. If it returns false the step fails. Tests make it so.
	tamper func(step string, p *commandPlan) bool

	busy atomic.Int32 // commands of the sandbox, this one included

	likesMu sync.Mutex
	likes   [4]like // commands that an offer may be like
	next    int
}

// directCall is what system calls point at.
type directCall struct {
	head unix.Msghdr
	iov  unix.Iovec
	now  unix.Timespec
	left unix.ItimerSpec
}

// like is what a command had that decides whether another may have what was made for its successor.
type like struct {
	id          uint64
	base        *commandBase
	limits, own Limits
	spec        *spec
}

// packet is what was sent last, which often is the same again.
type packet struct {
	base      *commandBase
	place     launch.Place
	path, dir string
	args, env []string
	plan      *commandPlan
	bytes     []byte
	tamper    func(string, *commandPlan) bool
}

// sheet is how to read what is told of a command's accounts.
type sheet struct {
	blob  string
	sheet cgroup.Sheet
	rooms []int
}

// The moments for which a command's end is waited for: at first without telling the Go runtime, whose work that is longer than most of such programs run; then as usual; then the zygote
// is told.
const (
	spinTime   = 700 * time.Microsecond
	directTime = 2 * time.Millisecond
	// drainTimes is how long a command's output may wait for somebody who takes it.
	drainTimes = 350 * time.Microsecond
	// offerTime is how long an offer is waited for that is on its way. To make it takes the zygote less than to start a command.
	offerTime = time.Millisecond
	// directFrom is which command of a sandbox is the first that asks for offers. Many run a single one.
	directFrom = 2
)

// may tells whether a command can be started so.
func (d *direct) may(e *engine, c *commandSpec, base *commandBase) bool {
	return c.alone && e.walls.listening == nil && base.held && e.grouped && !c.keep && lastMoment(c.limits) >= leastMoment && tamper.Load() == nil
}

// The zygote goes with a command in any case before a limit on its time could be reached, were all CPUs the command's, or when it would have looked at it first had it started it. Where that
// is sooner than this program may be expected to ask for it, the zygote starts the command.
const (
	mostMoment  = 10 * time.Millisecond
	leastMoment = directTime + time.Millisecond
)

func lastMoment(l Limits) time.Duration {
	d := mostMoment
	if l.WallTime > 0 {
		d = min(d, l.WallTime)
	}
	if l.CPUTime > 0 {
		d = min(d, l.CPUTime/time.Duration(runtime.NumCPU()))
	}
	return d
}

func likeOf(e *engine, c *commandSpec, base *commandBase) like {
	l := like{base: base, limits: c.limits, own: c.own, spec: e.inForce()}
	for _, l := range []*Limits{&l.limits, &l.own} { // what does not make a difference to how a command begins
		l.Output, l.WallTime, l.CPUTime = 0, 0, 0
	}
	return l
}

// remember notes a command that an offer may be like.
func (d *direct) remember(id uint64, l like) {
	d.likesMu.Lock()
	defer d.likesMu.Unlock()
	l.id = id
	d.likes[d.next] = l
	d.next = (d.next + 1) % len(d.likes)
}

// isLatest tells whether the last command that an offer may be like is such a one.
func (d *direct) isLatest(l like) bool {
	d.likesMu.Lock()
	defer d.likesMu.Unlock()
	last := d.likes[(d.next+len(d.likes)-1)%len(d.likes)]
	l.id = last.id
	return l == last
}

func (d *direct) alike(id uint64, l like) bool {
	d.likesMu.Lock()
	defer d.likesMu.Unlock()
	l.id = id
	return slices.Contains(d.likes[:], l)
}

// ask has the zygote make an offer after a command that it starts. It returns what is to be sent along behind all else, which stays the caller's.
func (d *direct) ask(req *wire.StartRequest, others int) (fds []int) {
	req.Offer = true
	if others+2 > wire.MaxFiles || !d.mu.TryLock() {
		return nil
	}
	defer d.mu.Unlock()
	if d.asked++; d.line != nil || d.off || d.asked < directFrom {
		return nil
	}
	timer, err := unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_CLOEXEC|unix.TFD_NONBLOCK)
	if err != nil {
		return nil
	}
	theirTimer, err := unix.FcntlInt(uintptr(timer), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		_ = unix.Close(timer)
		return nil
	}
	ours, theirs, err := wire.Pair()
	if err != nil {
		closeAll([]int{timer, theirTimer})
		return nil
	}
	d.line, d.timer, req.Line = wire.NewLine(ours), timer, true
	d.oob, d.seen = make([]byte, unix.CmsgSpace(4*wire.MaxFiles)), make([]byte, wire.OfferingRoom)
	return []int{theirs, theirTimer}
}

func (d *direct) hangUp() {
	d.unplug()
	d.null.close()
	if d.line != nil {
		d.line.Close()
		_ = unix.Close(d.timer)
		d.line = nil
	}
}

// expect is called when a command has ended after which the zygote makes an offer if it can.
func (d *direct) expect() {
	if d.mu.TryLock() {
		d.due = true
		d.mu.Unlock()
	}
}

func (d *direct) rest() {
	if d.line != nil {
		d.line.Rest()
	}
}

// unplug leaves a port that the zygote has no more use for.
func (d *direct) unplug() {
	d.port.Close()
	d.port = nil
}

// close gives everything back. The sandbox is gone.
func (d *direct) close() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.off = true
	d.hangUp()
}

// receive returns the message about a command that is there, nil if there is none, as if id is 0. What is about others is about nobody any more. Another port may be there afterwards.
func (d *direct) receive(id uint64) (*wire.Message, error) {
	for {
		m, err := d.line.Receive()
		switch {
		case err != nil || m == nil:
			return nil, err
		case m.Kind == wire.Port && len(m.Files) == 1:
			d.unplug()
			d.port, m.Files = wire.NewLine(m.Files[0]), nil
		case id != 0 && m.ID == id:
			return m, nil
		}
		m.CloseFiles()
	}
}

func (s *sheet) set(blob []byte) bool {
	if s.blob == string(blob) {
		return true
	}
	var next cgroup.Sheet
	if wire.Decode(blob, &next) != nil {
		return false
	}
	s.blob, s.sheet, s.rooms = string(blob), next, nil
	for _, f := range next.Files {
		s.rooms = append(s.rooms, f.Room)
	}
	return true
}

// fill makes what has to be sent to start a command at a place.
func (p *packet) fill(c *commandSpec, base *commandBase, at launch.Place) bool {
	if p.base == base && p.place == at && p.path == c.path && p.dir == c.dir && slices.Equal(p.args, c.args) && slices.Equal(p.env, c.env) {
		return true
	}
	tamper := p.tamper
	*p = packet{base: base, place: at, path: c.path, dir: c.dir, args: slices.Clone(c.args), env: slices.Clone(c.env), plan: base.command(c)}
	ok := len(p.plan.attempts) > 0 && (tamper == nil || tamper("fill", p.plan))
	if ok {
		p.bytes, ok = at.Packet(p.plan.Plan)
	}
	if !ok {
		*p = packet{}
	}
	return ok
}

func (d *direct) fill(c *commandSpec, base *commandBase, at launch.Place) bool {
	if d.tamper != nil {
		d.packet = packet{tamper: d.tamper} // not what was sent last
	}
	return d.packet.fill(c, base, at)
}

func (d *direct) step(name string) bool { return d.tamper == nil || d.tamper(name, nil) }

// send starts the command.
func (d *direct) send(req *wire.StartRequest, fds []int) bool {
	n := len(req.Files)
	oob := d.oob[:unix.CmsgSpace(4*n)]
	h := (*unix.Cmsghdr)(unsafe.Pointer(&oob[0]))
	h.Level, h.Type = unix.SOL_SOCKET, unix.SCM_RIGHTS
	h.SetLen(unix.CmsgLen(4 * n))
	for i, at := range req.Files {
		fd := d.null.fd
		if at != wire.Null {
			fd = fds[at]
		}
		*(*int32)(unsafe.Pointer(&oob[unix.CmsgLen(0)+4*i])) = int32(fd)
	}
	c := &d.call
	c.iov = unix.Iovec{Base: &d.packet.bytes[0]}
	c.iov.SetLen(len(d.packet.bytes))
	c.head = unix.Msghdr{Iov: &c.iov, Iovlen: 1, Control: &oob[0]}
	c.head.SetControllen(len(oob))
	for {
		_, _, errno := unix.RawSyscall(unix.SYS_SENDMSG, uintptr(d.port.FD()), uintptr(unsafe.Pointer(&c.head)), unix.MSG_NOSIGNAL|unix.MSG_DONTWAIT)
		if errno != unix.EINTR {
			return errno == 0
		}
	}
}

// limit makes sure that limits on a command's time hold from its first moment on, whatever becomes of this program: before the command has anything to do it is laid down what they are,
// and when the zygote is to go with the command. Then that it is not told of the command for so long costs it nothing but a look into the line.
func (d *direct) limit(o *offer, l Limits, started time.Duration) bool {
	if l.WallTime > 0 || l.CPUTime > 0 {
		n := wire.LimitNotice{CPU: l.CPUTime, Wall: l.WallTime, Started: int64(started)}
		if d.line.Send(wire.Limit, o.id, &n, nil) != nil {
			return false
		}
	}
	c := &d.call
	c.left = unix.ItimerSpec{Value: unix.NsecToTimespec(int64(lastMoment(l)))}
	_, _, errno := unix.RawSyscall6(unix.SYS_TIMERFD_SETTIME, uintptr(d.timer), 0, uintptr(unsafe.Pointer(&c.left)), 0, 0, 0)
	return errno == 0
}

// monotonic is the clock that a report is by.
func (d *direct) monotonic() time.Duration {
	c := &d.call
	_, _, _ = unix.RawSyscall(unix.SYS_CLOCK_GETTIME, unix.CLOCK_MONOTONIC, uintptr(unsafe.Pointer(&c.now)), 0)
	return time.Duration(c.now.Nano())
}

// startDirect starts a command without the zygote if it can; otherwise it returns nil, and nothing has been executed.
func (e *engine) startDirect(ctx context.Context, c *commandSpec, base *commandBase, req *wire.StartRequest, fds []int) (*process, error) {
	d := &e.direct
	if !d.mu.TryLock() {
		return nil, nil // another is on its way
	}
	defer d.mu.Unlock()
	if d.line == nil {
		return nil, nil
	}
	defer d.rest()
	empty := slices.Contains(req.Files, wire.Null)
	if empty && !(d.step("null") && d.null.ready()) {
		return nil, nil
	}
	l := likeOf(e, c, base)
	o, fit := d.take(l)
	if o == nil {
		return nil, nil
	}
	started := d.monotonic()
	sent := fit && d.fill(c, base, o.place) && d.step("limit") && d.limit(o, c.limits, started) && d.step("send") && d.send(req, fds)
	if sent && empty {
		d.null.close()
		d.null.ready()
	}
	if sent && d.step("wait") {
		d.begun++
		d.remember(o.id, l)
		over, cut := e.awaitEnd(ctx, c, o)
		if over {
			m, err := d.receive(o.id)
			if m != nil || err != nil {
				return e.directEnd(ctx, c, o, m, err, started, cut, cut)
			}
		}
	}
	return e.followDirect(ctx, c, o, req, started, sent)
}

// awaitEnd is direct's. Whoever takes a command's output may have to wait for that command, see readRaw, so it ends with its context all the same: then cut is set.
func (e *engine) awaitEnd(ctx context.Context, c *commandSpec, o *offer) (over, cut bool) {
	if len(c.sinks) == 0 || ctx.Done() == nil {
		return e.direct.awaitEnd(c), false
	}
	stop := context.AfterFunc(ctx, func() { e.kill(o.id) })
	over = e.direct.awaitEnd(c)
	return over, !stop()
}

// spinners is how many threads wait without the runtime's knowledge: a single one at a time, and none where there is but one that runs Go code.
var (
	spinners atomic.Int32
	spins    = sync.OnceValue(func() bool { return runtime.GOMAXPROCS(0) > 1 })
)

// await waits for something to come.
func (d *direct) await(left time.Duration) bool {
	return d.awaitIn(d.line, left, left, nil)
}

// awaitOffer waits for an offer to come, or where to look for that.
func (d *direct) awaitOffer(left time.Duration) bool {
	on := d.port
	if on == nil {
		on = d.line
	}
	return d.awaitIn(on, left, left, nil)
}

// awaitEnd waits for the end of a command for as long as it is nobody's else, and takes what it writes: not when it comes, which for every line would be a change of threads, but before
// the pipe is full, as a rule. Once one has been full it is taken as it comes.
func (d *direct) awaitEnd(c *commandSpec) bool {
	if len(c.sinks) == 0 {
		return d.await(directTime)
	}
	var flows []int
	return d.awaitIn(d.line, directTime, drainTimes, func() (others []int, goOn bool) {
		for _, s := range c.sinks {
			for rounds := 0; rounds < 4 && !s.drain(); rounds++ {
				if !c.pass(s) { // that is for others
					return nil, false
				}
				if flows == nil {
					flows = make([]int, 0, len(c.sinks))
				}
			}
		}
		if flows != nil {
			flows = flows[:0]
			for _, s := range c.sinks {
				if !s.ended {
					flows = append(flows, s.fd)
				}
			}
		}
		return flows, true
	})
}

// awaitIn is await in steps. After each of them meanwhile says whether to go on, and what else ends the next one.
func (d *direct) awaitIn(on *wire.Line, most, step time.Duration, meanwhile func() (others []int, goOn bool)) bool {
	spin := false
	if spins() {
		spin = spinners.Add(1) == 1
		defer spinners.Add(-1)
	}
	var others []int
	began := time.Now()
	for past := time.Duration(0); past < most; past = time.Since(began) {
		now, wait := min(most-past, step), on.Wait
		if spin && past < spinTime {
			now, wait = min(now, spinTime-past), on.Spin
		}
		if wait(now, others...) {
			return true
		}
		if meanwhile == nil {
			continue
		}
		var goOn bool
		if others, goOn = meanwhile(); !goOn {
			return false
		}
	}
	return false
}

// followDirect leaves the command to the zygote.
func (e *engine) followDirect(ctx context.Context, c *commandSpec, o *offer, req *wire.StartRequest, started time.Duration, sent bool) (*process, error) {
	d := &e.direct
	req.Offer = true
	exit := make(chan *wire.Exit, 1)
	id, m, cut, err := e.ask(ctx, request{
		kind: wire.Follow, id: o.id, exit: exit,
		body: wire.FollowRequest{Box: e.box, Command: o.id, Sent: sent, Started: int64(started), Start: *req},
	}, true)
	if err != nil {
		return nil, err
	}
	if m != nil && m.Kind == wire.Exited {
		return e.directExited(id, m, started, cut)
	}
	a, err := e.directAnswer(ctx, c, m, cut)
	if err != nil {
		e.z.forget(id)
		return nil, err
	}
	if a.NotRun || a.OnLine {
		e.z.forget(id)
	}
	switch {
	case a.NotRun && cut:
		return nil, cutError(ctx)
	case a.NotRun:
		return nil, nil
	case !a.OnLine:
		return &process{e: e, id: id, pid: a.PID, exit: exit, started: started, cut: cut, offer: true}, nil
	}
	m = nil
	for end := time.Now().Add(launchPatience); m == nil && err == nil; {
		d.line.Wait(time.Second)
		if m, err = d.receive(o.id); m == nil && err == nil && time.Now().After(end) {
			err = unix.ETIMEDOUT
		}
	}
	// The zygote may have forgotten the command by then, and with it that it was killed since ctx is done.
	return e.directEnd(ctx, c, o, m, err, started, a.Killed || cut, cut)
}

// directAnswer is what the zygote has to say of a command that runs, or has never run. Of others it is the error.
func (e *engine) directAnswer(ctx context.Context, c *commandSpec, m *wire.Message, cut bool) (*wire.Answer, error) {
	p := e.direct.packet.plan
	if p == nil {
		p = &commandPlan{}
	}
	a, _, err := e.z.answer(m, p.Plan)
	switch {
	case err == nil:
		return a, nil
	case cut && errors.Is(err, unix.ETIMEDOUT):
		return nil, cutError(ctx)
	}
	return nil, execError(p, c, a, err)
}

// directEnd is a command whose end has been told on the line.
func (e *engine) directEnd(ctx context.Context, c *commandSpec, o *offer, m *wire.Message, err error, started time.Duration, killed, cut bool) (*process, error) {
	switch {
	case err == io.EOF: // the zygote is gone
		return nil, e.z.lost(err)
	case err != nil:
		return nil, &Error{Stage: "zygote", Op: "receive", Err: err}
	case m.Kind == wire.Exited:
		return e.directExited(o.id, m, started, false)
	case m.Kind != wire.Report:
		_, err := e.directAnswer(ctx, c, m, cut)
		return nil, err // without one it has not run
	}
	d := &e.direct
	r, ok := launch.ParseReport(m.Raw, d.sheet.rooms)
	if !ok {
		return nil, &Error{Stage: "zygote", Op: "receive", Err: wire.ErrProtocol}
	}
	if r.Errno != 0 || r.Progress <= launch.Receives(d.packet.plan.Base) {
		return nil, nil // the zygote knows better why
	}
	x := &wire.Exit{
		PID: o.pid, Status: uint32(r.Status), Wall: r.Now - started, Killed: killed,
		User: time.Duration(r.Usage.Utime.Nano()), System: time.Duration(r.Usage.Stime.Nano()), MaxRSS: r.Usage.Maxrss << 10,
	}
	if s, err := d.sheet.sheet.Totals(r.Texts); err == nil {
		x.Stats, x.HasStats = s, true
		x.CPUHit = c.limits.CPUTime > 0 && s.CPU.Total >= c.limits.CPUTime
	}
	if ws := syscall.WaitStatus(x.Status); ws.Signaled() && ws.Signal() == syscall.SIGKILL && !killed {
		// The end of the sandbox reaches the program through PID 1.
		a, _, err := e.z.call(request{kind: wire.Follow, body: wire.FollowRequest{Box: e.box, Command: o.id, Sent: true}})
		if err != nil {
			return nil, err
		}
		x.Killed = a.Killed
	}
	return e.finished(o.id, x, started, false), nil
}

func (e *engine) directExited(id uint64, m *wire.Message, started time.Duration, cut bool) (*process, error) {
	var x wire.Exit
	if err := m.Decode(&x); err != nil {
		return nil, &Error{Stage: "zygote", Op: "receive", Err: err}
	}
	return e.finished(id, &x, started, cut), nil
}

// finished is a command whose end is known.
func (e *engine) finished(id uint64, x *wire.Exit, started time.Duration, cut bool) *process {
	exit := make(chan *wire.Exit, 1)
	exit <- x
	return &process{e: e, id: id, pid: x.PID, exit: exit, started: started, cut: cut, offer: true, over: true}
}
