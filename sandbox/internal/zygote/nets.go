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

// nets makes network namespaces ahead of time: one takes the kernel as long as starting a program does, and as long again to take apart. They belong to
// this process's user namespace, so that they are for sandboxes whose jobs have no capability over theirs. One in which nothing has happened, see net_proof.go, serves another sandbox after the first.
//
// Making one is a single system call that keeps its CPU to itself, so that whoever has been woken on that CPU waits for the whole of it. So they are made when nothing
// else is going on.
type nets struct {
	traffic *traffic
	witness witness

	mu       sync.Mutex
	spare    []*netns
	used     []*netns // that are to be proven, of sandboxes that are gone
	coming   int      // how many tend is about to add to spare: 0 or 1
	taken    int
	returns  bool // the last that was used could be used again
	home     int  // the network namespace of this process; 0: not open yet
	clock    int  // a timer that wakes the thread which makes them; 0: there is none yet
	filling  bool // there are to be more
	lastTake time.Time
}

const (
	// spareNets is how many are kept ready while sandboxes are being made, and for netsIdle after the last.
	spareNets = 4
	netsIdle  = 30 * time.Second
	// mostNets bounds those kept in all: what has been used is as good for the next as what is made.
	mostNets = 2 * spareNets
	// netsDelay is how soon after one has been taken the next is made at the latest if nothing goes on: a sandbox is made, and most often something runs in it at once. The end of a sandbox is a better
	// moment, see calm.
	netsDelay = 10 * time.Millisecond
	// netsPoll is how often is looked whether anything is going on, and netsPatience how often one is put off for that. Where none is left, none is put off.
	netsPoll     = 10 * time.Millisecond
	netsPatience = 5
	// netsHope is how long one that is out is waited for before another is made in its place, where those that were out have come back as good as new and there are some left.
	netsHope = 200 * time.Millisecond
	// netsHurry is how soon one is made where none is left.
	netsHurry = 500 * time.Microsecond
)

// take returns a network namespace with its loopback up that is as if nobody had been in it, and the descriptor of this process's. The caller owns the first, and gives it back or closes it.
func (n *nets) take() (ns *netns, home int, err error) {
	n.mu.Lock()
	if n.home == 0 {
		if n.home, err = launch.Home("net"); err != nil {
			n.home = 0
			n.mu.Unlock()
			return nil, -1, &stageError{"network", "open", "/proc/thread-self/ns/net", err}
		}
	}
	n.lastTake, home = time.Now(), n.home
	n.taken++
	ns = pop(&n.spare)
	n.moreLater()
	n.mu.Unlock()
	for ns == nil {
		n.mu.Lock()
		used := pop(&n.used)
		n.mu.Unlock()
		if used == nil {
			ns, err = makeNet(home, &n.witness)
			return ns, home, err
		}
		if n.prove(used, home) {
			ns = used
		}
	}
	return ns, home, nil
}

func pop(list *[]*netns) *netns {
	last := len(*list) - 1
	if last < 0 {
		return nil
	}
	ns := (*list)[last]
	*list = (*list)[:last]
	return ns
}

// back takes over the namespace of a sandbox all of whose processes are gone. Whether another may have it, if the first may have left nothing there by what it was, is found out later.
func (n *nets) back(ns *netns, may bool) {
	n.mu.Lock()
	room := n.clock != 0 && len(n.spare)+len(n.used)+n.coming < mostNets
	if may && room {
		n.used = append(n.used, ns)
	}
	n.mu.Unlock()
	if !may || !room {
		n.drop(ns)
	}
}

func (n *nets) drop(ns *netns) {
	n.witness.forget(ns.cookie)
	_ = unix.Close(ns.fd)
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
			for _, ns := range append(n.spare, n.used...) {
				n.drop(ns)
			}
			_ = unix.Close(clock)
			n.spare, n.used, n.clock, n.filling = nil, nil, 0, false
			n.mu.Unlock()
			return
		case missing <= 0:
			n.filling = false
			n.wakeIn(netsIdle - since)
		case since < netsHope && n.returns && len(n.spare) > 1 && len(n.used) == 0:
			n.wakeIn(netsHope - since)
		case put < netsPatience && len(n.spare) > 0 && !n.traffic.quiet():
			put++
			n.wakeIn(netsPoll)
		default:
			put = 0
			ns := pop(&n.used)
			n.coming = 1
			begin := n.taken > 1 // for a single sandbox it is not worth the while
			n.mu.Unlock()
			ns, err := n.next(ns, home, begin)
			n.mu.Lock()
			n.coming = 0
			if ns != nil {
				n.spare = append(n.spare, ns)
			}
			if err != nil {
				n.filling = false // whoever needs one is told why there can be none
			} else {
				n.wakeIn(lull)
			}
		}
		n.mu.Unlock()
	}
}

// next is a used one, if it is found to be as good as new, or a new one where there is none. Both are nil if it is not.
func (n *nets) next(used *netns, home int, begin bool) (*netns, error) {
	if used == nil {
		if begin {
			n.witness.begin()
		}
		return makeNet(home, &n.witness)
	}
	if !n.prove(used, home) {
		return nil, nil
	}
	return used, nil
}

func closeFDs(fds []int) {
	for _, fd := range fds {
		_ = unix.Close(fd)
	}
}

// makeNet makes a network namespace, on this thread, which is in it for that time.
func makeNet(home int, w *witness) (ns *netns, err error) {
	err = launch.Away(home, unix.CLONE_NEWNET, func() (err error) {
		ns, err = newNet(w)
		return err
	})
	return ns, err
}

// newNet moves the thread to a new network namespace, brings its loopback up, which a new one has down, and returns its descriptor.
func newNet(w *witness) (*netns, error) {
	fail := func(op, path string, err error) (*netns, error) {
		return nil, &stageError{"network", op, path, err}
	}
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		return fail("unshare", "CLONE_NEWNET", err)
	}
	s, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fail("socket", "lo", err)
	}
	var req [40]byte // struct ifreq
	copy(req[:], "lo")
	req[16] = unix.IFF_UP | unix.IFF_RUNNING
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(s), unix.SIOCSIFFLAGS, uintptr(unsafe.Pointer(&req)))
	ns := &netns{cookie: netCookie(s)}
	_ = unix.Close(s)
	if errno != 0 {
		return fail("ioctl", "lo", errno)
	}
	if ns.fd, err = unix.Open("/proc/thread-self/ns/net", unix.O_RDONLY|unix.O_CLOEXEC, 0); err != nil {
		return fail("open", "/proc/thread-self/ns/net", err)
	}
	ns.begin(w) // no more sockets of ours from here on
	return ns, nil
}
