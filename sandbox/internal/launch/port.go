//go:build linux

package launch

import (
	"sync"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Port is where the processes that stand ready in a sandbox, one after the other, receive the rest of their plans (Ready): a pair of sockets. Each of them has the far end while it waits; the near end is where a packet is
// put for it, by this process or by another that has a copy of it, and where the other one finds what is offered (Ready.Offer).
//
// A packet has addresses in it that are one process's alone, and may be on its way for any length of time: whoever has taken an offer may be stopped before he sends it. So it must never wait for another
// process than that which it is for. Therefore at most one process has a port at a time, and another may have it only if it is known that nothing is on its way and nothing will be: nobody was told of the last one, or
// it is certain that it has received its packet, of which there is only one, or who had the right to send it has said that he has not and will not. Whatever the reason that this is not known the port is dead then, for good:
// what is in it is thrown away, and what is sent to it after that fails (EPIPE).
type Port struct {
	mu        sync.Mutex
	near, far int
	held      bool // by a process
	dead      bool // for whoever comes next
}

// NewPort makes one, which the caller closes.
func NewPort() (*Port, error) {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	return &Port{near: pair[0], far: pair[1]}, nil
}

// Near is the near end, which stays the port's. It is good while a process that is armed has the port.
func (p *Port) Near() int { return p.near }

// Usable tells whether a process can have it.
func (p *Port) Usable() bool {
	if p == nil {
		return false
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return !p.held && !p.dead
}

// Close ends the port, if a process has it when that has it no longer.
func (p *Port) Close() {
	if p == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.dead = true
	p.bury()
}

// take has the port be one process's.
func (p *Port) take() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.held || p.dead {
		return false
	}
	if !isEmpty(p.near) || !isEmpty(p.far) { // which never happens, see Port
		p.dead = true
		p.bury()
		return false
	}
	p.held = true
	return true
}

// leave ends that. clean says that nothing which was sent to the process, or may yet be, can come to another.
func (p *Port) leave(clean bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.held = false
	p.dead = p.dead || !clean
	p.bury()
}

// bury gives back the sockets of a port that is nobody's any more. It is shut first, since a launch may have a copy of the far end for a moment, and what had come until then taken out, since it has descriptors of the sender's.
func (p *Port) bury() {
	if p.held || !p.dead || p.near < 0 {
		return
	}
	if p.far >= 0 {
		_ = unix.Shutdown(p.far, unix.SHUT_RDWR)
		for takeFrom(p.far) {
		}
	}
	_ = unix.Close(p.near)
	closeFD(p.far)
	p.near, p.far = -1, -1
}

// newPortForOne is a port that one process has, and none after it.
func newPortForOne() (*Port, error) {
	p, err := NewPort()
	if err == nil {
		p.held, p.dead = true, true
	}
	return p, err
}

// leaveFar leaves the far end to the process that has it.
func (p *Port) leaveFar() {
	p.mu.Lock()
	defer p.mu.Unlock()
	closeFD(p.far)
	p.far = -1
}

// receive takes a message from a socket, or with MSG_PEEK looks whether there is one. Of the message nothing is kept: descriptors are closed.
func receive(sock, flags int) (n int, err error) {
	var b [1]byte
	for {
		n, _, errno := unix.RawSyscall6(unix.SYS_RECVFROM, uintptr(sock), uintptr(unsafe.Pointer(&b[0])), 1, uintptr(flags|unix.MSG_DONTWAIT), 0, 0)
		switch errno {
		case unix.EINTR:
			continue
		case 0:
			return int(n), nil
		}
		return 0, errno
	}
}

// takeFrom tells whether there was a message, which then is no other's.
func takeFrom(sock int) bool {
	n, err := receive(sock, 0)
	return err == nil && n > 0
}

func isEmpty(sock int) bool {
	_, err := receive(sock, unix.MSG_PEEK)
	return err == unix.EAGAIN
}
