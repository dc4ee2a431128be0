package sandbox

import (
	"github.com/belljar-go/belljar/rootfs"
	"github.com/belljar-go/belljar/sandbox/internal/plan"
	"golang.org/x/sys/unix"
)

// What is done below a mount of the library's own is done by way of its descriptor.

// attachOwn is placeOwn for a directory that is worked in later, by way of its descriptor: whoever owns the root may meanwhile put something else at its
// path (CVE-2025-31133, CVE-2025-52565).
func (r *rootPlan) attachOwn(tree plan.Reg, target string) {
	r.strict = true
	r.mountPoint(target, true)
	r.putOn(tree, target)
	r.strict = false
}

// enter makes a mount that was attached the current directory; paths below the one it was attached at are taken from there until leave.
func (r *rootPlan) enter(mount plan.Reg, at string) {
	if r.cwd == at {
		return
	}
	r.Call(unix.SYS_FCHDIR, "fchdir", at, plan.R(mount))
	r.cwd = at
}

func (r *rootPlan) leave() {
	if r.cwd != "" {
		r.Call(unix.SYS_CHDIR, "chdir", "/", r.Str("/"))
		r.cwd = ""
	}
}

// stepInto has an operation that is about a proc or a /dev of the sandbox's own take place in that very mount.
func (r *rootPlan) stepInto(op rootfs.Op) {
	if r.cwd != "" && (op.Path() == r.cwd || !rootfs.Within(op.Path(), r.cwd)) {
		r.leave()
	}
	switch op.(type) {
	case rootfs.Device:
		r.enter(r.devfs, r.devAt)
	case rootfs.Mask, rootfs.Substitute, rootfs.ReadOnly:
		if r.procAt != "" && rootfs.Within(op.Path(), r.procAt) {
			r.enter(r.proc, r.procAt)
		}
	}
}

// borrow attaches a file system of the library's own where another is going to be, for as long as use takes: of one that is attached nowhere no file can be
// cloned before Linux 6.15.
func (r *rootPlan) borrow(tree plan.Reg, target, object string, use func()) {
	r.attachOwn(tree, target)
	use()
	r.Call(unix.SYS_FCHDIR, "fchdir", object, plan.R(tree))
	r.Call(unix.SYS_UMOUNT2, "umount2", object, r.Str("."), plan.Flag(unix.MNT_DETACH, "MNT_DETACH"))
	r.Call(unix.SYS_CHDIR, "chdir", "/", r.Str("/"))
	r.close(tree)
}
