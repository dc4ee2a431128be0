//go:build linux

package launch

import (
	"slices"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"

	"github.com/belljar-go/belljar/sandbox/internal/plan"
	"golang.org/x/sys/unix"
)

// Ready is the second process of a join, made by a joiner ahead of time: it has walked the base of its plans up to a step that receives the program's files from a socket, and waits there.
// The rest of the plan is written behind the base meanwhile.
//
// It has no descriptor but that socket, so if this process dies it ends, unless somebody else has the other end, and nothing hangs on it. It is in the sandbox's PID namespace and in its cgroup, so whoever makes one sees
// to it that nothing of the sandbox runs beside it, which could send it signals or change its limits before it is anybody's program. Nobody can look into it: it is as
// little dumpable as this process, whose memory it shares.
type Ready struct {
	l       *launch
	port    *Port
	steps   int64 // of the base: a packet says that there are more
	offered bool
	used    atomic.Bool
}

// Prepare makes a process ready for plans with the joiner's base, which receives its files from the socket that is put into a register: the port's, or one of its own if that is nil or cannot be
// had. files are the first of the base's inputs; of r only Cgroup and Flags count.
func (j *Joiner) Prepare(r *Request, socket plan.Reg, port *Port, files []int) (_ *Ready, err error) {
	base := j.base
	at := Receives(base)
	if int(socket) >= len(base.Regs) || socket < 0 || len(files) > len(base.Inputs) || at < 0 {
		return nil, errNoFork
	}
	if !given(base, at, files) {
		return nil, unix.EBADF
	}
	// The steps come last: behind them is the room for the rest of the plan.
	sh := shape{regs: len(base.Regs) + restRegs, dataAt: regsAt + align(8*(len(base.Regs)+restRegs)), size: smallArena}
	sh.stepsAt = sh.dataAt + align(len(base.Data))
	if sh.stepsAt+(len(base.Child)+restSteps)*int(unsafe.Sizeof(step{})) > smallArena {
		return nil, unix.E2BIG
	}
	if port == nil || !port.take() {
		if port, err = newPortForOne(); err != nil {
			return nil, err
		}
		defer port.leaveFar()
	}
	a, err := grab(smallArena)
	if err != nil {
		port.leave(true)
		return nil, err
	}
	a.write(sh, base)
	a.receive(at, base)
	for i, fd := range files {
		*a.reg(base.Inputs[i]) = int64(fd)
	}
	*a.reg(socket) = int64(port.far)
	l := &launch{Request: &Request{Plan: base, Mode: Join, Flags: r.Flags, Cgroup: r.Cgroup, Keep: plan.None}, arena: a, kept: -1}
	l.shareTable()
	l.setTable()
	defer l.leaveSlots()
	l.setClone()
	j.awaitIdle(idlePatience)
	if !j.reserve() {
		port.leave(true)
		l.leaveSlots() // before somebody else has the arena
		a.done()
		return nil, errFirstGone
	}
	l.joiner = j
	rd := &Ready{l: l, port: port, steps: int64(len(base.Child))}
	j.launch(l)
	// It goes on by itself, with a table of descriptors of its own, once it exists.
	for end := time.Now().Add(clonerPatience); atomic.LoadUint32(&l.ctl.pid) == 0 || l.looksThere(); futexWait(&l.ctl.done, 1, 20*time.Microsecond) {
		if atomic.LoadUint32(&l.ctl.done) == 0 || j.gone() || time.Now().After(end) {
			errno := syscall.Errno(atomic.LoadInt64(&l.ctl.errno))
			l.leaveSlots()
			rd.Discard()
			if errno == 0 {
				return nil, errFirstGone
			}
			return nil, errno
		}
	}
	return rd, nil
}

// given tells whether all inputs are there that the steps up to at read. One that is missing is no error to all calls: landlock_restrict_self(2) takes -1 for no ruleset where a flag is
// set (Linux 6.15), and there would be a wall less.
func given(base *plan.Plan, at int, files []int) bool {
	missing := base.Inputs[len(files):]
	for i := range base.Child[:at] {
		for _, arg := range base.Child[i].Args {
			if arg.Kind == plan.FromReg && slices.Contains(missing, plan.Reg(arg.Value)) {
				return false
			}
		}
	}
	return !slices.ContainsFunc(files, func(fd int) bool { return fd < 0 })
}

// idlePatience is how long a joiner may take to notice that the process which it has made last has called execve.
const idlePatience = 2 * time.Millisecond

func (a *arena) done() {
	atomic.StoreUint32(&a.ctl.done, 0)
	a.release()
}

// fed tells whether the process has received its packet, of which there is but one. It is by then no longer in the socket.
func (rd *Ready) fed() bool { return atomic.LoadInt64(&rd.l.ctl.nsteps) > rd.steps }

func (rd *Ready) dead() bool { return atomic.LoadUint32(&rd.l.ctl.done) == 0 }

// Serves tells whether plans with that base can use it.
func (rd *Ready) Serves(base *plan.Plan) bool {
	return rd != nil && !rd.used.Load() && rd.l.Plan == base && !rd.dead() && rd.l.joiner.Alive()
}

// fits tells whether it can be used for that.
func (rd *Ready) fits(r *Request) bool {
	return r.Plan.Base == rd.l.Plan && r.Mode == Join && r.Listen == nil && r.Started == nil && len(r.Files) == len(r.Plan.Base.Inputs)
}

// launch has the process go on with the rest of the plan. If it cannot, the process is gone, and the launch is to be made in another way. The program's files are the last of the request's.
func (rd *Ready) launch(r *Request, program int) (_ *Process, err error, ok bool) {
	if !rd.fits(r) {
		rd.Discard()
		return nil, nil, false
	}
	packet, ok := rd.l.place(rd.l.Plan).Packet(r.Plan)
	if !ok {
		rd.Discard()
		return nil, nil, false
	}
	if !rd.used.CompareAndSwap(false, true) {
		return nil, nil, false
	}
	l := rd.l
	// From here on nobody else waits for it, see ReapStrangers.
	l.begin()
	if rd.dead() || unix.Sendmsg(rd.port.near, packet, unix.UnixRights(r.Files[len(r.Files)-program:]...), nil, unix.MSG_NOSIGNAL|unix.MSG_DONTWAIT) != nil {
		l.signal()
		l.finish(nil)
		rd.bury(true)
		return nil, nil, false
	}
	own := *r
	own.Joiner, own.Ready = nil, nil
	l.Request = &own
	p, err := l.deliver(func() (*Process, error) {
		p, err := l.conclude()
		rd.port.leave(rd.fed())
		return p, err
	})
	return p, err, true
}

// Discard ends the process, unless it has been used, and returns when it is gone.
func (rd *Ready) Discard() {
	if rd == nil || !rd.used.CompareAndSwap(false, true) {
		return
	}
	l := rd.l
	if pid := atomic.LoadUint32(&l.ctl.pid); pid == 0 && atomic.LoadUint32(&l.ctl.done) != 0 {
		// The joiner may be about to make it.
		l.joiner.kill()
		l.joiner.await()
	}
	l.signal()
	rd.bury(true)
}

// descriptor is that of the process; -1: there never was one.
func (l *launch) descriptor() int {
	if atomic.LoadUint32(&l.ctl.pid) == 0 {
		return -1
	}
	return int(int32(atomic.LoadUint32(&l.ctl.pidfd)))
}

// bury waits for the process's end, which somebody else may have done by number. clean is Port.leave's.
func (rd *Ready) bury(clean bool) {
	l := rd.l
	if fd := l.descriptor(); fd >= 0 {
		for unix.Waitid(unix.P_PIDFD, fd, nil, unix.WEXITED|unix.WALL, nil) == unix.EINTR {
		}
		_ = unix.Close(fd)
	}
	rd.port.leave(clean)
	l.joiner.leave()
	l.arena.done()
}
