//go:build linux

package launch

import (
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
// It has no descriptor but that socket, so if this process dies it ends, and nothing hangs on it. It is in the sandbox's PID namespace and in its cgroup, so whoever makes one sees
// to it that nothing of the sandbox runs beside it, which could send it signals or change its limits before it is anybody's program. Nobody can look into it: it is as
// little dumpable as this process, whose memory it shares.
type Ready struct {
	l    *launch
	sock int // our end
	used atomic.Bool
}

// What the rest of a plan may have of steps and registers; the data may fill the arena.
const (
	restSteps = 64
	restRegs  = 32
)

// Prepare makes a process ready for plans with the joiner's base, which receives its files from the socket that is put into a register. files are the first of the base's
// inputs; of r only Cgroup and Flags count.
func (j *Joiner) Prepare(r *Request, socket plan.Reg, files []int) (_ *Ready, err error) {
	base := j.base
	if int(socket) >= len(base.Regs) || socket < 0 || len(files) > len(base.Inputs) {
		return nil, errNoFork
	}
	sh := shape{regs: len(base.Regs) + restRegs, stepsAt: regsAt + align(8*(len(base.Regs)+restRegs)), size: smallArena}
	sh.dataAt = sh.stepsAt + align((len(base.Child)+restSteps+1)*int(unsafe.Sizeof(step{})))
	if sh.dataAt+len(base.Data) > smallArena {
		return nil, unix.E2BIG
	}
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	defer unix.Close(pair[1])
	a, err := grab(smallArena)
	if err != nil {
		_ = unix.Close(pair[0])
		return nil, err
	}
	a.write(sh, base)
	for i, fd := range files {
		*a.reg(base.Inputs[i]) = int64(fd)
	}
	*a.reg(socket) = int64(pair[1])
	l := &launch{Request: &Request{Plan: base, Mode: Join, Flags: r.Flags, Cgroup: r.Cgroup, Keep: plan.None}, arena: a, kept: -1}
	l.setClone()
	for end := time.Now().Add(idlePatience); !j.gone() && atomic.LoadUint32(&j.arena.ctl.ready) == 0 && time.Now().Before(end); {
		futexWait(&j.arena.ctl.ready, 0, idlePatience)
	}
	if !j.reserve() {
		_ = unix.Close(pair[0])
		a.done()
		return nil, errJoinerGone
	}
	l.joiner = j
	rd := &Ready{l: l, sock: pair[0]}
	j.launch(l)
	// It goes on by itself, with a table of descriptors of its own, once it exists.
	for end := time.Now().Add(joinerPatience); atomic.LoadUint32(&l.ctl.pid) == 0; futexWait(&l.ctl.done, 1, 20*time.Microsecond) {
		if atomic.LoadUint32(&l.ctl.done) == 0 || j.gone() || time.Now().After(end) {
			errno := syscall.Errno(atomic.LoadInt64(&l.ctl.errno))
			rd.Discard()
			if errno == 0 {
				return nil, errJoinerGone
			}
			return nil, errno
		}
	}
	return rd, nil
}

// idlePatience is how long a joiner may take to notice that the process which it has made last has called execve.
const idlePatience = 2 * time.Millisecond

func (a *arena) done() {
	atomic.StoreUint32(&a.ctl.done, 0)
	a.release()
}

func (rd *Ready) dead() bool { return atomic.LoadUint32(&rd.l.ctl.done) == 0 }

// Serves tells whether plans with that base can use it.
func (rd *Ready) Serves(base *plan.Plan) bool {
	return rd != nil && !rd.used.Load() && rd.l.Plan == base && !rd.dead() && rd.l.joiner.Alive()
}

// fits tells whether the rest of the plan has room.
func (rd *Ready) fits(r *Request) bool {
	p := r.Plan
	return p.Base == rd.l.Plan && r.Mode == Join && r.Listen == nil && r.Started == nil && len(p.Parent)+len(p.Inputs)+len(p.Patches) == 0 &&
		len(p.Child) <= restSteps && len(p.Regs) <= restRegs && rd.l.dataAt+len(p.Base.Data)+len(p.Data) <= smallArena &&
		len(r.Files) == len(p.Base.Inputs)
}

// launch has the process go on with the rest of the plan. If it cannot, the process is gone, and the launch is to be made in another way. The program's files are the last of the request's.
func (rd *Ready) launch(r *Request, program int) (_ *Process, err error, ok bool) {
	if !rd.fits(r) {
		rd.Discard()
		return nil, nil, false
	}
	if !rd.used.CompareAndSwap(false, true) {
		return nil, nil, false
	}
	l := rd.l
	// From here on nobody else waits for it, see ReapStrangers.
	l.begin()
	if rd.dead() {
		l.finish(nil)
		rd.bury()
		return nil, nil, false
	}
	base := l.Plan
	own := *r
	own.Joiner, own.Ready = nil, nil
	l.Request = &own
	steps := unsafe.Slice((*step)(unsafe.Pointer(&l.mem[l.stepsAt])), len(base.Child)+restSteps+1)
	l.put(r.Plan, steps[len(base.Child):], l.mem[l.dataAt+len(base.Data):])
	atomic.StoreInt64(&l.ctl.nsteps, int64(r.Plan.Steps()))
	p, err := l.deliver(func() (*Process, error) {
		// If it cannot be sent, what waits for it sees the end.
		_ = unix.Sendmsg(rd.sock, []byte{0}, unix.UnixRights(r.Files[len(r.Files)-program:]...), nil, unix.MSG_NOSIGNAL|unix.MSG_DONTWAIT)
		_ = unix.Close(rd.sock)
		return l.conclude()
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
	if fd := l.descriptor(); fd >= 0 {
		_ = unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0)
	}
	rd.bury()
}

// descriptor is that of the process; -1: there never was one.
func (l *launch) descriptor() int {
	if atomic.LoadUint32(&l.ctl.pid) == 0 {
		return -1
	}
	return int(int32(atomic.LoadUint32(&l.ctl.pidfd)))
}

// bury waits for the process's end, which somebody else may have done by number.
func (rd *Ready) bury() {
	l := rd.l
	if fd := l.descriptor(); fd >= 0 {
		for unix.Waitid(unix.P_PIDFD, fd, nil, unix.WEXITED|unix.WALL, nil) == unix.EINTR {
		}
		_ = unix.Close(fd)
	}
	_ = unix.Close(rd.sock)
	l.joiner.leave()
	l.arena.done()
}
