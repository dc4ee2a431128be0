package sandbox

import (
	"slices"

	"github.com/belljar-go/belljar/namespace"
	"github.com/belljar-go/belljar/rootfs"
	"github.com/belljar-go/belljar/sandbox/internal/plan"
	"golang.org/x/sys/unix"
)

// A ground is a template for roots of the caller's, which have nothing to share: a mount namespace with no more in it than has to be in sight while such a root is
// made. PID 1 is cloned in there, so that it has neither to copy the host's mounts nor to get rid of them, and finds a finished /dev.
//
// What is in it: the host's proc, without which the kernel lets nobody mount another (see newProc); /dev with its nodes, links and mount points, read-only as that of other templates
// and nobody's inside; and an empty directory. It goes with the old root, and nothing of it but the clones of /dev and of the directory gets into a sandbox.

// nothingAt is where the empty directory is.
const nothingAt = "/nothing"

// groundOps are what a ground is made of.
func groundOps() []rootfs.Op {
	return []rootfs.Op{
		rootfs.Tmpfs{Target: "/", Size: 64 << 10, Inodes: 64},
		rootfs.Dir{Target: nothingAt, Mode: 0o555},
		rootfs.Bind{Source: "/proc", Target: "/proc"},
		rootfs.Dev{Target: "/dev"},
	}
}

// groundable tells whether a root of these operations can be made on a ground.
func groundable(s *spec, f *hostFacts, ids idPlan, ops []rootfs.Op) bool {
	own := s.namespaces
	if !f.mounts || len(s.caps) > 0 || ids.wire == nil || !ids.root || ids.copy || s.chroot ||
		!own.Has(namespace.Mount) || !own.Has(namespace.PID) || !own.Has(namespace.IPC) || own.Has(namespace.Time) || len(ops) == 0 {
		return false
	}
	if _, based := ops[0].(rootfs.Base); !based {
		return false
	}
	return slices.Contains(ops, rootfs.Op(devOf(ops))) && !slices.ContainsFunc(ops, func(op rootfs.Op) bool {
		at := op.Path()
		return rootfs.Within(at, "/dev") && at != "/dev" && !onDevMount(at) // there is no room for it
	})
}

// devOf is the /dev of these operations, or one of none.
func devOf(ops []rootfs.Op) rootfs.Dev {
	for _, op := range ops {
		if dev, ok := op.(rootfs.Dev); ok && dev.Target == "/dev" {
			return dev
		}
	}
	return rootfs.Dev{}
}

// onDevMount tells whether a path is in a file system of /dev's that is the sandbox's own.
func onDevMount(target string) bool {
	return slices.ContainsFunc(devMounts, func(at string) bool { return rootfs.Within(target, "/dev"+at) })
}

// compileGround makes the plan of a ground.
func compileGround(s *spec, f *hostFacts) *plan.Plan {
	return compileTemplate(s, f, groundOps(), &sources{at: map[string]source{"/proc": {fd: -1, dir: true}}})
}

// takeDev clones the ground's /dev, while that is in sight.
func (r *rootPlan) takeDev() {
	r.Stage("template")
	r.devfs = r.openTree("/dev")
	r.Stage("root")
}

// placeDev puts it in its place, with what is the sandbox's own in it.
func (r *rootPlan) placeDev(op rootfs.Dev) {
	r.devAt = op.Target
	r.attachOwn(r.devfs, op.Target)
	r.enter(r.devfs, op.Target)
	r.devMounts(op)
}

// takeNothing clones the ground's empty directory.
func (r *rootPlan) takeNothing() plan.Reg {
	r.Stage("template")
	tree := r.Reg("tree:" + nothingAt)
	r.Call(unix.SYS_OPEN_TREE, "open_tree", nothingAt, plan.CWD, r.Str(nothingAt), plan.Flag(unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC, "CLONE|CLOEXEC")).To(tree)
	r.Stage("root")
	r.setattr(tree, nothingAt, attrNone|attrRO, false, true)
	return tree
}
