//go:build linux

package launch

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"

	"github.com/belljar-go/belljar/sandbox/internal/plan"
	"golang.org/x/sys/unix"
)

// Listen asks for the listener of the filter that a step of the plan installs with SECCOMP_FILTER_FLAG_NEW_LISTENER.
//
// The listener appears in the table of descriptors of the process that installs the filter. From there that process cannot send it: the filter
// may refuse that. Nor can an ordinary user's zygote take it with pidfd_getfd(2), which needs the right to trace a process that is not
// dumpable, as all are that come from it, until their exec. So the launched processes share a table of descriptors with another one, which is under no filter:
// the keeper, a copy of the seed that has taken a table of its own for this launch, makes the first process, sends the listener over a socket to the
// zygote, and ends. The exec gives the program a table of its own again (unshare_files in fs/exec.c), without the listener and the socket,
// which close on exec.
//
// It is no thread of the zygote, since the launched process closes what it finds in the table: the Go runtime has descriptors of its own (epoll(7)), which it uses on any
// thread, and ends the program where they are gone.
type Listen struct {
	// Socket is filled with the number of a socket before the walk begins. The plan must keep it, closing on exec, and keep the register current.
	Socket plan.Reg
	// Listener receives the result of the step that installs the filter.
	Listener plan.Reg
	// Got is called with the listener, which it owns, as soon as there is one: an execve that the filter asks about waits
	// for whoever has it. An error ends the launch.
	Got func(fd int) error
}

// apart is what a launch with a listener has beside others.
type apart struct {
	keeper *cloner
	ours   int           // our end of the socket
	quit   atomic.Bool   // the launch is over, whatever became of it
	done   chan struct{} // closed when the keeper is gone
	got    bool
	err    error
}

// listenPoll is how long an execve that the filter asks about may wait before anybody notices.
const listenPoll = 200 * time.Microsecond

// cloneApart has a keeper make the first process.
func (l *launch) cloneApart() int {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -int(errnoOf(err))
	}
	*l.reg(l.Listen.Socket) = int64(pair[1])
	keeper, err := newKeeper()
	_ = unix.Close(pair[1]) // the keeper has it
	pid := 0
	if err == nil {
		pid, err = l.madeBy(keeper)
	}
	if err != nil {
		_ = unix.Close(pair[0])
		return -int(errnoOf(err))
	}
	l.apart = &apart{keeper: keeper, ours: pair[0], done: make(chan struct{})}
	go l.takeOver(l.apart)
	return pid
}

// newKeeper makes a process that has a copy of this one's table of descriptors.
func newKeeper() (*cloner, error) {
	b := plan.NewBuilder()
	b.Stage("listener")
	b.Call(unix.SYS_UNSHARE, "unshare", "descriptors", plan.Int(unix.CLONE_FILES))
	a, err := newClonerArena(stay(b.Plan(), KeeperName, os.Getpid()))
	if err != nil {
		return nil, err
	}
	k := &cloner{arena: a}
	if err := k.come(); err != nil {
		return nil, err
	}
	return k, nil
}

// KeeperName is what ps(1) calls a keeper.
const KeeperName = "belljar-keeper"

// madeBy has the keeper make the first process, which shares its table. If there is none, the keeper is gone.
func (l *launch) madeBy(k *cloner) (pid int, err error) {
	c := l.ctl
	c.clone = cloneArgs{
		flags:     unix.CLONE_FILES | unix.CLONE_CLEAR_SIGHAND | unix.CLONE_PARENT | unix.CLONE_PARENT_SETTID,
		parentTID: uint64(uintptr(unsafe.Pointer(&c.made))),
	}
	k.ring(c, &c.clone, 0)
	idle := k.awaitIdle(clonerPatience)
	if !idle {
		k.end()
	}
	pid = int(atomic.LoadUint32(&c.made))
	switch errno := atomic.LoadInt64(&c.errno); {
	case pid != 0 && idle:
		return pid, nil
	case pid != 0:
		_ = unix.Kill(pid, unix.SIGKILL)
		reap(pid)
		return 0, unix.EINTR
	case idle:
		k.end()
		return 0, cmp.Or(syscall.Errno(errno), unix.EAGAIN)
	}
	return 0, unix.EINTR
}

// mourning is what a plan does about its process's parent-death signal.
type mourning uint8

const (
	never   mourning = iota // it sets none
	briefly                 // it takes back what it has set
	forever                 // what it executes has one
)

func mourns(p *plan.Plan) mourning {
	m := never
	if p.Base != nil {
		m = mourns(p.Base)
	}
	for i := range p.Child {
		s := &p.Child[i]
		switch {
		case s.Nr != unix.SYS_PRCTL || len(s.Args) < 2 || s.Args[0].Value != unix.PR_SET_PDEATHSIG:
		case s.Args[1].Value != 0:
			m = forever
		case m == forever:
			m = briefly
		}
	}
	return m
}

// mother is a thread that never ends. A parent-death signal comes when the thread ends that cloned (prctl(2), PR_SET_PDEATHSIG), and threads of
// this process do end, see onThread: any that the scheduler has may be used for that.
var mother = sync.OnceValue(newThread)

func onMother(f func() int) int {
	result := make(chan int, 1)
	mother() <- func() { result <- f() }
	return <-result
}

// onThread runs f on a thread that ends with it, and with the thread its hold on the descriptors: a goroutine that ends locked takes its thread
// with it, unless that is the process's first. No new thread is made from a locked one, so nobody else gets its table.
func onThread(f func()) {
	go func() {
		runtime.LockOSThread()
		if unix.Gettid() != unix.Getpid() {
			f()
			return
		}
		defer runtime.UnlockOSThread()
		locked := make(chan struct{})
		go func() {
			runtime.LockOSThread()
			close(locked)
			f()
		}()
		<-locked
	}()
}

// errNoListener: the walk ended before the filter was installed.
var errNoListener = fmt.Errorf("no filter installed: %w", unix.ENOENT)

// takeOver has the keeper send the listener, and hands it to the caller.
func (l *launch) takeOver(a *apart) {
	defer close(a.done)
	defer unix.Close(a.ours)
	defer a.keeper.end()
	fd := l.awaitListener(a)
	if fd < 0 {
		a.err = errNoListener
		return
	}
	b := plan.NewBuilder()
	b.Stage("listener")
	sock := int(atomic.LoadInt64(l.reg(l.Listen.Socket)))
	b.Call(unix.SYS_SENDMSG, "sendmsg", "listener", plan.Int(sock), b.Rights(fd), plan.Int(unix.MSG_NOSIGNAL|unix.MSG_DONTWAIT)).Wanting(1)
	job, err := newArenaIn(b.Plan(), grabLittle)
	if err != nil {
		a.err = err
		return
	}
	a.keeper.become(job.ctl)
	fd, err = a.receive()
	if err == nil {
		err = l.Listen.Got(fd)
	}
	a.got, a.err = err == nil, err
	a.keeper.await() // it ends by itself
	job.done()
}

// awaitListener returns the number of the listener in the keeper's table; -1: there is none.
func (l *launch) awaitListener(a *apart) int {
	for atomic.LoadInt64(l.reg(l.Listen.Listener)) < 0 {
		if atomic.LoadUint32(&l.ctl.done) == 0 || a.quit.Load() {
			break
		}
		futexWait(&l.ctl.done, 1, listenPoll)
	}
	// The kernel wakes one waiter; the other may be awaitExec.
	futexWake(&l.ctl.done)
	return int(max(atomic.LoadInt64(l.reg(l.Listen.Listener)), -1))
}

// receive takes what the keeper sends, unless it ends without.
func (a *apart) receive() (int, error) {
	for {
		over := a.keeper.gone()
		fd, err := receiveFD(a.ours)
		if over || !errors.Is(err, unix.EAGAIN) {
			return fd, err
		}
		_, _ = unix.Poll([]unix.PollFd{{Fd: int32(a.ours), Events: unix.POLLIN}, {Fd: int32(a.keeper.pidfd), Events: unix.POLLIN}}, -1)
	}
}

// receiveFD takes a descriptor that has been sent.
func receiveFD(sock int) (int, error) {
	oob := make([]byte, unix.CmsgSpace(4))
	_, n, _, _, err := unix.Recvmsg(sock, make([]byte, 1), oob, unix.MSG_CMSG_CLOEXEC|unix.MSG_DONTWAIT)
	if err != nil {
		return -1, os.NewSyscallError("recvmsg", err)
	}
	list, err := unix.ParseSocketControlMessage(oob[:n])
	if err != nil || len(list) != 1 {
		return -1, unix.EBADMSG
	}
	fds, err := unix.ParseUnixRights(&list[0])
	if err != nil || len(fds) != 1 {
		return -1, unix.EBADMSG
	}
	return fds[0], nil
}

// joinApart waits for who uses the arena beside the process, and tells what went wrong with the listener of a program that has been executed.
func (l *launch) joinApart() error {
	if l.apart == nil {
		return nil
	}
	l.apart.quit.Store(true)
	<-l.apart.done
	if l.apart.got || atomic.LoadInt64(l.reg(l.Listen.Listener)) < 0 {
		return nil
	}
	return fmt.Errorf("listener of the filter: %w", l.apart.err)
}

// adopt opens a descriptor of the new process where the kernel has put the one it made into the table apart. The process is our
// child and nobody else waits for it, so its number is its own.
func (l *launch) adopt() {
	if l.apart == nil || int32(atomic.LoadUint32(&l.ctl.pidfd)) >= 0 {
		return
	}
	if pid := int(atomic.LoadUint32(&l.ctl.pid)); pid != 0 {
		if fd, err := unix.PidfdOpen(pid, 0); err == nil {
			atomic.StoreUint32(&l.ctl.pidfd, uint32(fd))
		}
	}
}

// errnoFrom is the error of a raw result.
func errnoFrom(res int) error { return syscall.Errno(-res) }

func errnoOf(err error) syscall.Errno {
	if e, ok := errors.AsType[syscall.Errno](err); ok {
		return e
	}
	return unix.EIO
}
