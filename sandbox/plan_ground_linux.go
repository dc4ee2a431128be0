package sandbox

import (
	"slices"

	"github.com/belljar-go/belljar/namespace"
	"github.com/belljar-go/belljar/rootfs"
	"github.com/belljar-go/belljar/sandbox/internal/plan"
	"golang.org/x/sys/unix"
)

// A ground is what roots are made on: a mount namespace with no more in it than has to be in sight meanwhile. The default root is the clone of a template there; a root of the caller's
// has no tree to share. PID 1 is cloned in there, so that it has neither to copy the host's mounts nor to get rid of them, and finds a finished /dev, of which a root of the caller's gets a clone.
//
// What is in it: a proc, without which the kernel lets nobody mount another (see newProc), of a PID namespace in which there never was another process than the one that made the
// ground; /dev with its nodes, links and mount points, read-only as that of other templates and nobody's inside; and an empty directory. Nothing is the host's but the device nodes
// that every sandbox has. So there is nothing to get rid of before paths are walked: the root is put on top of the ground and entered by chroot(2). To take mounts away a process would have to wait
// until every CPU has noticed, which on a busy machine takes as long as all else.
//
// A job cannot get beneath its root, having no capability over mounts; if it could it would find the ground. (Where layers are put together there is more beneath, so that is pivoted from.)

// nothingAt is where the empty directory is.
const nothingAt = "/nothing"

// groundOps are what a ground is made of.
func groundOps() []rootfs.Op {
	return []rootfs.Op{
		rootfs.Tmpfs{Target: "/", Size: 64 << 10, Inodes: 64},
		rootfs.Dir{Target: nothingAt, Mode: 0o555},
		rootfs.Dev{Target: "/dev"},
		rootfs.Proc{Target: "/proc"},
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
func onDevMount(target string) bool { return within(target, devTargets()) }

// compileGround makes the plan of a ground, which is walked in a new PID namespace.
func compileGround(s *spec, f *hostFacts) *plan.Plan {
	return compileShared(s, f, groundOps(), &sources{}, devTargets())
}

// devTargets are the places in /dev that are file systems of the sandbox's own.
func devTargets() (at []string) {
	for _, d := range devMounts {
		at = append(at, "/dev"+d)
	}
	return at
}

// enterRoot puts the root on top of the ground, and what the process does from then on begins there.
func (r *rootPlan) enterRoot(root plan.Reg) {
	r.Call(unix.SYS_MOVE_MOUNT, "move_mount", "/", plan.R(root), r.Str(""), plan.CWD, r.Str("/"),
		plan.Flag(unix.MOVE_MOUNT_F_EMPTY_PATH, "F_EMPTY_PATH"))
	r.Call(unix.SYS_FCHDIR, "fchdir", "/", plan.R(root))
	r.Call(unix.SYS_CHROOT, "chroot", "/", r.Str("."))
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
