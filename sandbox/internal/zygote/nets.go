//go:build linux

package zygote

import (
	"runtime"
	"sync"
	"time"
	"unsafe"

	"github.com/belljar-go/belljar/sandbox/internal/launch"
	"golang.org/x/sys/unix"
)

// nets makes network namespaces ahead of time: one takes the kernel as long as starting a program does. Each is used once, by one sandbox. They belong to
// this process's user namespace, so that they are for sandboxes whose jobs have no capability over theirs.
//
// Making one is a single system call that keeps its CPU to itself, so that whoever has been woken on that CPU waits for the whole of it. So they are made when nothing
// else is going on.
type nets struct {
	traffic *traffic

	mu       sync.Mutex
	spare    []int
	home     int  // the network namespace of this process; 0: not open yet
	clock    int  // a timer that wakes the thread which makes them; 0: there is none yet
	filling  bool // there are to be more
	lastTake time.Time
}

const (
	// spareNets is how many are kept ready while sandboxes are being made, and for netsIdle after the last.
	spareNets = 4
	netsIdle  = 30 * time.Second
	// netsDelay is how soon after one has been taken the next is made at the latest if nothing goes on: a sandbox is made, and most often something runs in it at once. The end of a sandbox is a better
	// moment, see calm.
	netsDelay = 10 * time.Millisecond
	// netsPoll is how often is looked whether anything is going on, and netsPatience how often one is put off for that. Where none is left, none is put off.
	netsPoll     = 10 * time.Millisecond
	netsPatience = 5
	// netsHurry is how soon one is made where none is left.
	netsHurry = 500 * time.Microsecond
)

// take returns a network namespace that nobody has been in, with its loopback up, and the one of this process. The caller owns the first descriptor.
func (n *nets) take() (fd, home int, err error) {
	n.mu.Lock()
	if n.home == 0 {
		if n.home, err = launch.Home("net"); err != nil {
			n.home = 0
			n.mu.Unlock()
			return -1, -1, &stageError{"network", "open", "/proc/thread-self/ns/net", err}
		}
	}
	n.lastTake, home, fd = time.Now(), n.home, -1
	if last := len(n.spare) - 1; last >= 0 {
		fd, n.spare = n.spare[last], n.spare[:last]
	}
	n.moreLater()
	n.mu.Unlock()
	if fd < 0 {
		fd, err = makeNet(home)
	}
	return fd, home, err
}

// moreLater has what is missing made soon. The caller holds the lock.
func (n *nets) moreLater() {
	if n.filling {
		return
	}
	if n.clock == 0 {
		fd, err := unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_CLOEXEC)
		if err != nil {
			return // each is made when it is needed
		}
		n.clock = fd
		go n.tend(fd, n.home)
	}
	n.filling = true
	if len(n.spare) == 0 {
		n.wakeIn(netsHurry)
		return
	}
	n.wakeIn(netsDelay)
}

// calm is told that a sandbox has ended: if nothing else is asked for a moment something is made, which had better be over when something is.
func (n *nets) calm() {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.filling && n.clock != 0 {
		n.wakeIn(lull)
	}
}

// wakeIn sets the clock. The caller holds the lock.
func (n *nets) wakeIn(d time.Duration) {
	_ = unix.TimerfdSettime(n.clock, 0, &unix.ItimerSpec{Value: unix.NsecToTimespec(int64(max(d, 1)))}, nil)
}

// tend makes namespaces, one at a time, each at a moment at which nothing else is going on, or when it has been put off for long. It is a thread that waits for its own
// timer: the runtime's would have other threads wake up for it. It ends with the last of them.
func (n *nets) tend(clock, home int) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	for put := 0; ; {
		var ticks [8]byte
		if _, err := unix.Read(clock, ticks[:]); err != nil && err != unix.EINTR {
			return
		}
		n.mu.Lock()
		since, missing := time.Since(n.lastTake), spareNets-len(n.spare)
		switch {
		case since >= netsIdle: // no sandbox has been made for a while
			closeFDs(append(n.spare, clock))
			n.spare, n.clock, n.filling = nil, 0, false
			n.mu.Unlock()
			return
		case missing <= 0:
			n.filling = false
			n.wakeIn(netsIdle - since)
		case put < netsPatience && len(n.spare) > 0 && !n.traffic.quiet():
			put++
			n.wakeIn(netsPoll)
		default:
			put = 0
			n.mu.Unlock()
			fd, err := makeNet(home)
			n.mu.Lock()
			if err == nil {
				n.spare = append(n.spare, fd)
				n.wakeIn(lull)
			} else {
				n.filling = false // whoever needs one is told why there can be none
			}
		}
		n.mu.Unlock()
	}
}

func closeFDs(fds []int) {
	for _, fd := range fds {
		_ = unix.Close(fd)
	}
}

// makeNet makes a network namespace, on this thread, which is in it for that time.
func makeNet(home int) (fd int, err error) {
	err = launch.Away(home, unix.CLONE_NEWNET, func() (err error) {
		fd, err = newNet()
		return err
	})
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
