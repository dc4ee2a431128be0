//go:build linux

package zygote

import (
	"os"
	"sync"
	"time"
	"unsafe"

	"github.com/belljar-go/belljar/sandbox/internal/launch"
	"golang.org/x/sys/unix"
)

// process is a child that is waited for through its pidfd.
type process struct {
	pid int

	mu   sync.RWMutex // held for reading while fd is used
	fd   int          // -1: closed
	file *os.File     // has fd, once somebody waits without a thread
}

func newProcess(pid, pidfd int) *process { return &process{pid: pid, fd: pidfd} }

// waitBriefly reaps the child if it ends within d. It blocks a thread, so that the end is seen at once and costs nothing to prepare for. lost: it is gone, and how it ended nobody knows.
func (p *process) waitBriefly(d time.Duration) (ws unix.WaitStatus, ru unix.Rusage, ended, lost bool) {
	p.mu.RLock()
	defer p.mu.RUnlock()
	if p.fd < 0 {
		return 0, ru, false, false
	}
	for end := time.Now().Add(d); ; {
		left := max(time.Until(end), 0)
		ts := unix.NsecToTimespec(int64(left))
		n, err := unix.Ppoll([]unix.PollFd{{Fd: int32(p.fd), Events: unix.POLLIN}}, &ts, nil)
		if n > 0 {
			break
		}
		if err != unix.EINTR || left == 0 {
			return 0, ru, false, false
		}
	}
	pid, err := launch.Wait(p.pid, &ws, unix.WNOHANG, &ru)
	return ws, ru, err != nil || pid == p.pid, err != nil
}

// ends waits until the child has ended, which somebody else may have reaped, and tells whether it has within d.
func (p *process) ends(d time.Duration) bool {
	p.mu.RLock()
	defer p.mu.RUnlock()
	if p.fd < 0 {
		return true
	}
	fds := []unix.PollFd{{Fd: int32(p.fd), Events: unix.POLLIN}}
	ts := unix.NsecToTimespec(int64(d))
	if d > briefly {
		n, _ := unix.Ppoll(fds, &ts, nil)
		return n > 0
	}
	// To let the scheduler have the thread's P for such a time costs more than to keep it.
	n, _, _ := unix.RawSyscall6(unix.SYS_PPOLL, uintptr(unsafe.Pointer(&fds[0])), 1, uintptr(unsafe.Pointer(&ts)), 0, 0, 0)
	return int(n) > 0
}

// briefly is how long a thread waits in the kernel without the Go scheduler being told.
const briefly = time.Millisecond

// wait reaps the child, without a thread of its own. If lost is set nobody knows how it ended, or whether: p has been closed meanwhile, say.
func (p *process) wait() (ws unix.WaitStatus, ru unix.Rusage, lost bool) {
	var pid int
	var err error
	ended := func(uintptr) bool {
		pid, err = launch.Wait(p.pid, &ws, unix.WNOHANG, &ru)
		return err != nil || pid == p.pid
	}
	if f, ferr := p.open(); ferr == nil {
		if raw, rerr := f.SyscallConn(); rerr == nil && raw.Read(ended) == nil {
			return ws, ru, err != nil
		}
	}
	// It is closed, or the poller has no room for it.
	for ; ; time.Sleep(unpolled) {
		if ws, ru, ended, lost := p.waitBriefly(0); ended {
			return ws, ru, lost
		}
		if p.closed() {
			return 0, ru, true
		}
	}
}

// unpolled is how often a child is looked at that the poller does not tell of.
const unpolled = 10 * time.Millisecond

func (p *process) closed() bool {
	p.mu.RLock()
	defer p.mu.RUnlock()
	return p.fd < 0
}

// open gives the descriptor to the runtime's poller.
func (p *process) open() (*os.File, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.fd < 0 {
		return nil, os.ErrClosed
	}
	if err := unix.SetNonblock(p.fd, true); err != nil {
		return nil, os.NewSyscallError("fcntl", err)
	}
	if p.file == nil {
		p.file = os.NewFile(uintptr(p.fd), "pidfd")
	}
	return p.file, nil
}

// signal sends a signal to this very process, whatever has become of its number.
func (p *process) signal(sig unix.Signal) error {
	p.mu.RLock()
	defer p.mu.RUnlock()
	if p.fd < 0 {
		return unix.ESRCH // closed: it has been waited for
	}
	return unix.PidfdSendSignal(p.fd, sig, nil, 0)
}

func (p *process) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.fd < 0:
	case p.file != nil:
		_ = p.file.Close() // and whoever waits is woken
	default:
		_ = unix.Close(p.fd)
	}
	p.fd = -1
}
