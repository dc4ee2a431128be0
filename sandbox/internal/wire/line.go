//go:build linux

package wire

import (
	"io"
	"os"
	"sync"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Line is a socket like that of a Conn for few and short messages, each of which is worth more than the Go scheduler's attention: its calls do not tell the runtime that they are made, so nobody else
// is woken to take their place. Nothing here blocks but Wait. One goroutine at a time may receive.
type Line struct {
	fd   int
	once sync.Once
	in   *lineInput // while something is received
	msg  Message
	call callRoom
}

// callRoom is what system calls point at, outside of any goroutine's stack.
type callRoom struct {
	head unix.Msghdr
	iov  unix.Iovec
	poll [1 + lineOthers]unix.PollFd
	left unix.Timespec
}

const (
	lineRoom  = 32 << 10
	lineFiles = 4
	// lineOthers is how many other descriptors can be waited for.
	lineOthers = 2
)

// lineInput is room for what is received.
type lineInput struct {
	buf [lineRoom]byte
	oob [64]byte
}

var lineInputs = sync.Pool{New: func() any { return &lineInput{} }}

// NewLine takes over fd, a SOCK_SEQPACKET socket.
func NewLine(fd int) *Line {
	return &Line{fd: fd}
}

// FD is the socket.
func (l *Line) FD() int { return l.fd }

// Close ends the connection. Nobody may use the line any more.
func (l *Line) Close() {
	if l != nil {
		l.once.Do(func() { _ = unix.Close(l.fd) })
	}
}

// LineHead is the head of a message whose rest somebody else sends.
func LineHead(kind Kind, id uint64, rest int) []byte {
	b := make([]byte, headSize)
	putHead(b, kind, id, 0, rest)
	return b
}

// Send sends a message that fits a packet, if it can be sent at once. files stay the caller's.
func (l *Line) Send(kind Kind, id uint64, v any, files []int) error {
	p, err := encode(make([]byte, headSize, 512), v)
	if err != nil {
		return err
	}
	if len(p) > lineRoom || len(files) > lineFiles {
		return unix.E2BIG
	}
	putHead(p, kind, id, len(p)-headSize, 0)
	var oob []byte
	if len(files) > 0 {
		oob = unix.UnixRights(files...)
	}
	for {
		if _, err = unix.SendmsgN(l.fd, p, oob, nil, unix.MSG_NOSIGNAL|unix.MSG_DONTWAIT); err != unix.EINTR {
			return os.NewSyscallError("sendmsg", err)
		}
	}
}

// Receive returns the next message, whose Body and Raw are good until the next call or Rest; nil: there is none; io.EOF: the other side is gone.
func (l *Line) Receive() (*Message, error) {
	c := &l.call
	if l.in == nil {
		l.in = lineInputs.Get().(*lineInput)
	}
	in := l.in
	for {
		c.iov = unix.Iovec{Base: &in.buf[0], Len: lineRoom}
		c.head = unix.Msghdr{Iov: &c.iov, Iovlen: 1, Control: &in.oob[0], Controllen: uint64(len(in.oob))}
		n, _, errno := unix.RawSyscall(unix.SYS_RECVMSG, uintptr(l.fd), uintptr(unsafe.Pointer(&c.head)), unix.MSG_CMSG_CLOEXEC|unix.MSG_DONTWAIT)
		switch {
		case errno == unix.EINTR:
			continue
		case errno == unix.EAGAIN:
			return nil, nil
		case errno == unix.ECONNRESET || errno == 0 && n == 0:
			return nil, io.EOF
		case errno != 0:
			return nil, os.NewSyscallError("recvmsg", errno)
		}
		m := &l.msg
		*m = Message{}
		if c.head.Controllen > 0 {
			m.Files = rights(in.oob[:c.head.Controllen])
		}
		if c.head.Flags&(unix.MSG_TRUNC|unix.MSG_CTRUNC) != 0 || !m.within(in.buf[:n]) {
			m.CloseFiles()
			return nil, ErrProtocol
		}
		return m, nil
	}
}

// Peek puts the packet that is the next to be received into b, and leaves it where it is; 0: there is none; io.EOF: there will be none any more. A packet that is longer than b is ErrProtocol, as one
// is for Take.
func (l *Line) Peek(b []byte) (int, error) { return l.take(b, unix.MSG_PEEK) }

// Take is Peek that receives the packet. Descriptors that come with it are closed.
func (l *Line) Take(b []byte) (int, error) { return l.take(b, 0) }

func (l *Line) take(b []byte, flags int) (int, error) {
	for {
		n, _, errno := unix.RawSyscall6(unix.SYS_RECVFROM, uintptr(l.fd), uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)), uintptr(flags|unix.MSG_DONTWAIT|unix.MSG_TRUNC), 0, 0)
		switch {
		case errno == unix.EINTR:
			continue
		case errno == unix.EAGAIN:
			return 0, nil
		case errno == unix.ECONNRESET || errno == 0 && n == 0:
			return 0, io.EOF
		case errno != 0:
			return 0, os.NewSyscallError("recvfrom", errno)
		case int(n) > len(b):
			return 0, ErrProtocol
		}
		return int(n), nil
	}
}

// Rest is for who does not receive for a while.
func (l *Line) Rest() {
	if l.in != nil {
		lineInputs.Put(l.in)
		l.in = nil
	}
}

// within is parse without a copy.
func (m *Message) within(p []byte) bool {
	nb, nr, ok := m.head(p)
	if !ok || p[2] != 0 || nb+nr != len(p)-headSize {
		return false
	}
	m.Body, m.Raw = p[headSize:headSize+nb:headSize+nb], p[headSize+nb:]
	return true
}

// Spin waits until there may be something to receive, at most for d, which has to be short: the thread keeps all that it has of the Go runtime meanwhile. It returns, with false, as soon as
// anything can be read from one of the others, of which there may be two.
func (l *Line) Spin(d time.Duration, others ...int) bool {
	return l.await(d, others, func(c *callRoom, n int) (int, syscall.Errno) {
		got, _, errno := unix.RawSyscall6(unix.SYS_PPOLL, uintptr(unsafe.Pointer(&c.poll)), uintptr(n), uintptr(unsafe.Pointer(&c.left)), 0, 8, 0)
		return int(got), errno
	})
}

// Wait is Spin for longer.
func (l *Line) Wait(d time.Duration, others ...int) bool {
	return l.await(d, others, func(c *callRoom, n int) (int, syscall.Errno) {
		got, _, errno := unix.Syscall6(unix.SYS_PPOLL, uintptr(unsafe.Pointer(&c.poll)), uintptr(n), uintptr(unsafe.Pointer(&c.left)), 0, 8, 0)
		return int(got), errno
	})
}

func (l *Line) await(d time.Duration, others []int, poll func(*callRoom, int) (int, syscall.Errno)) bool {
	for end := time.Now().Add(d); ; d = time.Until(end) {
		c := &l.call
		c.poll[0] = unix.PollFd{Fd: int32(l.fd), Events: unix.POLLIN}
		n := 1
		for _, fd := range others[:min(len(others), lineOthers)] {
			c.poll[n] = unix.PollFd{Fd: int32(fd), Events: unix.POLLIN}
			n++
		}
		c.left = unix.NsecToTimespec(int64(max(d, 0)))
		if _, errno := poll(c, n); errno != unix.EINTR {
			return errno == 0 && c.poll[0].Revents != 0
		} else if d <= 0 {
			return false
		}
	}
}
