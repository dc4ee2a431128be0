//go:build linux

package launch

import (
	"errors"
	"os"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"

	"github.com/belljar-go/belljar/sandbox/internal/plan"
	"golang.org/x/sys/unix"
)

// Joiner is the first process of a join that stays: it has walked the steps before the fork of plans with the same base, sleeps, and clones the second process of one launch
// after the other. What these steps cost, and the process itself, is paid once.
//
// It shares memory and descriptors with this process and is as inaccessible: not dumpable, all signals blocked, in no job's cgroup, and in the PID namespace of this process, so that
// nobody in the sandbox can name it. It runs no code but the walk. It holds the sandbox's namespaces while it lives, so whoever takes a sandbox down ends it first; with this process it is
// ended by the kernel (PR_SET_PDEATHSIG).
type Joiner struct {
	base  *plan.Plan
	arena *arena
	pidfd int

	mu     sync.Mutex
	busy   bool // with a launch
	closed bool
}

// JoinerName is what ps(1) calls a joiner.
const JoinerName = "belljar-joiner"

var errNoFork = errors.New("the plan has no process to join with")

// errJoinerGone: the launch has not begun.
var errJoinerGone = errors.New("the joiner is gone")

// NewJoiner walks the steps before the fork of base; files are the first of its inputs.
func NewJoiner(base *plan.Plan, files ...int) (*Joiner, error) {
	fork := forkOf(base)
	if fork < 0 || len(files) > len(base.Inputs) {
		return nil, errNoFork
	}
	p := &plan.Plan{Data: append(base.Data[:len(base.Data):len(base.Data)], JoinerName+"\x00"...), Relocs: base.Relocs, Regs: base.Regs, Exec: -1}
	p.Child = append(p.Child, base.Child[:fork]...)
	p.Child = append(p.Child, plan.Step{Nr: unix.SYS_PRCTL, Args: []plan.Arg{plan.Int(unix.PR_SET_NAME), {Kind: plan.Data, Value: int64(len(base.Data))}}, Out: plan.None})
	// Last, since to become somebody else in another user namespace undoes it. Then it is too late only if this process is gone already.
	p.Child = append(p.Child,
		plan.Step{Nr: unix.SYS_PRCTL, Args: []plan.Arg{plan.Int(unix.PR_SET_PDEATHSIG), plan.Int(int(unix.SIGKILL)), plan.Zero, plan.Zero, plan.Zero}, Out: plan.None},
		plan.Step{Nr: unix.SYS_GETPPID, Out: plan.None, Want: int64(os.Getpid()), HasWant: true},
	)
	a, err := newArenaIn(p, func(size int) (*arena, error) {
		if size > littleArena {
			return mapArena(size) // one of the usual size has far more than a process needs that stays
		}
		return grabLittle(size)
	})
	if err != nil {
		return nil, err
	}
	for i, fd := range files {
		*a.reg(base.Inputs[i]) = int64(fd)
	}
	c := a.ctl
	c.stays = 1
	*(*int32)(unsafe.Pointer(&c.pidfd)) = -1
	c.clone = cloneArgs{
		flags: unix.CLONE_VM | unix.CLONE_FILES | unix.CLONE_CLEAR_SIGHAND |
			unix.CLONE_PIDFD | unix.CLONE_PARENT_SETTID | unix.CLONE_CHILD_CLEARTID,
		pidfd:      uint64(uintptr(unsafe.Pointer(&c.pidfd))),
		parentTID:  uint64(uintptr(unsafe.Pointer(&c.pid))),
		childTID:   uint64(uintptr(unsafe.Pointer(&c.done))),
		exitSignal: uint64(unix.SIGCHLD),
	}
	pid := onMother(func() int { return cloneWalk(c) })
	if pid < 0 {
		a.done()
		return nil, errnoFrom(pid)
	}
	j := &Joiner{base: base, arena: a, pidfd: int(int32(atomic.LoadUint32(&c.pidfd)))}
	for end := time.Now().Add(joinerPatience); atomic.LoadUint32(&c.ready) == 0; {
		if j.gone() || time.Now().After(end) {
			errno := atomic.LoadInt64(&c.errno)
			j.Close()
			if errno == 0 {
				errno = int64(unix.ETIMEDOUT)
			}
			return nil, errnoFrom(int(-errno))
		}
		futexWait(&c.ready, 0, time.Millisecond)
	}
	return j, nil
}

// joinerPatience is how long the steps before a fork may take. They wait for nothing.
const joinerPatience = 5 * time.Second

// forkOf is the index of the step at which the second process is cloned; -1: there is none.
func forkOf(p *plan.Plan) int {
	for i := range p.Child {
		if p.Child[i].Fork {
			return i
		}
	}
	return -1
}

// Base is the plan it has been made for.
func (j *Joiner) Base() *plan.Plan { return j.base }

func (j *Joiner) gone() bool { return atomic.LoadUint32(&j.arena.ctl.done) == 0 }

// Alive tells whether it can serve, now or when it is done with what it does.
func (j *Joiner) Alive() bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return !j.closed && !j.gone()
}

// take reserves the joiner for one launch. It is not free while it sleeps until an exec.
func (j *Joiner) take(l *launch) bool {
	return j != nil && l.Plan.Base == j.base && l.Mode == Join && l.Listen == nil && j.reserve()
}

func (j *Joiner) reserve() bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.busy || j.closed || j.gone() || atomic.LoadUint32(&j.arena.ctl.ready) == 0 {
		return false
	}
	j.busy = true
	return true
}

// leave ends what take began.
func (j *Joiner) leave() {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.busy = false
	if j.closed {
		j.end()
	}
}

// launch has it clone the second process.
func (j *Joiner) launch(l *launch) {
	fork := forkOf(j.base)
	l.ctl.progress, l.ctl.first = int64(fork), int64(fork+1)
	c := j.arena.ctl
	atomic.StoreUint32(&c.ready, 0)
	atomic.StoreUintptr(&c.job, l.addr(0))
	atomic.StoreUint32(&c.bell, 1)
	futexWake(&c.bell)
}

// kill ends it without waiting.
func (j *Joiner) kill() {
	if j.pidfd >= 0 {
		_ = unix.PidfdSendSignal(j.pidfd, unix.SIGKILL, nil, 0)
	}
}

// Kill has it end soon, for who is going to call Close.
func (j *Joiner) Kill() {
	j.mu.Lock()
	defer j.mu.Unlock()
	if !j.busy && !j.closed {
		j.kill()
	}
}

// await waits until it has left this memory.
func (j *Joiner) await() {
	for !j.gone() {
		futexWait(&j.arena.ctl.done, 1, 10*time.Millisecond)
	}
}

// Close ends the joiner and returns when it is gone, or at once if a launch is under way with it, at whose end it goes.
func (j *Joiner) Close() {
	j.mu.Lock()
	defer j.mu.Unlock()
	if !j.closed {
		if j.closed = true; !j.busy {
			j.end()
		}
	}
}

func (j *Joiner) end() {
	j.kill()
	j.await()
	// Its namespaces go a moment after its memory. Somebody else may have waited for it by now, see ReapStrangers, and another may have its number.
	for unix.Waitid(unix.P_PIDFD, j.pidfd, nil, unix.WEXITED|unix.WALL, nil) == unix.EINTR {
	}
	closeFD(j.pidfd)
	j.arena.release()
}
