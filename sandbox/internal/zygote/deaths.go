//go:build linux

package zygote

import (
	"os"
	"sync"

	"github.com/belljar-go/belljar/sandbox/internal/launch"
	"github.com/belljar-go/belljar/sandbox/internal/wire"
	"golang.org/x/sys/unix"
)

// deaths notices that a sandbox's PID 1 has ended without having been asked to. One thread waits for those of all sandboxes; whoever takes a sandbox down
// says so first and waits himself, so that nobody else is woken.
type deaths struct {
	once sync.Once
	err  error
	poll int // epoll

	mu    sync.Mutex
	boxes map[int32]*box // by the descriptor of PID 1
}

// watch has died called when the box's PID 1 ends.
func (d *deaths) watch(b *box, died func(*box)) error {
	d.once.Do(func() { d.start(died) })
	if d.err != nil {
		return os.NewSyscallError("epoll_create1", d.err)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	fd := int32(b.init.fd)
	if err := unix.EpollCtl(d.poll, unix.EPOLL_CTL_ADD, int(fd), &unix.EpollEvent{Events: unix.EPOLLIN, Fd: fd}); err != nil {
		return os.NewSyscallError("epoll_ctl", err)
	}
	d.boxes[fd] = b
	return nil
}

// forget undoes watch. It comes before the descriptor is closed.
func (d *deaths) forget(b *box) {
	d.drop(int32(b.init.fd), b)
}

func (d *deaths) drop(fd int32, b *box) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.boxes[fd] == b {
		delete(d.boxes, fd)
		_ = unix.EpollCtl(d.poll, unix.EPOLL_CTL_DEL, int(fd), nil)
	}
}

func (d *deaths) start(died func(*box)) {
	d.boxes = map[int32]*box{}
	if d.poll, d.err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); d.err != nil {
		return
	}
	go func() {
		events := make([]unix.EpollEvent, 16)
		for {
			n, err := unix.EpollWait(d.poll, events, -1)
			if err != nil && err != unix.EINTR {
				fatal(os.NewSyscallError("epoll_wait", err)) // it would not be noticed when sandboxes end
			}
			for _, e := range events[:max(n, 0)] {
				d.mu.Lock()
				b := d.boxes[e.Fd]
				d.mu.Unlock()
				if b != nil && b.reap() { // the number may have been another's
					d.drop(e.Fd, b)
					go died(b)
				}
			}
		}
	}()
}

// died tells the host program.
func (z *zygote) died(b *box) {
	b.spare.drop(true) // no command can be started any more, and the namespaces are to go
	b.mu.Lock()
	closing := b.closing
	b.mu.Unlock()
	if !closing {
		_ = z.conn.Send(wire.BoxEnded, 0, wire.Ended{Box: b.id, Status: uint32(b.status)}, nil, nil)
	}
}

// reap waits for PID 1 if it has ended, and tells whether it is gone.
func (b *box) reap() bool {
	b.reaping.Lock()
	defer b.reaping.Unlock()
	if b.reaped {
		return true
	}
	pid, err := launch.Wait(b.init.pid, &b.status, unix.WNOHANG, nil)
	b.reaped = err != nil || pid == b.init.pid
	return b.reaped
}
