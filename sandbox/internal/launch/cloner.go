//go:build linux

package launch

import (
	"sync/atomic"
	"time"
	"unsafe"

	"github.com/belljar-go/belljar/sandbox/internal/plan"
	"golang.org/x/sys/unix"
)

// cloner is a process that has walked its plan, stays, and clones others when it is told to: a seed or a joiner.
//
// It has all signals blocked, is not dumpable, and is in no job's cgroup. Of this process's memory it has the walk's code and the arenas. With this process it is ended by the kernel
// (PR_SET_PDEATHSIG).
type cloner struct {
	arena *arena
	pidfd int
	over  atomic.Bool // it has been waited for
}

// stay returns a plan with the steps that a cloner's plan ends with. The parent is this process.
func stay(p *plan.Plan, name string, parent int) *plan.Plan {
	own := *p
	own.Data = append(p.Data[:len(p.Data):len(p.Data)], name+"\x00"...)
	call := func(s plan.Step) { own.Child = append(own.Child[:len(own.Child):len(own.Child)], s) }
	call(plan.Step{Nr: unix.SYS_PRCTL, Args: []plan.Arg{plan.Int(unix.PR_SET_NAME), {Kind: plan.Data, Value: int64(len(p.Data))}}, Out: plan.None})
	// Last, since to become somebody else in another user namespace undoes it. Then it is too late only if this process is gone already.
	call(plan.Step{Nr: unix.SYS_PRCTL, Args: []plan.Arg{plan.Int(unix.PR_SET_PDEATHSIG), plan.Int(int(unix.SIGKILL)), plan.Zero, plan.Zero, plan.Zero}, Out: plan.None})
	call(plan.Step{Nr: unix.SYS_GETPPID, Out: plan.None, Want: int64(parent), HasWant: true})
	return &own
}

// newClonerArena has a cloner's plan in it.
func newClonerArena(p *plan.Plan) (*arena, error) {
	a, err := newArenaIn(p, func(size int) (*arena, error) {
		if size > littleArena {
			return mapArena(size) // one of the usual size has far more than a process needs that stays
		}
		return grabLittle(size)
	})
	if err != nil {
		return nil, err
	}
	a.ctl.stays = 1
	*(*int32)(unsafe.Pointer(&a.ctl.pidfd)) = -1
	return a, nil
}

// come makes the process, a copy of the seed that walks the plan in its arena, and returns when it serves; if it does not, it is gone.
func (p *cloner) come() error {
	c := p.arena.ctl
	it, err := theSeed.start(c)
	if err != nil {
		p.arena.done()
		return err
	}
	c.pid, c.pidfd = it.arena.ctl.pid, it.arena.ctl.pidfd
	err = p.begun()
	it.arena.done() // it has another one by now, or is gone
	return err
}

// clonerPatience is how long a cloner's steps may take. They wait for nothing.
const clonerPatience = 5 * time.Second

// begun waits until the process, which has been cloned if it ever will be, serves; if it does not, it is gone afterwards, and err says why.
func (p *cloner) begun() error {
	c := p.arena.ctl
	if p.pidfd = -1; atomic.LoadUint32(&c.pid) != 0 { // a clone3 that fails late has stored the number of a descriptor that it then took back
		p.pidfd = int(int32(atomic.LoadUint32(&c.pidfd)))
	}
	for end := time.Now().Add(clonerPatience); atomic.LoadUint32(&c.ready) == 0; {
		if p.gone() || time.Now().After(end) {
			errno := atomic.LoadInt64(&c.errno)
			p.end()
			if errno == 0 {
				errno = int64(unix.ETIMEDOUT)
			}
			return errnoFrom(int(-errno))
		}
		futexWait(&c.ready, 0, time.Millisecond)
	}
	return nil
}

// clonerArgs are for a process with memory of its own which is a child of the thread that made the one that clones it.
func clonerArgs(c *control) cloneArgs {
	return cloneArgs{
		flags: unix.CLONE_FILES | unix.CLONE_CLEAR_SIGHAND | unix.CLONE_PARENT |
			unix.CLONE_PIDFD | unix.CLONE_PARENT_SETTID,
		pidfd:     uint64(uintptr(unsafe.Pointer(&c.pidfd))),
		parentTID: uint64(uintptr(unsafe.Pointer(&c.pid))),
	}
}

// idle tells whether it waits to be told.
func (p *cloner) idle() bool { return atomic.LoadUint32(&p.arena.ctl.ready) != 0 }

// awaitIdle gives it that long to be idle.
func (p *cloner) awaitIdle(d time.Duration) bool {
	for end := time.Now().Add(d); !p.idle(); futexWait(&p.arena.ctl.ready, 0, min(d, time.Millisecond)) {
		if p.gone() || time.Now().After(end) {
			return p.idle()
		}
	}
	return true
}

// ring has it clone a process with these arguments, or become that process if they are nil, which walks on with the step first of job's. It must be idle.
func (p *cloner) ring(job *control, args *cloneArgs, first int) {
	job.progress, job.first = int64(max(first-1, 0)), int64(first)
	c := p.arena.ctl
	atomic.StoreUint32(&c.ready, 0)
	c.call = uintptr(unsafe.Pointer(args))
	atomic.StoreUintptr(&c.job, uintptr(unsafe.Pointer(job)))
	atomic.StoreUint32(&c.bell, 1)
	futexWake(&c.bell)
}

// become has it walk the plan of c from its first step on, as which it is no cloner any more. Its own arena it has left when it has taken that step; that stays the cloner's until forget.
func (p *cloner) become(c *control) { p.ring(c, nil, 0) }

// gone tells whether it has ended.
func (p *cloner) gone() bool { return p.over.Load() || ended(p.pidfd) }

// kill ends it without waiting.
func (p *cloner) kill() {
	if p.pidfd >= 0 {
		_ = unix.PidfdSendSignal(p.pidfd, unix.SIGKILL, nil, 0)
	}
}

// await waits for its end.
func (p *cloner) await() {
	for !p.over.Load() && !endsIn(p.pidfd, 100) {
	}
}

// end kills it, waits for it, and gives back what it had.
func (p *cloner) end() {
	p.kill()
	// Somebody else may have waited for it by now, see ReapStrangers, and another may have its number.
	for unix.Waitid(unix.P_PIDFD, p.pidfd, nil, unix.WEXITED|unix.WALL, nil) == unix.EINTR {
	}
	p.forget()
}

// forget gives back what it had when it has been waited for.
func (p *cloner) forget() {
	p.over.Store(true)
	closeFD(p.pidfd)
	p.arena.done()
}

// ended tells whether the process has ended that a descriptor is of.
func ended(pidfd int) bool { return endsIn(pidfd, 0) }

// endsIn is ended after that many milliseconds, or as soon as it is true.
func endsIn(pidfd, wait int) bool {
	if pidfd < 0 {
		return true
	}
	fds := [1]unix.PollFd{{Fd: int32(pidfd), Events: unix.POLLIN}}
	n, err := unix.Poll(fds[:], wait)
	return err == nil && n == 1
}
