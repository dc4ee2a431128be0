//go:build linux

package launch

import (
	"errors"
	"fmt"
	"math"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/belljar-go/belljar/sandbox/internal/plan"
	"golang.org/x/sys/unix"
)

// Listen asks for the listener of the filter that a step of the plan installs with SECCOMP_FILTER_FLAG_NEW_LISTENER.
//
// The listener appears in the table of descriptors of the process that installs the filter. From there that process cannot send it: the filter
// may refuse that. Nor can an ordinary user's zygote take it with pidfd_getfd(2), which needs the right to trace a process whose memory is, until
// its exec, the zygote's own. So the launched processes share a table of descriptors with a thread of the zygote, which is under no filter: a
// thread with a table of its own for this launch (CLONE_FILES undone by unshare(2)), which sends the listener over a socket to the rest of the
// zygote, and ends. The exec gives the program a table of its own again (unshare_files in fs/exec.c), without the listener and the socket,
// which close on exec.
type Listen struct {
	// Socket is filled with the number of a socket before the walk begins. The plan must keep it, closing on exec, and keep the register current.
	Socket plan.Reg
	// Listener receives the result of the step that installs the filter.
	Listener plan.Reg
	// Got is called with the listener, which it owns, as soon as there is one: an execve that the filter asks about waits
	// for whoever has it. An error ends the launch.
	Got func(fd int) error
	// Hold, if set, keeps the thread that cloned the process until it is closed. A process with a parent-death signal needs that: it is that
	// thread's death that sends it (prctl(2), PR_SET_PDEATHSIG).
	Hold <-chan struct{}
}

// apart is the thread with a descriptor table of its own.
type apart struct {
	ours int           // our end of the socket
	quit atomic.Bool   // the launch is over, whatever became of it
	sent chan error    // nil: the listener is in the socket
	done chan struct{} // closed when whoever waited for sent is through
	over chan bool     // whether the launch has succeeded, once it is over
	got  bool
	err  error
}

// listenPoll is how long an execve that the filter asks about may wait before anybody notices.
const listenPoll = 200 * time.Microsecond

// cloneApart makes the first process from a thread with its own table of descriptors.
func (l *launch) cloneApart() int {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -int(errnoOf(err))
	}
	*l.reg(l.Listen.Socket) = int64(pair[1])
	a := &apart{ours: pair[0], sent: make(chan error, 1), done: make(chan struct{}), over: make(chan bool, 1)}
	l.apart = a
	pid := make(chan int)
	onThread(func() {
		if err := unix.Unshare(unix.CLONE_FILES); err != nil {
			pid <- -int(errnoOf(err))
			a.sent <- err
			return
		}
		n := cloneWalk(l.ctl)
		pid <- n
		if n < 0 {
			a.sent <- syscall.Errno(-n)
			return
		}
		a.sent <- l.handOver(a)
		if l.Listen.Hold != nil && <-a.over {
			// The program has a table of its own by now; this one would keep its pipes open.
			_ = unix.CloseRange(0, math.MaxUint32, 0)
			<-l.Listen.Hold
		}
	})
	n := <-pid
	_ = unix.Close(pair[1])
	go l.takeOver(a)
	return n
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

// handOver waits for the listener and sends it. It runs on the thread apart, whose descriptors are those of the new process.
func (l *launch) handOver(a *apart) error {
	for atomic.LoadInt64(l.reg(l.Listen.Listener)) < 0 {
		if atomic.LoadUint32(&l.ctl.done) == 0 || a.quit.Load() {
			break
		}
		futexWait(&l.ctl.done, 1, listenPoll)
	}
	// The kernel wakes one waiter; the other may be awaitExec.
	futexWake(&l.ctl.done)
	fd := int(atomic.LoadInt64(l.reg(l.Listen.Listener)))
	if fd < 0 {
		return errNoListener
	}
	sock := int(atomic.LoadInt64(l.reg(l.Listen.Socket)))
	return os.NewSyscallError("sendmsg", unix.Sendmsg(sock, []byte{0}, unix.UnixRights(fd), nil, unix.MSG_NOSIGNAL|unix.MSG_DONTWAIT))
}

// takeOver receives the listener and hands it to the caller.
func (l *launch) takeOver(a *apart) {
	defer close(a.done)
	defer unix.Close(a.ours)
	if a.err = <-a.sent; a.err != nil {
		return
	}
	fd, err := receiveFD(a.ours)
	if err == nil {
		err = l.Listen.Got(fd)
	}
	a.got, a.err = err == nil, err
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

// joinApart waits for the thread apart, which uses the arena, and tells what went wrong with the listener of a program that has been executed.
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
