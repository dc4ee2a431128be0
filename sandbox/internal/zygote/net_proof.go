//go:build linux

package zygote

import (
	"strings"
	"unsafe"

	"github.com/belljar-go/belljar/cgroup"
	"github.com/belljar-go/belljar/sandbox/internal/launch"
	"golang.org/x/sys/unix"
)

// netns is a network namespace for sandboxes, which may serve one after the other. That takes proof that a job has left nothing in it for the next one to see, and has got nothing out by which somebody
// could see the next one. A job that may have it (Reuse says so: one of an unprivileged user namespace, with no capability and under a filter of this library's own) has no power over the namespace, which
// belongs to this process's user namespace; it can only make sockets, AF_UNIX, AF_INET or AF_INET6, and open what /proc tells. So four things are enough:
//
//   - No process of the sandbox is left: its PID namespace is gone.
//   - The witness has seen no socket of the internet's and none of AF_UNIX that was connected or sent to an address. Without the first no packet was sent, no port, group, label or route taken, and nothing
//     counted. Without the second nobody outside was given a descriptor, and nobody had a way to ask for one: the sandbox has nothing of the host's to write to, where others could find a socket of
//     its own, and it was handed no file that is a socket or could reach one (Kept says so).
//   - No socket is alive in it, of whatever family: "sockets: used" counts all that sk_alloc (net/core/sock.c) has made for user space in this namespace and __sk_free has not freed, so those of AF_UNIX which
//     lie in messages that nobody will receive, and wait for unix_gc, as well. All that AF_UNIX has in a namespace is its table of bound names, out of which a socket that is freed has gone.
//   - The interfaces are those that it was made with, and no packet has passed through one: somebody on the host may have changed what he found, although nobody but root can find it.
type netns struct {
	fd     int
	cookie uint64          // 0: nothing has been noted of it
	looks  string          // what look said when it was new
	group  *cgroup.Manager // of the sandbox that had it last
	noted  bool            // whose commands were cloned into the witness' group
}

// unified is the directory of the group of v2 that a command with this leaf is cloned into; -1: that of this process.
func (b *box) unified(l *cgroup.Leaf) int {
	if fd := l.FD(); fd >= 0 {
		return fd
	}
	if b.astray.Load() {
		return -1
	}
	return b.noted
}

// netCookie is the kernel's number of the namespace that a socket is in, which no other ever has (SO_NETNS_COOKIE, Linux 5.14); 0: it tells none.
func netCookie(socket int) (cookie uint64) {
	size := uint32(unsafe.Sizeof(cookie))
	_, _, errno := unix.Syscall6(unix.SYS_GETSOCKOPT, uintptr(socket), unix.SOL_SOCKET, unix.SO_NETNS_COOKIE, uintptr(unsafe.Pointer(&cookie)), uintptr(unsafe.Pointer(&size)), 0)
	if errno != 0 {
		return 0
	}
	return cookie
}

// begin has everything noted from now on, if it can be. This thread is in the namespace, which is new.
func (ns *netns) begin(w *witness) {
	if ns.cookie == 0 || !w.add(ns.cookie) {
		ns.cookie = 0
		return
	}
	if ns.looks = look(); ns.looks == "" {
		w.forget(ns.cookie)
		ns.cookie = 0
	}
}

// prove tells whether a namespace is as it was when it was new; otherwise it has been closed. All who were in it are gone.
func (n *nets) prove(ns *netns, home int) bool {
	same := n.witness.clean(ns.cookie) && n.witness.covers(ns.group, ns.noted) && launch.Away(home, unix.CLONE_NEWNET, func() error {
		if err := unix.Setns(ns.fd, unix.CLONE_NEWNET); err != nil {
			return err
		}
		if look() != ns.looks {
			return unix.EBUSY
		}
		return nil
	}) == nil
	if ns.group = nil; !same {
		n.drop(ns)
	}
	n.mu.Lock()
	n.returns = same
	n.mu.Unlock()
	return same
}

// noSockets is how sockstat begins where there are none.
const noSockets = "sockets: used 0\n"

// look is what is to be seen of this thread's network namespace: its interfaces and what has passed through them; "" if there is a socket in it.
func look() string {
	if sockets, err := readOnce("/proc/thread-self/net/sockstat"); err != nil || !strings.HasPrefix(sockets, noSockets) {
		return ""
	}
	interfaces, err := readOnce("/proc/thread-self/net/dev")
	if err != nil {
		return ""
	}
	return interfaces
}

// readOnce reads a file that fits into a page; what does not is an error.
func readOnce(path string) (string, error) {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return "", err
	}
	defer unix.Close(fd)
	var buf [4096]byte
	for n := 0; n < len(buf); {
		m, err := unix.Read(fd, buf[n:])
		if err != nil {
			return "", err
		}
		if n += m; m == 0 {
			return string(buf[:n]), nil
		}
	}
	return "", unix.E2BIG
}
