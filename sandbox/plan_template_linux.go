package sandbox

import (
	"slices"

	"github.com/belljar-go/belljar/namespace"
	"github.com/belljar-go/belljar/rootfs"
	"github.com/belljar-go/belljar/sandbox/internal/launch"
	"github.com/belljar-go/belljar/sandbox/internal/plan"
	"golang.org/x/sys/unix"
)

// A template is the part of a root that all sandboxes of a shape can share, since none can write to it: the tree of the default root with its links,
// files, mount points and what is bound from the host by name, and /dev with its nodes. It is made once, in a mount namespace of its own which the zygote holds,
// and each sandbox gets a clone of the tree whose ids are mapped to its own. Only then is added what is a sandbox's alone: file systems in memory, devpts,
// mqueue and proc, what the caller binds, and files in any of these. It is done on a ground.

// rootPart says of which part of a root a plan is.
type rootPart uint8

const (
	wholePart    rootPart = iota
	fixedPart             // the template
	ownPart               // what is added to a clone of it
	groundedPart          // all, made on a ground
)

// templatable tells whether a root of these operations can be made from a template.
func templatable(s *spec, f *hostFacts, ids idPlan, ops []rootfs.Op, src *sources) bool {
	own := s.namespaces
	if !f.mounts || !f.tmpfsIDs || len(s.caps) > 0 || ids.wire == nil || !ids.root || ids.copy || src.layered || s.chroot ||
		!own.Has(namespace.Mount) || !own.Has(namespace.PID) || !own.Has(namespace.IPC) || own.Has(namespace.Time) {
		return false
	}
	devs, based := 0, false
	for _, op := range ops {
		switch op := op.(type) {
		case rootfs.Tmpfs:
			based = based || op.Target == "/" && !op.ReadOnly
		case rootfs.Dev:
			devs++
			if op.Target != "/dev" {
				return false
			}
		case rootfs.ReadOnly:
			if op.Target != "/" && !rootfs.Within(op.Target, "/proc") {
				return false
			}
		case rootfs.Mask:
			if !rootfs.Within(op.Target, "/proc") {
				return false
			}
		case rootfs.Bind, rootfs.File, rootfs.Dir, rootfs.Symlink, rootfs.Proc:
		default:
			return false
		}
	}
	return based && devs <= 1 && slices.Contains(ops, rootfs.Op(rootfs.ReadOnly{Target: "/"}))
}

// freshTargets are the paths at which something is mounted that is the sandbox's alone.
func freshTargets(ops []rootfs.Op, src *sources) (fresh []string) {
	for _, op := range ops {
		switch op := op.(type) {
		case rootfs.Tmpfs:
			if op.Target != "/" {
				fresh = append(fresh, op.Target)
			}
		case rootfs.Bind:
			if src.at[op.Source].handle {
				fresh = append(fresh, op.Target)
			}
		case rootfs.Proc:
			fresh = append(fresh, op.Target)
		case rootfs.Dev:
			for _, at := range devMounts {
				fresh = append(fresh, op.Target+at)
			}
		}
	}
	return fresh
}

// takes tells whether an operation belongs to the part that is being made.
func (r *rootPlan) takes(op rootfs.Op) bool {
	switch r.part {
	case fixedPart:
		return r.fixed(op)
	case ownPart:
		_, dev := op.(rootfs.Dev)
		return dev || !r.fixed(op)
	}
	return true
}

func (r *rootPlan) fixed(op rootfs.Op) bool { return !within(op.Path(), r.fresh) }

// standIn makes, in a template, what a mount of the sandbox's own is put on.
func (r *rootPlan) standIn(op rootfs.Op) {
	target := op.Path()
	if r.part != fixedPart || !slices.Contains(r.fresh, target) || r.nested(target) {
		return
	}
	switch op := op.(type) {
	case rootfs.Tmpfs:
		r.mountPoint(target, true)
	case rootfs.Bind:
		r.mountPoint(target, r.sources.at[op.Source].dir)
	case rootfs.Proc:
		r.strict = true
		r.mountPoint(target, true)
		r.strict = false
	}
}

// stands tells whether a mount point has been made by the template.
func (r *rootPlan) stands(target string) bool {
	if r.part == groundedPart {
		return onDevMount(target) && !r.nested(target)
	}
	return r.part == ownPart && slices.Contains(r.fresh, target) && !r.nested(target)
}

// nested tells whether a path lies in a mount of the sandbox's own.
func (r *rootPlan) nested(target string) bool {
	return slices.ContainsFunc(r.fresh, func(f string) bool { return f != target && rootfs.Within(target, f) })
}

// seal makes the file system itself read-only, and not just a mount of it: whoever shares it can never write to it, whatever becomes of the mounts.
func (r *rootPlan) seal(mount plan.Reg, object string) {
	fs := r.Reg("fs")
	r.Call(unix.SYS_FSPICK, "fspick", object, plan.R(mount), r.Str(""), plan.Flag(unix.FSPICK_CLOEXEC|unix.FSPICK_EMPTY_PATH, "CLOEXEC|EMPTY_PATH")).To(fs)
	r.Call(unix.SYS_FSCONFIG, "fsconfig", object, plan.R(fs), plan.Flag(unix.FSCONFIG_SET_FLAG, "SET_FLAG"), r.Str("ro"), plan.Null, plan.Zero)
	r.Call(unix.SYS_FSCONFIG, "fsconfig", object, plan.R(fs), plan.Flag(unix.FSCONFIG_CMD_RECONFIGURE, "CMD_RECONFIGURE"), plan.Null, plan.Null, plan.Zero)
	r.close(fs)
}

// compileTemplate makes the plan of a template. What walks it becomes pause in the end, by way of which the zygote gets at the mount namespace.
func compileTemplate(s *spec, f *hostFacts, ops []rootfs.Op, src *sources) *plan.Plan {
	return compileShared(s, f, ops, src, freshTargets(sortedForPlan(ops), src))
}

// compileShared is compileTemplate where it is known what is mounted for each sandbox.
func compileShared(s *spec, f *hostFacts, ops []rootfs.Op, src *sources, fresh []string) *plan.Plan {
	a := newAssembler()
	image, lifeline := a.Input("pause"), a.Input("lifeline")
	ids := idPlan{root: true, groups: true}
	r := newRootPlan(a, s, f, ids, ops, src, fixedPart)
	r.fresh = fresh
	p := &initPlan{mode: launch.Direct}
	a.start(p, ids)
	a.keepOnly([]plan.Reg{lifeline, image}, 1)
	a.Stage("namespaces")
	a.Call(unix.SYS_SETSID, "setsid", "process")
	a.Call(unix.SYS_UNSHARE, "unshare", "namespaces", names(unix.CLONE_NEWNS, cloneNames))
	r.open()
	r.pivot()
	r.fill()
	a.pause(image)
	return a.Plan()
}

// cloneTemplate takes the clone of a template that the zygote sends along, and maps the ids of its root. Of what is mounted in it nothing can be changed
// by itself while it is attached nowhere: that keeps the ids of the host, /dev and its links included.
func (r *rootPlan) cloneTemplate() plan.Reg {
	tree := r.Input("template")
	r.Stage("template")
	r.InParent(func() {
		attr := r.Words("{IDMAP, userns}", unix.MOUNT_ATTR_IDMAP, 0, 0, 0)
		r.Patch(attr, 3, r.userns)
		r.Call(unix.SYS_MOUNT_SETATTR, "mount_setattr", "/", plan.R(tree), r.Str(""), plan.Flag(unix.AT_EMPTY_PATH, "AT_EMPTY_PATH"), attr, plan.Int(32))
	})
	return tree
}
