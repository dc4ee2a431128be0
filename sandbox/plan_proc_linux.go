package sandbox

import (
	"path"
	"strconv"

	"github.com/belljar-go/belljar/rootfs"
	"github.com/belljar-go/belljar/sandbox/internal/plan"
	"golang.org/x/sys/unix"
)

// newProc mounts a proc of the sandbox's own. The kernel allows that only while a proc is in sight that nothing covers a part of, which is not so in most
// containers (mount_too_revealing in fs/namespace.c): there the step fails, and there is nothing to fall back to, for the outer proc shows
// other processes than the sandbox's. Linux before 7.0 refuses subset=pid in the same way.
func (r *rootPlan) newProc(op rootfs.Proc) plan.Reg {
	if op.PIDsOnly {
		// The switch for nested namespaces, which limitNamespaces looks for, is in a whole one only.
		r.switches = r.filesystem("proc", "/proc/sys", attrNone)
	}
	return r.filesystem("proc", op.Target, attrNone, op.Options()...)
}

// substitutes makes the files that are shown in place of the kernel's, and takes a handle of each. at is where proc is going to be.
func (r *rootPlan) substitutes(at string) {
	var subs []int
	size := int64(1 << 20)
	for i, op := range r.ops {
		if op, ok := op.(rootfs.Substitute); ok && op.Source == "" && r.exists(op.Target) {
			subs = append(subs, i)
			size += int64(len(op.Data)) + 64<<10
		}
	}
	if len(subs) == 0 {
		return
	}
	files := r.filesystem("tmpfs", "substitutes", attrNone, "size="+strconv.FormatInt(size, 10), "nr_inodes=64", "mode=0755")
	r.borrow(files, at, "substitutes", func() {
		for _, i := range subs {
			op := r.ops[i].(rootfs.Substitute)
			name := path.Base(op.Target)
			fd := r.openat2(files, name, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW, "O_WRONLY|O_CREAT|O_EXCL|O_NOFOLLOW", 0o444, op.Target)
			if len(op.Data) > 0 {
				r.write(fd, op.Data, op.Target)
			}
			r.close(fd)
			r.trees[i] = r.openTreeAt(files, name, op.Target)
			r.setattr(r.trees[i], op.Target, attrNone|attrRO, true, true)
		}
	})
}

// exists tells whether the kernel has a file for which there is a substitute. What is not in proc is looked for by the plan.
func (r *rootPlan) exists(target string) bool {
	return !rootfs.Within(target, "/proc") || r.facts.proc[target] != procMissing
}

// substitute shows one of them, if there is something to show it in place of.
func (r *rootPlan) substitute(i int, target string) {
	tree, ok := r.trees[i]
	if !ok {
		return
	}
	at := r.openat2(plan.None, target, unix.O_PATH|unix.O_NOFOLLOW, "O_PATH|O_NOFOLLOW", 0, target)
	r.Last().Tolerate(unix.ENOENT).Skipping(2)
	r.attach(tree, at, target)
	r.close(at)
	r.close(tree)
}

// mask hides a path of the kernel's own proc, in the mount that the walk has made itself, so it is no fake and no link (CVE-2019-19921, CVE-2025-31133). What
// hides a file is the host's null device, of which a handle was taken while that was in sight.
func (r *rootPlan) mask(i int, target string) {
	switch r.facts.proc[target] {
	case procFile:
		r.cover(r.trees[i], target)
	case procDir:
		if r.grounded {
			r.cover(r.trees[i], target)
			break
		}
		r.cover(r.filesystem("tmpfs", target, attrNone|attrRO, "size=4096", "nr_inodes=1", "mode=0555"), target)
	}
}

// openMask takes that handle.
func (r *rootPlan) openMask(i int, target string) {
	switch kind := r.facts.proc[target]; {
	case kind == procDir && r.grounded:
		r.trees[i] = r.takeNothing()
	case kind == procFile:
		r.trees[i] = r.openTree("/dev/null")
		r.setattr(r.trees[i], "/dev/null", nodeAttrs, false, true)
	}
}

func (r *rootPlan) readOnly(target string) {
	if target == "/" {
		r.lock(target)
		return
	}
	if r.facts.proc[target] == procMissing {
		return
	}
	at := r.openat2(plan.None, target, unix.O_PATH|unix.O_NOFOLLOW, "O_PATH|O_NOFOLLOW", 0, target)
	tree := r.openTreeAt(at, "", target)
	r.setattr(tree, target, attrNone|attrRO, true, false)
	r.attach(tree, at, target)
	r.close(at)
	r.close(tree)
}
