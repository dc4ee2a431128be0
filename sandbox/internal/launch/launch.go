//go:build linux

package launch

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"

	"github.com/belljar-go/belljar/sandbox/internal/plan"
	"golang.org/x/sys/unix"
)

func cloneWalk(c *control) (pid int)

// walkAddr is where the code of a walk begins, in all processes.
func walkAddr() uintptr

// Mode tells how the new process comes about.
type Mode uint8

const (
	// Direct clones one process that walks the plan.
	Direct Mode = iota
	// Join clones a process that walks up to the plan's fork step, where it clones the second one and ends. Neither shares this process's memory: the first one comes from the seed, with
	// a Listener from a keeper, or is a copy of this process if it is to start elsewhere (Net, Mounts). That costs a copy of the page tables.
	Join
	// Copy is Join for plans that need their memory to be nobody else's: a process may make a time namespace of its own only then (EUSERS, time_namespaces(7)), and an ordinary user may
	// write the id map only of a dumpable process, which this one is not. No joiner serves them.
	Copy
)

// Request is one launch.
type Request struct {
	Plan   *plan.Plan
	Files  []int // for Plan.Inputs; the caller keeps them
	Mode   Mode
	Flags  uint64    // clone flags of the process that execs, beyond memory and descriptors
	Cgroup int       // directory of a cgroup v2 to start in; -1: the parent's
	Until  time.Time // the launch is given up then; zero: never
	Net    int       // the network namespace to start in; 0: the parent's
	// NetHome is the parent's own, if there is another to start in.
	NetHome int
	// Mounts is the mount namespace to start in; nil: the parent's. ErrMounts is the error if it cannot be entered.
	Mounts *Mounts
	Owner  uint32   // the user whom a new user namespace is to belong to; 0: this process's
	Keep   plan.Reg // a descriptor that the parent's own steps open, and that outlives the launch as Process.Kept; None: none

	// Started, if set, is called with the process's PID, and its descriptor, as soon as it exists; the process waits for its end. It may fill
	// registers. An error from it ends the launch.
	Started func(pid, pidfd int, set func(plan.Reg, int)) error
	// Beside, if set, is called when the process no longer waits for the parent, which thus does something else until it is told of the exec. It is not called if the launch
	// has failed before.
	Beside func()
	// Handle, if set, can end the launch from another goroutine.
	Handle *Handle
	// Listen, if set, wants the listener of the filter. It goes with Join and Copy.
	Listen *Listen
	// Joiner, if set, may serve a launch of Mode Join whose plan has the base that it was made for.
	Joiner *Joiner
	// Ready, if set, is the process that is launched, if the plan has the base that it was made for; the last so many Files are the program's. It is used up in any case.
	Ready   *Ready
	Program int
}

// Process is a launched process. The caller owns PIDFD and must wait for the process.
type Process struct {
	PID   int
	PIDFD int
	Kept  int64 // the caller's too
	Regs  []int64
}

// StepError tells which step of the plan ended the walk, see plan.Step for the index.
type StepError struct {
	Step  int
	Errno syscall.Errno
	Regs  []int64
}

func (e *StepError) Error() string { return fmt.Sprintf("step %d: %v", e.Step, e.Errno) }

// Unwrap returns the errno.
func (e *StepError) Unwrap() error { return e.Errno }

var errClone = errors.New("clone3")

// NotCloned tells of a launch's error whether it is that the process could not be made, in Cgroup for instance. The same may be tried again with another.
func (r *Request) NotCloned(err error) bool {
	var step *StepError
	if !errors.As(err, &step) {
		return errors.Is(err, errClone)
	}
	return step.Step == forkOf(cmp.Or(r.Plan.Base, r.Plan))
}

// Launch starts a process and returns when it has called execve, when all steps of a plan without execve are done, or when the launch
// failed: with *StepError for a failed step, another error for a failed clone.
func Launch(r *Request) (*Process, error) {
	if r.Ready != nil {
		p, err, ok := r.Ready.launch(r, r.Program)
		if ok {
			return p, err
		}
	}
	p, err := r.launch()
	if err == errFirstGone {
		again := *r
		again.Joiner = nil
		p, err = again.launch()
	}
	if err == errFirstGone {
		return nil, fmt.Errorf("%w: %w", err, unix.EINTR)
	}
	return p, err
}

func (r *Request) launch() (*Process, error) {
	inputs := r.Plan.Inputs
	if r.Plan.Base != nil {
		inputs = slices.Concat(r.Plan.Base.Inputs, inputs)
	}
	if len(r.Files) != len(inputs) {
		return nil, fmt.Errorf("plan wants %d descriptors, has %d: %w", len(inputs), len(r.Files), unix.EINVAL)
	}
	a, err := newArena(r.Plan)
	if err != nil {
		return nil, fmt.Errorf("map launch arena: %w", err)
	}
	own := *r
	l := &launch{Request: &own, arena: a, kept: -1}
	l.putFiles(inputs)
	return l.deliver(l.run)
}

// deliver has run make the process, and gives back whatever served the launch only.
func (l *launch) deliver(run func() (*Process, error)) (*Process, error) {
	defer l.arena.release()
	defer l.leaveSlots()
	defer func() {
		for _, fd := range l.opened {
			_ = unix.Close(fd)
		}
		closeFD(int(l.kept))
	}()
	l.Handle.hold(l)
	defer l.Handle.hold(nil)
	p, err := run()
	if err == nil {
		p.Kept, l.kept = l.kept, -1
	}
	return p, err
}

// Handle ends a launch that is under way. The zero Handle is ready.
type Handle struct {
	mu     sync.Mutex
	launch *launch
	killed bool
}

func (h *Handle) hold(l *launch) {
	if h != nil {
		h.mu.Lock()
		h.launch = l
		h.mu.Unlock()
	}
}

// Kill kills the process that is being launched, now or as soon as it exists. A launch whose process cannot die is given up.
func (h *Handle) Kill() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.killed = true
	if h.launch != nil {
		h.launch.signal()
	}
}

// again repeats a Kill that may have come too early.
func (h *Handle) again() {
	if h == nil {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.killed {
		h.launch.signal()
	}
}

// Memory copies the memory that a launch under way shares with its process, which pointers of the plan's steps point into, and tells at which address it
// is. Empty without a launch.
func (h *Handle) Memory() (at uint64, mem []byte) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.launch == nil {
		return 0, nil
	}
	return uint64(h.launch.addr(0)), append(mem, h.launch.mem...)
}

func (h *Handle) wasKilled() bool {
	if h == nil {
		return false
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.killed
}

// signal kills the new process if it exists. Its descriptor stays open as long as the launch goes on.
func (l *launch) signal() {
	if fd := l.descriptor(); fd >= 0 {
		_ = unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0)
	}
}

type launch struct {
	*Request
	*arena
	first    atomic.Int64 // PID of the first process of Join and Copy
	seedling *cloner      // which it was, or nil
	joiner   *Joiner      // instead of it
	apart    *apart       // with Listen
	mourns   mourning
	lost     bool  // Mounts could not be entered
	stopping bool  // killed through its handle
	forsaken bool  // by its first process, before there was a second one
	opened   []int // by the parent's own steps: they serve the launch only
	kept     int64 // see Request.Keep

	shares   bool // the process shares the table of descriptors until the step tableAt
	tableAt  int
	tableEnd plan.Reg
	slots    *slotSet // nil: none
	slotted  int      // how many of them are in use
}

func (l *launch) run() (*Process, error) {
	if l.mourns = mourns(l.Plan); l.mourns == briefly {
		// It is the death of the thread that cloned it that a process mourns (prctl(2), PR_SET_PDEATHSIG), and threads of this process do end, see onThread.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
	}
	l.setClone()
	l.begin()
	if l.Joiner.take(l) {
		l.joiner = l.Joiner
		l.joiner.launch(l)
	} else if pid := l.clone(); pid < 0 {
		l.finish(nil)
		atomic.StoreUint32(&l.ctl.done, 0)
		_ = l.joinApart()
		if l.lost {
			return nil, fmt.Errorf("%w: %w", ErrMounts, syscall.Errno(-pid))
		}
		return nil, fmt.Errorf("%w: %w", errClone, syscall.Errno(-pid))
	}
	return l.conclude()
}

// conclude goes with the process until it has called execve or has died.
func (l *launch) conclude() (*Process, error) {
	err := l.accompany()
	if err == nil {
		err = l.awaitExec()
	}
	l.adopt()
	if lerr := l.joinApart(); err == nil && l.ctl.errno == 0 {
		err = lerr
	}
	p := &Process{PID: int(atomic.LoadUint32(&l.ctl.pid)), PIDFD: int(int32(atomic.LoadUint32(&l.ctl.pidfd))), Regs: l.regs()}
	if p.PID == 0 {
		// A clone3 that fails late, say for a pids limit, has stored the number of a descriptor that it then took back.
		p.PIDFD = -1
	}
	if err != nil {
		l.abandon(p)
		return nil, err
	}
	if l.joiner != nil {
		defer l.joiner.leave()
	}
	if p.PID == 0 && (l.joiner != nil && l.joiner.gone() || l.forsaken) {
		l.reapFirst()
		l.finish(nil)
		return nil, errFirstGone
	}
	if l.apart != nil && l.ctl.errno != 0 && p.PIDFD >= 0 {
		_ = unix.PidfdSendSignal(p.PIDFD, unix.SIGKILL, nil, 0) // its last calls may wait for an answer that nobody gives
	}
	l.reapFirst()
	if e := l.ctl.errno; e != 0 {
		reap(p.PID)
		l.finish(nil)
		closeFD(p.PIDFD)
		return nil, &StepError{Step: int(l.ctl.progress), Errno: syscall.Errno(e), Regs: p.Regs}
	}
	l.finish(p)
	return p, nil
}

// seeded tells whether the first process comes from the seed: it begins where this process is.
func (l *launch) seeded() bool {
	return l.Mode != Direct && l.Listen == nil && l.Net == 0 && l.Mounts == nil && l.Owner == 0
}

func (l *launch) setClone() {
	c := l.ctl
	*(*int32)(unsafe.Pointer(&c.pidfd)) = -1
	c.clone = cloneArgs{flags: unix.CLONE_FILES | unix.CLONE_CLEAR_SIGHAND, exitSignal: uint64(unix.SIGCHLD)}
	inner := cloneArgs{
		flags: l.Flags | unix.CLONE_VM | unix.CLONE_CLEAR_SIGHAND |
			unix.CLONE_PIDFD | unix.CLONE_PARENT_SETTID | unix.CLONE_CHILD_CLEARTID,
		pidfd:     uint64(uintptr(unsafe.Pointer(&c.pidfd))),
		parentTID: uint64(uintptr(unsafe.Pointer(&c.pid))),
		childTID:  uint64(uintptr(unsafe.Pointer(&c.done))),
	}
	if l.Cgroup >= 0 {
		inner.flags |= unix.CLONE_INTO_CGROUP
		inner.cgroup = uint64(l.Cgroup)
	}
	if l.Mode == Direct {
		inner.exitSignal = uint64(unix.SIGCHLD)
		c.clone = inner
		return
	}
	// The first process sleeps until the second one's exec: it has to be there till then, for the memory to count as shared.
	inner.flags |= unix.CLONE_VFORK
	inner.flags |= unix.CLONE_PARENT
	if l.shares {
		inner.flags |= unix.CLONE_FILES
	}
	if l.Listen != nil {
		inner.flags = inner.flags&^unix.CLONE_PIDFD | unix.CLONE_FILES // see Listen, adopt
		inner.pidfd = 0
	}
	c.inner = inner
}

// accompany does the parent's part while the new process waits.
func (l *launch) accompany() error {
	if l.Started == nil && len(l.Plan.Parent) == 0 {
		return nil
	}
	for atomic.LoadUint32(&l.ctl.pid) == 0 {
		if atomic.LoadUint32(&l.ctl.done) == 0 {
			return nil // the first process failed: awaitExec tells
		}
		futexWait(&l.ctl.pid, 0, 10*time.Millisecond)
		if (l.firstGone() || l.joiner != nil && l.joiner.gone()) && atomic.LoadUint32(&l.ctl.pid) == 0 {
			return nil
		}
		if l.expired() {
			return l.timeout()
		}
	}
	if l.Beside != nil {
		l.letWait()
	}
	if l.Started != nil {
		if err := l.Started(int(atomic.LoadUint32(&l.ctl.pid)), int(int32(atomic.LoadUint32(&l.ctl.pidfd))), func(r plan.Reg, v int) { *l.reg(r) = int64(v) }); err != nil {
			return err
		}
	}
	if err := l.parentSteps(); err != nil {
		return err
	}
	l.setTable()
	atomic.StoreUint32(&l.ctl.goOn, 1)
	futexWake(&l.ctl.goOn)
	if l.Beside != nil {
		l.Beside()
		l.spin()
	}
	return nil
}

// letWait lets a process that has been put on this thread's CPU come to where it waits for the parent: when it is woken there the kernel looks for an idle CPU for it, and not
// before.
func (l *launch) letWait() {
	at := slices.IndexFunc(l.Plan.Child, func(s plan.Step) bool {
		return s.Nr == unix.SYS_FUTEX && s.Args[0].Kind == plan.Control && s.Args[0].Value == plan.CellGo
	})
	for range 3 {
		if atomic.LoadInt64(&l.ctl.progress) >= int64(at) {
			return
		}
		_, _, _ = unix.RawSyscall(unix.SYS_SCHED_YIELD, 0, 0, 0)
	}
}

const (
	// spinFor is how long a thread that has had something else to do meanwhile looks for the exec before it sleeps, since to be woken takes about as long.
	spinFor = 200 * time.Microsecond
	// spinSteps is how near the walk must be to its end for that, and spinStep how long a step of it may take, but the last.
	spinSteps = 40
	spinStep  = 50 * time.Microsecond
)

// spin waits for the exec for a moment if the walk goes on beside it, on another CPU, and is all but over.
func (l *launch) spin() {
	at, moved := int64(-1), time.Now()
	for end := moved.Add(spinFor); atomic.LoadUint32(&l.ctl.done) != 0; {
		now, before := time.Now(), at
		if at = atomic.LoadInt64(&l.ctl.progress); at != before {
			moved = now
		}
		left := l.ctl.nsteps - 1 - at
		if left > spinSteps || now.After(end) || left > 0 && now.Sub(moved) > spinStep {
			return
		}
		_, _, _ = unix.RawSyscall(unix.SYS_SCHED_YIELD, 0, 0, 0)
	}
}

// note keeps account of the descriptors that the parent's steps have opened.
func (l *launch) note(s *plan.Step, res int) {
	switch s.Nr {
	case unix.SYS_OPEN_TREE, unix.SYS_OPENAT2, unix.SYS_FSOPEN, unix.SYS_FSMOUNT:
		l.opened = append(l.opened, res)
	case unix.SYS_CLOSE:
		fd := int(*l.reg(plan.Reg(s.Args[0].Value)))
		l.opened = slices.DeleteFunc(l.opened, func(o int) bool { return o == fd })
	}
}

// parentSteps runs the zygote's own steps of the plan.
func (l *launch) parentSteps() error {
	for _, p := range l.Plan.Patches {
		*(*int64)(unsafe.Pointer(&l.mem[l.dataAt+int(p.At)])) = *l.reg(p.Reg)
	}
	for i := 0; i < len(l.Plan.Parent); i++ {
		s := &l.Plan.Parent[i]
		var low step
		l.lower(&low, s)
		res, errno := l.exec(&low)
		if errno != 0 {
			if !tolerated(s, errno) {
				return &StepError{Step: -i - 1, Errno: errno, Regs: l.regs()}
			}
			res = -int64(errno)
			i += s.Skip
		} else if l.Keep != plan.None && s.Out == l.Keep {
			l.kept = res
		} else {
			l.note(s, int(res))
		}
		if s.Out != plan.None {
			*l.reg(s.Out) = res
		}
		if s.Stores && res >= 0 {
			*(*int32)(unsafe.Pointer(&l.mem[l.dataAt+int(s.Store.Value)])) = int32(res)
		}
	}
	return nil
}

func tolerated(s *plan.Step, errno syscall.Errno) bool {
	if !s.Soft {
		return false
	}
	for _, e := range s.Errnos {
		if e == errno {
			return true
		}
	}
	return len(s.Errnos) == 0
}

func (l *launch) exec(s *step) (int64, syscall.Errno) {
	if s.nr < 0 {
		return 0, syscall.Errno(-s.nr)
	}
	for i := range s.args {
		if s.regMask&(1<<i) != 0 {
			s.args[i] = uint64(*l.reg(plan.Reg(s.args[i])))
		}
	}
	r, _, errno := unix.Syscall6(uintptr(s.nr), uintptr(s.args[0]), uintptr(s.args[1]), uintptr(s.args[2]),
		uintptr(s.args[3]), uintptr(s.args[4]), uintptr(s.args[5]))
	if errno == 0 && s.flags&flagWant != 0 && int64(r) != s.want {
		errno = unix.ENOSPC
	}
	return int64(r), errno
}

// awaitExec returns when the process has called execve, has died or the deadline has passed.
func (l *launch) awaitExec() error {
	for atomic.LoadUint32(&l.ctl.done) != 0 {
		wait := 50 * time.Millisecond
		if !l.Until.IsZero() {
			wait = min(wait, max(time.Until(l.Until), time.Millisecond))
		}
		futexWait(&l.ctl.done, 1, wait)
		if atomic.LoadUint32(&l.ctl.done) == 0 {
			break
		}
		l.adopt()
		if l.orphaned() {
			break
		}
		l.Handle.again()
		if l.expired() {
			return l.timeout()
		}
	}
	return nil
}

// stopPatience is how long a process that has been killed may take to die before the launch no longer waits for it: it waits in
// turn for a file system that does not answer.
const stopPatience = 200 * time.Millisecond

func (l *launch) expired() bool {
	if !l.stopping && l.Handle.wasKilled() {
		l.stopping = true
		if soon := time.Now().Add(stopPatience); l.Until.IsZero() || soon.Before(l.Until) {
			l.Until = soon
		}
	}
	return !l.Until.IsZero() && !time.Now().Before(l.Until)
}

func (l *launch) timeout() error {
	return &StepError{Step: int(atomic.LoadInt64(&l.ctl.progress)), Errno: unix.ETIMEDOUT, Regs: l.regs()}
}

// orphaned tells whether there is nobody left to be told of: the first process has been killed, by the administrator or together with the second one where a job's memory ran out. It
// sleeps until the exec otherwise, which the kernel tells of as long as it lives. A second process that lives is ended, unless its program runs.
func (l *launch) orphaned() bool {
	alone := l.firstGone() || l.joiner != nil && l.joiner.gone()
	if !alone || atomic.LoadUint32(&l.ctl.done) == 0 {
		return false
	}
	if atomic.LoadUint32(&l.ctl.pid) == 0 {
		switch {
		case l.joiner != nil || l.ctl.errno != 0:
		case l.seedling != nil:
			l.forsaken = true
		default:
			l.ctl.errno = int64(unix.EINTR)
		}
	} else if !executed(int(atomic.LoadUint32(&l.ctl.pid))) {
		l.signal()
		if !ended(l.descriptor()) {
			return false
		}
	}
	atomic.StoreUint32(&l.ctl.done, 0)
	return true
}

// executed tells whether a child, which has not been waited for, has called execve: the kernel takes this flag away when the old memory has been left (PF_FORKNOEXEC, begin_new_exec in fs/exec.c).
func executed(pid int) bool {
	const forkNoExec = 0x40
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return false
	}
	fields := strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:]))
	if len(fields) < 7 {
		return false
	}
	flags, err := strconv.ParseUint(fields[6], 10, 64) // the ninth of proc_pid_stat(5)
	return err == nil && flags&forkNoExec == 0
}

// firstGone tells whether the first process has ended, without reaping it.
func (l *launch) firstGone() bool {
	first := int(l.first.Load())
	if first == 0 {
		return false
	}
	var info unix.Siginfo
	err := unix.Waitid(unix.P_PID, first, &info, unix.WEXITED|unix.WNOHANG|unix.WNOWAIT|unix.WALL, nil)
	return err == nil && info.Signo != 0
}

func (l *launch) reapFirst() {
	if first := int(l.first.Load()); first != 0 {
		reap(first)
		l.first.Store(0)
	}
	if l.seedling != nil {
		l.seedling.forget()
		l.seedling = nil
	}
}

// abandon ends what a failed launch has started. A process that cannot die yet (waiting for a file system that does not answer)
// is left to a goroutine: it can do nothing but die.
func (l *launch) abandon(p *Process) {
	if first := int(l.first.Load()); first != 0 {
		_ = unix.Kill(first, unix.SIGKILL)
	}
	if l.joiner != nil {
		l.joiner.kill() // it may sleep for as long as the second one does not exec
	}
	if p.PIDFD >= 0 {
		_ = unix.PidfdSendSignal(p.PIDFD, unix.SIGKILL, nil, 0)
	}
	if p.PIDFD < 0 && p.PID > 0 {
		_ = unix.Kill(p.PID, unix.SIGKILL)
	}
	closeFD(p.PIDFD)
	gone := make(chan struct{})
	l.held.Store(true)
	go func() {
		defer close(gone)
		defer l.held.Store(false)
		l.reapFirst()
		if l.joiner != nil {
			l.joiner.await()
			defer l.joiner.leave()
		}
		if pid := int(atomic.LoadUint32(&l.ctl.pid)); p.PID == 0 && pid != 0 {
			// The first process made the second just before it was killed.
			p.PID = pid
			_ = unix.Kill(pid, unix.SIGKILL)
			closeFD(int(int32(atomic.LoadUint32(&l.ctl.pidfd))))
		}
		reap(p.PID)
		l.finish(nil)
		atomic.StoreUint32(&l.ctl.done, 0)
	}()
	select {
	case <-gone:
	case <-time.After(200 * time.Millisecond):
	}
}

func reap(pid int) {
	if pid <= 0 {
		return
	}
	for {
		_, err := unix.Wait4(pid, nil, unix.WALL, nil)
		if err != unix.EINTR {
			return
		}
	}
}

func closeFD(fd int) {
	if fd >= 0 {
		_ = unix.Close(fd)
	}
}

func futexWait(word *uint32, val uint32, d time.Duration) {
	ts := unix.NsecToTimespec(int64(d))
	_, _, _ = unix.Syscall6(unix.SYS_FUTEX, uintptr(unsafe.Pointer(word)), 0 /* FUTEX_WAIT */, uintptr(val), uintptr(unsafe.Pointer(&ts)), 0, 0)
}

func futexWake(word *uint32) {
	_, _, _ = unix.RawSyscall6(unix.SYS_FUTEX, uintptr(unsafe.Pointer(word)), 1 /* FUTEX_WAKE */, 1, 0, 0, 0)
}
