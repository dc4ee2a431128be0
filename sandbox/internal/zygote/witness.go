//go:build linux

package zygote

import (
	"errors"
	"os"
	"strings"
	"sync"
	"unsafe"

	"github.com/belljar-go/belljar/cgroup"
	"golang.org/x/sys/unix"
)

// witness knows of network namespaces whether a socket has been made in them by which something could have been left or got out. What a socket has done is not to be seen afterwards: a datagram
// socket that was only connected leaves a cached route whose age RTM_GETROUTE tells, one that joined a group leaves a report that is sent later, and nobody counts either. So the kernel notes it when it
// happens: three small programs, which forbid nothing and change nothing, mark the namespace, by its cookie, in a table of those that are asked about.
//
//   - AF_INET and AF_INET6, of any type and protocol: at the end of inet_create and inet6_create (BPF_CGROUP_INET_SOCK_CREATE), before the caller has the socket.
//   - AF_UNIX that is connected or sends to an address (BPF_CGROUP_UNIX_CONNECT and _SENDMSG, Linux 6.7, which is what this takes): over one that reaches somebody outside a descriptor of a file below
//     /proc/self/net can be sent, which goes on telling of the namespace whoever is in it (proc(5): such a file holds its namespace).
//
// They are attached to a group of v2 of this process's own, which all commands that count are in or below (see groups.noting), by links that go with the last descriptor, so with this process. Nobody else's sockets come by them.
// (Whoever is allowed to move processes out of that group could have them unnoted: he could rid them of their limits as well.)
// Where they cannot be attached nothing is known, and no namespace is used twice.
type witness struct {
	where func() (dir string, undo func(), err error) // gives the group, which undo is told is not needed; errNotYet

	tried bool // by the thread that calls begin

	mu    sync.Mutex
	dir   string // of the group; "": there are no programs
	table int
	held  []int // the table and the links
}

// witnessRoom is how many namespaces it can be asked about at once. Others are not used again.
const witnessRoom = 4096

// The attach types which golang.org/x/sys has no names for yet, and the helper (linux/bpf.h).
const (
	bpfUnixConnect    = 49
	bpfUnixSendmsg    = 50
	bpfGetNetnsCookie = 122
)

// errNotYet says that there is no group yet.
var errNotYet = errors.New("no sandbox has had a group")

// begin has sockets noted from now on, if that is possible. One thread calls it; nobody else waits for it meanwhile.
func (w *witness) begin() {
	if w.tried || w.where == nil {
		return
	}
	dir, undo, err := w.where()
	if w.tried = err != errNotYet; err != nil {
		return
	}
	table, held, err := attachTo(dir)
	if err != nil {
		closeFDs(held)
		undo()
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.dir, w.table, w.held = dir, table, held
}

// attachTo loads the programs and attaches them to a group. What is held is to be closed, also after an error.
func attachTo(dir string) (table int, held []int, err error) {
	if unsafe.Sizeof(uintptr(0)) != 8 {
		return -1, nil, unix.ENOSYS // the kernel's structs are laid out here as 64-bit machines do
	}
	group, err := unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, nil, os.NewSyscallError("open", err)
	}
	defer unix.Close(group)
	if table, err = bpfCreateTable(witnessRoom); err != nil {
		return -1, nil, err
	}
	held = append(held, table)
	for _, p := range []struct{ kind, at uint32 }{
		{unix.BPF_PROG_TYPE_CGROUP_SOCK, unix.BPF_CGROUP_INET_SOCK_CREATE},
		{unix.BPF_PROG_TYPE_CGROUP_SOCK_ADDR, bpfUnixConnect},
		{unix.BPF_PROG_TYPE_CGROUP_SOCK_ADDR, bpfUnixSendmsg},
	} {
		prog, err := bpfLoad(p.kind, p.at, markProgram(table))
		if err != nil {
			return -1, held, err
		}
		link, err := bpfLink(prog, group, p.at)
		_ = unix.Close(prog)
		if err != nil {
			return -1, held, err
		}
		held = append(held, link)
	}
	return table, held, nil
}

// close ends it for good.
func (w *witness) close() {
	w.mu.Lock()
	defer w.mu.Unlock()
	closeFDs(w.held)
	w.held, w.dir, w.tried = nil, "", true
}

// add has a namespace watched in which nobody is yet.
func (w *witness) add(cookie uint64) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.dir != "" && cookie != 0 && bpfPut(w.table, cookie) == nil
}

// clean tells whether nothing has been noted of a namespace since it was added.
func (w *witness) clean(cookie uint64) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.dir == "" {
		return false
	}
	mark, err := bpfGet(w.table, cookie)
	return err == nil && mark == 0
}

// forget is told that a namespace is not asked about any more.
func (w *witness) forget(cookie uint64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.dir != "" && cookie != 0 {
		_ = bpfDelete(w.table, cookie)
	}
}

// covers tells whether all commands of a sandbox have been where the programs are called for them: in groups of v2 below that of the programs or, where the sandbox's are all of v1, in that one, into which they then have
// been cloned.
func (w *witness) covers(group *cgroup.Manager, noted bool) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.dir == "" || group == nil {
		return false
	}
	if dir := unifiedDir(group.Describe().Dirs); dir != "" {
		return strings.HasPrefix(dir+"/", w.dir+"/")
	}
	return noted
}
