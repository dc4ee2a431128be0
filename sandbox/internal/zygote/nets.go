//go:build linux

package zygote

import (
	"sync"
	"time"
	"unsafe"

	"github.com/belljar-go/belljar/sandbox/internal/launch"
	"golang.org/x/sys/unix"
)

// nets makes network namespaces ahead of time: one takes the kernel as long as starting a program does. Each is used once, by one sandbox. They belong to
// this process's user namespace, so that they are for sandboxes whose jobs have no capability over theirs.
type nets struct {
	once  sync.Once
	tasks chan<- func() // for the thread that makes them

	mu       sync.Mutex
	spare    []int
	filling  bool
	idle     *time.Timer
	lastTake time.Time
}

const (
	// spareNets is how many are kept ready while sandboxes are being made, and for netsIdle after the last.
	spareNets = 2
	netsIdle  = 30 * time.Second
)

// take returns a network namespace that nobody has been in, with its loopback up. The caller owns the descriptor.
func (n *nets) take() (int, error) {
	n.mu.Lock()
	n.lastTake = time.Now()
	if last := len(n.spare) - 1; last >= 0 {
		fd := n.spare[last]
		n.spare = n.spare[:last]
		n.mu.Unlock()
		return fd, nil
	}
	n.mu.Unlock()
	return n.make()
}

// refill makes what take has used up, in the background.
func (n *nets) refill() {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.filling || len(n.spare) >= spareNets {
		return
	}
	n.filling = true
	if n.idle == nil {
		n.idle = time.AfterFunc(netsIdle, n.rest)
	}
	go n.fill()
}

func (n *nets) fill() {
	for {
		fd, err := n.make()
		n.mu.Lock()
		if err == nil {
			n.spare = append(n.spare, fd)
		}
		if err != nil || len(n.spare) >= spareNets {
			n.filling = false
			n.mu.Unlock()
			return
		}
		n.mu.Unlock()
	}
}

// rest gives the spare ones back when no sandbox has been made for a while.
func (n *nets) rest() {
	n.mu.Lock()
	defer n.mu.Unlock()
	if left := netsIdle - time.Since(n.lastTake); left > 0 || n.filling {
		n.idle.Reset(max(left, time.Second))
		return
	}
	closeFDs(n.spare)
	n.spare, n.idle = nil, nil
}

func closeFDs(fds []int) {
	for _, fd := range fds {
		_ = unix.Close(fd)
	}
}

// make has a namespace made by a thread of its own, which is in it for that time.
func (n *nets) make() (fd int, err error) {
	n.once.Do(func() { n.tasks = launch.Thread() })
	made := make(chan struct{})
	n.tasks <- func() {
		defer close(made)
		err = launch.Away("net", unix.CLONE_NEWNET, func() (err error) {
			fd, err = newNet()
			return err
		})
	}
	<-made
	return fd, err
}

// newNet moves the thread to a new network namespace, brings its loopback up, which a new one has down, and returns its descriptor.
func newNet() (int, error) {
	fail := func(op, path string, err error) (int, error) {
		return -1, &stageError{"network", op, path, err}
	}
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		return fail("unshare", "CLONE_NEWNET", err)
	}
	s, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fail("socket", "lo", err)
	}
	defer unix.Close(s)
	var req [40]byte // struct ifreq
	copy(req[:], "lo")
	req[16] = unix.IFF_UP | unix.IFF_RUNNING
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(s), unix.SIOCSIFFLAGS, uintptr(unsafe.Pointer(&req))); errno != 0 {
		return fail("ioctl", "lo", errno)
	}
	fd, err := unix.Open("/proc/thread-self/ns/net", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fail("open", "/proc/thread-self/ns/net", err)
	}
	return fd, nil
}
