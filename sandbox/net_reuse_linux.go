package sandbox

import (
	"io/fs"
	"reflect"
	"slices"
	"sync"

	"github.com/belljar-go/belljar/rootfs"
	"github.com/belljar-go/belljar/seccomp"
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

// noteFiles notes whether a command is handed something by which it could give away what it has of the sandbox's: descriptors travel by sockets, and a directory or a device may lead to one. Pipes and regular files carry bytes
// alone.
func (e *engine) noteFiles(files []programFile) {
	if !e.reuseNet || e.shown.Load() {
		return
	}
	bytesAlone := func(f programFile) bool {
		if f.file == nil || f.pipe {
			return true
		}
		info, err := f.file.Stat()
		return err == nil && (info.Mode().IsRegular() || info.Mode().Type() == fs.ModeNamedPipe)
	}
	for _, f := range files {
		if !bytesAlone(f) {
			e.show()
		}
	}
}

// show notes that somebody may know more of the sandbox than what belongs to it, or have something of it: it does not share its network namespace with a later one.
func (e *engine) show() { e.shown.Store(true) }
