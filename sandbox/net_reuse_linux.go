package sandbox

import (
	"reflect"
	"slices"
	"sync"
	"syscall"

	"github.com/belljar-go/belljar/rootfs"
	"github.com/belljar-go/belljar/seccomp"
	"golang.org/x/sys/unix"
)

// mayReuseNet tells whether the network namespace may serve another sandbox after this one, if the zygote finds that nothing has happened in it. What it goes by (internal/zygote/net_proof.go) is true of jobs
// that make no sockets but those of AF_UNIX and the internet's, have no power over the namespace, and nothing to write to that others see; a sandbox that is made otherwise keeps its own to itself.
func (e *engine) mayReuseNet() bool {
	s, ids := e.spec, e.ids.wire
	return e.setup.net && len(e.walls.filter) > 0 && knownPolicy(s.policy) && len(s.handlers) == 0 && // which sockets
		len(s.caps) == 0 && ids != nil && ids.Count > 0 && len(s.host.Kinds()) == 0 && !s.chroot && // what power
		s.parent == "" && // where the zygote sees them
		s.upper == "" && len(s.volumes) == 0 && s.view == ViewHost && !slices.ContainsFunc(s.ops, ofTheHost) // what to write to
}

// ofTheHost is false for what is made for the sandbox alone.
func ofTheHost(op rootfs.Op) bool {
	switch op.(type) {
	case rootfs.Tmpfs, rootfs.File, rootfs.Dir, rootfs.Symlink, rootfs.Mask, rootfs.ReadOnly:
		return false
	}
	return true
}

// knownPolicy tells whether a filter is one of those of which is known which sockets they let be made: seccomp.Default, Strict or Build.
func knownPolicy(p *seccomp.Policy) bool {
	if p == nil {
		return true
	}
	return slices.ContainsFunc(socketPolicies(), func(known seccomp.Policy) bool { return reflect.DeepEqual(*p, known) })
}

var socketPolicies = sync.OnceValue(func() []seccomp.Policy {
	return []seccomp.Policy{seccomp.Default(), seccomp.Strict(), seccomp.Build()}
})

// Who may know more of a sandbox than what belongs to it, or have something of it. Such a sandbox does not share its network namespace with a later one.
const (
	nobody int32 = iota
	somebody
	nobodyEver // it is ending, and the zygote is being told that it was nobody
)

// show notes that there is somebody. It is false if the sandbox is ending as one that nobody knew of: then it must not come to be.
func (e *engine) show() bool {
	return !e.reuseNet || e.known.CompareAndSwap(nobody, somebody) || e.known.Load() == somebody
}

// unknown is what the zygote is told when the sandbox ends. What show has not been told of by then does not happen any more.
func (e *engine) unknown() bool {
	return e.reuseNet && (e.known.CompareAndSwap(nobody, nobodyEver) || e.known.Load() == nobodyEver)
}

// noteFiles notes whether a command is handed something by which it could give away what it has of the sandbox's: descriptors travel by sockets, and a directory or a device may lead to one. Pipes and regular files carry bytes
// alone. It is false if there is something and the sandbox is ending.
func (e *engine) noteFiles(files []programFile) bool {
	if !e.reuseNet || e.known.Load() == somebody {
		return true
	}
	bytesAlone := func(f programFile) bool {
		if f.file == nil || f.pipe {
			return true
		}
		info, err := f.file.Stat()
		if err != nil {
			return false
		}
		// What is of no kind, an epoll or a ring of io_uring, is regular to package fs.
		stat, ok := info.Sys().(*syscall.Stat_t)
		return ok && (stat.Mode&unix.S_IFMT == unix.S_IFREG || stat.Mode&unix.S_IFMT == unix.S_IFIFO)
	}
	for _, f := range files {
		if !bytesAlone(f) {
			return e.show()
		}
	}
	return true
}

// noteOpened notes that the caller is given an open file of the sandbox's. One of proc below self/net holds the namespace that it was opened in and tells of whoever is there when it is read (proc(5)).
func (e *engine) noteOpened(fd int) bool {
	var fs unix.Statfs_t
	if err := unix.Fstatfs(fd, &fs); err == nil && fs.Type != unix.PROC_SUPER_MAGIC {
		return true
	}
	return e.show()
}
