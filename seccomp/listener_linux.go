package seccomp

import (
	"context"
	"errors"
	"os"
	"sync"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// listener is a filter's listener (seccomp_unotify(2)).
type listener struct {
	raw syscall.RawConn
}

// The structures of linux/seccomp.h.
type (
	notif struct {
		id    uint64
		tid   uint32
		flags uint32
		data  struct {
			number uint32
			arch   uint32
			ip     uint64
			args   [6]uint64
		}
	}
	notifResp struct {
		id    uint64
		value int64
		errno int32
		flags uint32
	}
	notifAddFD struct {
		id       uint64
		flags    uint32
		src      uint32
		dst      uint32
		dstFlags uint32
	}
)

const (
	ioctlIDValid = 0x40082102 // SECCOMP_IOCTL_NOTIF_ID_VALID, Linux 5.0; the direction was corrected in 5.10
	ioctlAddFD   = 0x40182103 // SECCOMP_IOCTL_NOTIF_ADDFD, Linux 5.9; with SECCOMP_ADDFD_FLAG_SEND, Linux 5.14
)

// notifSize is how much the running kernel writes for a call, which may be more than this package knows.
var notifSize = sync.OnceValue(func() uintptr {
	var sizes struct{ notif, resp, data uint16 }
	_, _, e := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_GET_NOTIF_SIZES, 0, uintptr(unsafe.Pointer(&sizes)))
	if e != 0 {
		return unsafe.Sizeof(notif{})
	}
	return max(uintptr(sizes.notif), unsafe.Sizeof(notif{}))
})

func newListener(f *os.File) (*listener, error) {
	raw, err := f.SyscallConn()
	if err != nil {
		return nil, err
	}
	// Go's poller waits for it, not a thread in the kernel: SECCOMP_IOCTL_NOTIF_RECV would stay there when the last process ends
	// (before Linux 6.11), and no descriptor's flag or deadline ends it.
	if err := f.SetReadDeadline(time.Time{}); err != nil {
		return nil, err
	}
	return &listener{raw: raw}, nil
}

// errUnused says that no process is under the filter.
var errUnused = errors.New("filter has no process")

// receive waits for a call. It is called by one goroutine only: a call that the poller has seen can be withdrawn, but nobody else
// can have taken it, so the request does not block.
func (l *listener) receive() (c Call, id uint64, err error) {
	rerr := l.raw.Read(func(fd uintptr) bool {
		for {
			fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
			n, perr := unix.Poll(fds, 0)
			switch {
			case perr == unix.EINTR:
				continue
			case perr != nil:
				err = perr
				return true
			case n == 0:
				return false
			case fds[0].Revents&unix.POLLIN != 0:
			case fds[0].Revents&(unix.POLLHUP|unix.POLLERR|unix.POLLNVAL) != 0:
				err = errUnused // Linux 5.9
				return true
			default:
				return false
			}
			buf := make([]uint64, (notifSize()+7)/8) // zeroed, or the kernel refuses it
			_, _, e := unix.Syscall(unix.SYS_IOCTL, fd, unix.SECCOMP_IOCTL_NOTIF_RECV, uintptr(unsafe.Pointer(&buf[0])))
			switch e {
			case 0:
				n := (*notif)(unsafe.Pointer(&buf[0]))
				c = Call{Arch: Arch(n.data.arch), Number: n.data.number, Args: n.data.args, IP: n.data.ip, TID: int(n.tid)}
				id = n.id
				return true
			case unix.EINTR, unix.ENOENT: // withdrawn: its thread has been killed, or taken a signal
			default:
				err = e
				return true
			}
		}
	})
	switch {
	case errors.Is(rerr, os.ErrDeadlineExceeded):
		err = rerr
	case rerr != nil:
		err = os.ErrClosed // what the file says, internal/poll.ErrFileClosing, is not that
	}
	return c, id, err
}

// ended turns what receive says at the end into what Serve does.
func (l *listener) ended(ctx context.Context, err error) error {
	if ctx.Err() != nil || errors.Is(err, errUnused) || errors.Is(err, os.ErrClosed) {
		return nil
	}
	return err
}

func (l *listener) ioctl(request, arg uintptr) error {
	err := error(os.ErrClosed)
	if cerr := l.raw.Control(func(fd uintptr) {
		for {
			_, _, e := unix.Syscall(unix.SYS_IOCTL, fd, request, arg)
			if e == unix.EINTR {
				continue
			}
			if err = nil; e != 0 {
				err = e
			}
			return
		}
	}); cerr != nil {
		return os.ErrClosed
	}
	return err
}

// valid tells whether the call still waits: what was done with its thread's ID since it was received was done to that thread.
func (l *listener) valid(id uint64) bool {
	return l.ioctl(ioctlIDValid, uintptr(unsafe.Pointer(&id))) == nil
}

// send answers a call.
func (l *listener) send(id uint64, a Answer) error {
	if a.kind == answerInject {
		return l.inject(id, a)
	}
	resp := notifResp{id: id}
	switch a.kind {
	case answerContinue:
		resp.flags = unix.SECCOMP_USER_NOTIF_FLAG_CONTINUE // Linux 5.5
	case answerReturn:
		resp.value = a.value
	default:
		resp.errno = -int32(a.refusal())
	}
	return l.ioctl(unix.SECCOMP_IOCTL_NOTIF_SEND, uintptr(unsafe.Pointer(&resp)))
}

// inject gives the program a descriptor and answers with its number, in one step: a call that is withdrawn between two would leave a
// descriptor that the program knows nothing of.
func (l *listener) inject(id uint64, a Answer) error {
	if a.file == nil {
		return unix.EBADF
	}
	raw, err := a.file.SyscallConn()
	if err != nil {
		return err
	}
	cerr := raw.Control(func(fd uintptr) {
		add := notifAddFD{id: id, flags: unix.SECCOMP_ADDFD_FLAG_SEND, src: uint32(fd), dstFlags: unix.O_CLOEXEC}
		if a.keep {
			add.dstFlags = 0
		}
		err = l.ioctl(ioctlAddFD, uintptr(unsafe.Pointer(&add)))
	})
	if cerr != nil {
		return cerr
	}
	return err
}
