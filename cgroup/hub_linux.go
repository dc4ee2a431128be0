package cgroup

import (
	"encoding/binary"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// hub waits for all watches of this process, with one epoll instance and one
// goroutine. It is there while there are watches.
//
// The goroutine blocks in epoll_wait, so it has a thread. The runtime's poller
// would not do: it would poll this instance from its own, whereby the
// kernel polls what is in here, and a PSI trigger forgets its event when it is polled
// (psi_trigger_poll in kernel/sched/psi.c), before anybody has been told of it.
type hub struct {
	ep, wake int // wake is an eventfd that ends the wait

	mu      sync.Mutex
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
	wake, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		unix.Close(ep)
		return nil, &Error{Op: "eventfd", Path: "events", Err: err}
	}
	h := &hub{ep: ep, wake: wake, sources: make(map[uint64]*source), watches: make(map[*watch]struct{})}
	if err := h.control(unix.EPOLL_CTL_ADD, &source{fd: wake, events: unix.EPOLLIN}); err != nil {
		closeAll([]int{ep, wake})
		return nil, &Error{Op: "epoll_ctl", Path: "events", Err: err}
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
	one := binary.NativeEndian.AppendUint64(nil, 1)
	_, _ = unix.Write(h.wake, one)
	theHub.hub = nil
}

// wait hands out the kernel's signals until the hub is woken for its end, and gives its descriptors back.
func (h *hub) wait() {
	defer closeAll([]int{h.ep, h.wake})
	var list [64]unix.EpollEvent
	for {
		n, err := unix.EpollWait(h.ep, list[:], -1)
		if err != nil && err != unix.EINTR {
			return
		}
		for _, ev := range list[:max(n, 0)] {
			token := uint64(uint32(ev.Fd)) | uint64(uint32(ev.Pad))<<32
			if token == 0 {
				return
			}
			h.mu.Lock()
			s := h.sources[token]
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
