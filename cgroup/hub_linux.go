package cgroup

import (
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// hub waits for all watches of this process, with one epoll instance and one
// goroutine. It is there while there are watches.
type hub struct {
	file *os.File // the epoll instance, known to the runtime's poller
	raw  syscall.RawConn

	mu      sync.Mutex
	ep      int
	next    uint64
	sources map[uint64]*source
	watches map[*watch]struct{}
	round   *time.Timer // the next look at what the kernel gives no notice of
}

var theHub struct {
	sync.Mutex
	*hub
}

// lookEvery is how often v1 groups are looked at.
const lookEvery = 50 * time.Millisecond

func newHub() (*hub, error) {
	ep, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, &Error{Op: "epoll_create", Path: "events", Err: err}
	}
	if err := unix.SetNonblock(ep, true); err != nil {
		unix.Close(ep)
		return nil, &Error{Op: "fcntl", Path: "events", Err: err}
	}
	h := &hub{ep: ep, sources: make(map[uint64]*source), watches: make(map[*watch]struct{}), file: os.NewFile(uintptr(ep), "cgroup events")}
	if h.raw, err = h.file.SyscallConn(); err != nil {
		h.file.Close()
		return nil, err
	}
	go h.wait()
	return h, nil
}

// attach has the hub wait for a watch's sources. The caller holds w.mu.
func attach(w *watch) (err error) {
	theHub.Lock()
	defer theHub.Unlock()
	if theHub.hub == nil {
		if theHub.hub, err = newHub(); err != nil {
			return err
		}
	}
	h := theHub.hub
	h.mu.Lock()
	defer h.mu.Unlock()
	h.watches[w] = struct{}{}
	for _, s := range w.sources {
		if s.events == 0 {
			continue
		}
		h.next++
		s.token = h.next
		if err = h.control(unix.EPOLL_CTL_ADD, s); err != nil {
			h.remove(w)
			return &Error{Op: "epoll_ctl", Path: w.ps.main().Path, Err: err}
		}
		h.sources[s.token] = s
	}
	if w.looks && h.round == nil {
		h.round = time.AfterFunc(lookEvery, h.lookRound)
	}
	return nil
}

func (h *hub) control(op int, s *source) error {
	// By edges: whoever is woken reads everything.
	ev := unix.EpollEvent{Events: s.events | unix.EPOLLET, Fd: int32(uint32(s.token)), Pad: int32(uint32(s.token >> 32))}
	return retry(func() error { return unix.EpollCtl(h.ep, op, s.fd, &ev) })
}

// rearm lets a source with EPOLLONESHOT tell again. The caller holds w.mu.
func rearm(s *source) {
	theHub.Lock()
	defer theHub.Unlock()
	if h := theHub.hub; h != nil {
		_ = h.control(unix.EPOLL_CTL_MOD, s)
	}
}

// detach undoes attach. The caller holds w.mu and closes the descriptors.
func detach(w *watch) {
	theHub.Lock()
	defer theHub.Unlock()
	if h := theHub.hub; h != nil {
		h.mu.Lock()
		h.remove(w)
		h.mu.Unlock()
	}
}

// remove forgets a watch, and ends the hub after the last. Both locks are
// held.
func (h *hub) remove(w *watch) {
	if _, ok := h.watches[w]; !ok {
		return
	}
	delete(h.watches, w)
	for _, s := range w.sources {
		if _, ok := h.sources[s.token]; ok {
			_ = h.control(unix.EPOLL_CTL_DEL, s)
			delete(h.sources, s.token)
		}
	}
	if len(h.watches) > 0 {
		return
	}
	if h.round != nil {
		h.round.Stop()
	}
	h.file.Close()
	theHub.hub = nil
}

// wait hands out the kernel's signals until the hub is closed.
func (h *hub) wait() {
	var list [64]unix.EpollEvent
	for {
		n := 0
		err := h.raw.Read(func(fd uintptr) bool {
			var err error
			n, err = unix.EpollWait(int(fd), list[:], 0)
			return n > 0 || err != nil && err != unix.EINTR
		})
		if err != nil {
			return
		}
		for _, ev := range list[:max(n, 0)] {
			h.mu.Lock()
			s := h.sources[uint64(uint32(ev.Fd))|uint64(uint32(ev.Pad))<<32]
			h.mu.Unlock()
			if s != nil {
				s.fired(ev.Events)
			}
		}
	}
}

// lookRound looks at every group of which the kernel does not tell all, and
// comes back after a time that is long against what it took.
func (h *hub) lookRound() {
	begin := time.Now()
	h.mu.Lock()
	var watches []*watch
	for w := range h.watches {
		if w.looks {
			watches = append(watches, w)
		}
	}
	h.mu.Unlock()
	for _, w := range watches {
		w.update()
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.round = nil
	if len(watches) > 0 && len(h.watches) > 0 {
		h.round = time.AfterFunc(max(lookEvery, 100*time.Since(begin)), h.lookRound)
	}
}
