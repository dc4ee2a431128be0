package sandbox

import (
	"fmt"
	"path"
	"slices"
	"strconv"

	"github.com/belljar-go/belljar/rootfs"
	"github.com/belljar-go/belljar/sandbox/internal/plan"
	"golang.org/x/sys/unix"
)

const (
	attrNoSUID = unix.MOUNT_ATTR_NOSUID | unix.MOUNT_ATTR_NODEV
	attrNone   = attrNoSUID | unix.MOUNT_ATTR_NOEXEC
	attrRO     = unix.MOUNT_ATTR_RDONLY
	// nodeAttrs are for nodes of the host's: whoever may write to a device could set the times of its node, which all sandboxes and the host see. That a mount is
	// read-only does not concern what is written to the device itself.
	nodeAttrs = attrNone&^unix.MOUNT_ATTR_NODEV | attrRO
)

// rootPlan adds the steps that make the root.
//
// It works in three parts. First everything of the host is opened, while it can be seen: trees are cloned, file systems that need the
// host's mounts to be in sight (proc) are mounted, none of it attached. Then the new root is pivoted to and the host's is gone. Only
// then are paths walked, inside a root out of which no path leads, and proc with its magic links comes last.
type rootPlan struct {
	assembler
	ids     idPlan
	facts   *hostFacts
	job     owner
	ops     []rootfs.Op
	sources *sources
	userns  plan.Reg // descriptor of the user namespace; None: ids are not mapped on mounts

	early     bool             // what is the host's has been opened
	trees     map[int]plan.Reg // of binds, by index of the operation
	devices   map[string]plan.Reg
	nodes     plan.Reg // a file system with the caller's devices
	devfs     plan.Reg // /dev, and where it is
	devAt     string
	proc      plan.Reg
	procAt    string   // where it is, once it is
	switches  plan.Reg // a proc for the library's own use, if proc has no sys
	root      plan.Reg
	stack     []plan.Reg      // base and layers, the lowest first
	made      map[string]bool // directories known to exist
	mapped    []mappedTree
	mqueue    bool
	ownPIDs   bool
	mayChroot bool       // may stand in for pivot_root
	pivots    []plan.Reg // results of pivot_root where it may
	part      rootPart
	grounded  bool     // it is made on a ground, and nothing of the host is in sight
	fresh     []string // targets that are not part of the template
	layered   bool     // a layer in memory lies over the root
	// writable: over that is one that the job may write to.
	writable bool
	scratch  int64    // bytes of it, if it is in memory
	show     plan.Reg // a socket on which the host program waits for its descriptor
	kept     plan.Reg // the tree that it is in, if it is the host's
	notes    []string
}

type owner struct{ uid, gid uint32 }

// mappedTree remembers where the result of an id-mapping step is found.
type mappedTree struct {
	path   string
	result plan.Reg
}

var deviceNames = []string{"null", "zero", "full", "random", "urandom", "tty"}

// sorted puts proc and what is done below it last.
func sortedForPlan(ops []rootfs.Op) []rootfs.Op {
	late := func(op rootfs.Op) bool {
		switch op.(type) {
		case rootfs.Proc, rootfs.Mask, rootfs.Substitute, rootfs.ReadOnly:
			return true
		}
		return false
	}
	ops = slices.Clone(ops)
	slices.SortStableFunc(ops, func(a, b rootfs.Op) int {
		switch {
		case late(a) == late(b):
			return 0
		case late(b):
			return -1
		}
		return 1
	})
	return ops
}

// alone has no mount of the new namespace go to another, or come from there.
func (r *rootPlan) alone() {
	r.Stage("root")
	r.Call(unix.SYS_MOUNT, "mount", "/", plan.Null, r.Str("/"), plan.Null, plan.Flag(unix.MS_REC|unix.MS_PRIVATE, "MS_REC|MS_PRIVATE"), plan.Null)
}

// open is the first part.
func (r *rootPlan) open() {
	if !r.early && !r.grounded { // whose mounts are alone
		r.alone()
	}
	r.Stage("root")
	for i, op := range r.ops {
		if !r.takes(op) {
			continue
		}
		if !r.early {
			r.openHost(i, op)
		}
		r.openOwn(i, op)
	}
	if len(r.stack) > 0 {
		r.root = r.stack[0]
	}
	if !r.early {
		r.openUpper()
	}
}

// openEarly opens what is the host's while the process still has the caller's own ids: with others, over which it has power as far as they are mapped, it may not
// get into a directory that is open to the caller alone and belongs to a group that is not.
func (r *rootPlan) openEarly() {
	r.alone()
	for i, op := range r.ops {
		if op, ok := op.(rootfs.Tmpfs); ok && op.Target == "/" {
			// Before the rest, so that it is the first to be listed; the root's although that is not who makes it.
			r.root = r.tmpfs(op, "uid=0", "gid=0")
		}
		r.openHost(i, op)
	}
	r.openUpper()
	r.early = true
}

// openHost opens what an operation takes of the host.
func (r *rootPlan) openHost(i int, op rootfs.Op) {
	switch op := op.(type) {
	case rootfs.Base:
		if !r.sources.at[op.Dir].handle {
			r.stack = append(r.stack, r.openSource(op.Dir, attrRO|attrNoSUID))
		}
	case rootfs.Layer:
		if !r.sources.at[op.Dir].handle {
			r.stack = append(r.stack, r.openSource(op.Dir, attrRO|attrNoSUID))
		}
	case rootfs.Bind:
		if _, ok := r.trees[i]; !ok {
			r.trees[i] = r.openSource(op.Source, bindAttrs(op.Flags))
		}
	case rootfs.Substitute:
		if op.Source != "" && r.exists(op.Target) && !r.sources.at[op.Source].handle {
			r.trees[i] = r.openSource(op.Source, attrNone|attrRO)
		}
	case rootfs.Device:
		if r.nodes == plan.None {
			r.trees[i] = r.openTree(op.Source)
		}
	}
}

// openUpper opens what an upper layer of the host is in. It is recursive, or a mount below that an outer namespace has locked would make it fail.
func (r *rootPlan) openUpper() {
	if u := r.sources.upper; u.name != "" && r.kept == plan.None {
		r.kept = r.openSource(path.Dir(u.dir), attrNoSUID)
	}
}

// openOwn makes what is the sandbox's own and has to be made while the host is in sight.
func (r *rootPlan) openOwn(i int, op rootfs.Op) {
	switch op := op.(type) {
	case rootfs.Mask:
		r.openMask(i, op.Target)
	case rootfs.Dev:
		if r.part == ownPart {
			break
		}
		if r.part == groundedPart {
			r.takeDev()
			break
		}
		for _, d := range deviceNames {
			t := r.openTree("/dev/" + d)
			r.setattr(t, "/dev/"+d, nodeAttrs, false, true)
			r.devices[d] = t
		}
	case rootfs.Proc:
		if r.ownPIDs {
			r.proc = r.newProc(op)
		} else {
			// A proc of the host's PID namespace can only be mounted by the host's root (proc(5)).
			r.proc = r.openTree("/proc")
			r.setattr(r.proc, "/proc", attrNone, true, true)
		}
	case rootfs.Tmpfs:
		if op.Target == "/" && !r.early {
			r.root = r.tmpfs(op)
		}
	}
}

func bindAttrs(f rootfs.Flags) uint64 {
	attrs := uint64(attrNoSUID)
	if f&rootfs.BindReadOnly != 0 {
		attrs |= attrRO
	}
	if f&rootfs.BindNoExec != 0 {
		attrs |= unix.MOUNT_ATTR_NOEXEC
	}
	return attrs
}

// openHandles clones, in the zygote, the trees of what the host program has opened with the caller's rights, and maps their ids. It returns
// their paths in the order in which the descriptors are expected, and adds the trees to keep.
func (r *rootPlan) openHandles(keep *[]plan.Reg) []string {
	r.Stage("root")
	var handles []string
	open := func(path string, attrs uint64, mapped bool) plan.Reg {
		in := r.Input("host:" + path)
		var t plan.Reg
		r.InParent(func() {
			t = r.openTreeAt(in, "", path)
			if r.userns != plan.None && mapped {
				r.Stage("id map")
				r.idmap(t, path, attrs&attrRO == 0)
				r.Stage("root")
			}
			r.setattr(t, path, attrs, true, true)
		})
		handles = append(handles, path)
		*keep = append(*keep, t)
		return t
	}
	for i, op := range r.ops {
		switch op := op.(type) {
		case rootfs.Base:
			if r.sources.at[op.Dir].handle {
				r.stack = append(r.stack, open(op.Dir, attrRO|attrNoSUID, r.mapsLayer(op.Dir)))
			}
		case rootfs.Layer:
			if r.sources.at[op.Dir].handle {
				r.stack = append(r.stack, open(op.Dir, attrRO|attrNoSUID, r.mapsLayer(op.Dir)))
			}
		case rootfs.Bind:
			if r.sources.at[op.Source].handle {
				r.trees[i] = open(op.Source, bindAttrs(op.Flags), true)
			}
		case rootfs.Substitute:
			if r.sources.at[op.Source].handle && r.exists(op.Target) {
				r.trees[i] = open(op.Source, attrNone|attrRO, false)
			}
		}
	}
	r.newNodes(keep)
	if r.sources.at[upperKey].handle {
		r.kept = r.openKept(keep)
		handles = append(handles, upperKey)
	}
	if _, ok := r.sources.at[scratchKey]; ok {
		r.show = r.Input("socket")
		*keep = append(*keep, r.show)
		handles = append(handles, scratchKey)
	}
	return handles
}

// openKept clones the directory that the upper layer is in, without what is mounted below, whose ids might not be mappable.
func (r *rootPlan) openKept(keep *[]plan.Reg) plan.Reg {
	dir := r.sources.upper.dir
	in := r.Input("host:above " + dir)
	t := r.Reg("tree:above " + dir)
	r.InParent(func() {
		r.Call(unix.SYS_OPEN_TREE, "open_tree", dir, plan.R(in), r.Str(""),
			plan.Flag(unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC|unix.AT_EMPTY_PATH, "CLONE|CLOEXEC|AT_EMPTY_PATH")).To(t)
		if r.userns != plan.None {
			r.Stage("id map")
			r.idmap(t, dir, true)
			r.Stage("root")
		}
		r.setattr(t, dir, attrNoSUID, false, true)
	})
	*keep = append(*keep, t)
	return t
}

// openSource clones a tree of the host by its path, in the new mount namespace. An ordinary user cannot do it elsewhere.
func (r *rootPlan) openSource(path string, attrs uint64) plan.Reg {
	t := r.openTree(path)
	r.setattr(t, path, attrs, true, true)
	return t
}

// idmap makes ids on disk the same ids inside. A file system that cannot (FS_ALLOW_IDMAP is missing, mount_setattr(2)) is
// still good for reading what everybody may read; a writable one would give files to ids that nobody meant.
func (r *rootPlan) idmap(t plan.Reg, path string, must bool) {
	attr := r.Words("{IDMAP, userns}", unix.MOUNT_ATTR_IDMAP, 0, 0, 0)
	r.Patch(attr, 3, r.userns)
	out := r.Reg("idmap:" + path)
	s := r.Call(unix.SYS_MOUNT_SETATTR, "mount_setattr", path, plan.R(t), r.Str(""),
		plan.Flag(unix.AT_EMPTY_PATH|unix.AT_RECURSIVE, "AT_EMPTY_PATH|AT_RECURSIVE"), attr, plan.Int(32)).To(out)
	if !must {
		s.Tolerate(unix.EINVAL, unix.EPERM)
		r.mapped = append(r.mapped, mappedTree{path, out})
	}
}

// pivot is the second part.
func (r *rootPlan) pivot() {
	if r.layered {
		r.layer()
	}
	r.pivotTo(r.root)
}

// pivotTo makes a mount the root, and lets go of the old one.
func (r *rootPlan) pivotTo(root plan.Reg) {
	if r.grounded && !r.layered {
		r.enterRoot(root)
		return
	}
	r.Call(unix.SYS_MOVE_MOUNT, "move_mount", "/", plan.R(root), r.Str(""), plan.CWD, r.Str("/"),
		plan.Flag(unix.MOVE_MOUNT_F_EMPTY_PATH, "F_EMPTY_PATH"))
	r.Call(unix.SYS_FCHDIR, "fchdir", "/", plan.R(root))
	pivot := r.Call(unix.SYS_PIVOT_ROOT, "pivot_root", "/", r.Str("."), r.Str("."))
	if r.mayChroot {
		// From the initial ramfs nobody can pivot (pivot_root(2)). A root that was put on top of it and is entered by chroot has a mount above it, so that the next can be.
		out := r.Reg("pivot")
		pivot.To(out).Tolerate(unix.EINVAL).Skipping(1)
		r.pivots = append(r.pivots, out)
	}
	r.Call(unix.SYS_UMOUNT2, "umount2", "old root", r.Str("."), plan.Flag(unix.MNT_DETACH, "MNT_DETACH"))
	if r.mayChroot {
		r.Call(unix.SYS_CHROOT, "chroot", "/", r.Str("."))
	}
	r.Call(unix.SYS_CHDIR, "chdir", "/", r.Str("/"))
}

// fill is the third part.
func (r *rootPlan) fill() {
	r.takeNodes()
	for i, op := range r.ops {
		r.stepInto(op)
		if !r.takes(op) {
			r.standIn(op)
			continue
		}
		switch op := op.(type) {
		case rootfs.Base, rootfs.Layer:
		case rootfs.Bind:
			r.place(r.trees[i], op.Target, r.sources.at[op.Source].dir)
		case rootfs.Tmpfs:
			if op.Target != "/" {
				r.place(r.tmpfs(op), op.Target, true)
			}
		case rootfs.Proc:
			r.substitutes(op.Target)
			r.attachOwn(r.proc, op.Target)
			r.procAt = op.Target
		case rootfs.Dev:
			r.dev(op)
		case rootfs.Device:
			r.device(i, op)
		case rootfs.Mask:
			r.mask(i, op.Target)
		case rootfs.Substitute:
			r.substitute(i, op.Target)
		case rootfs.ReadOnly:
			r.readOnly(op.Target)
		case rootfs.File:
			if r.writable {
				r.mountPoint(op.Target, false)
				r.cover(r.trees[i], op.Target)
			} else {
				r.file(op)
			}
		case rootfs.Dir:
			r.mkdir(op.Target, op.Perm(), op.JobOwned)
		case rootfs.Symlink:
			if !r.writable { // it is in the init layer
				r.symlink(op.Link, op.Target)
			}
		}
	}
	r.leave()
	if r.devfs != plan.None {
		// Where the job's id is the only one there is, it owns /dev. Nodes, pts and shm are mounts of their own.
		if r.part != groundedPart {
			r.setattr(r.devfs, r.devAt, attrRO, false, false)
		}
		if r.part == fixedPart {
			r.seal(r.devfs, r.devAt)
		}
		r.close(r.devfs)
	}
	if r.procAt != "" {
		r.close(r.proc)
	}
	for _, op := range r.ops {
		if t, ok := op.(rootfs.Tmpfs); ok && t.ReadOnly && r.takes(op) {
			r.lock(t.Target)
		}
	}
	if r.layered && !r.writable {
		r.readOnly("/")
	}
	if r.part == fixedPart {
		r.seal(r.root, "/")
	}
}

func (r *rootPlan) tmpfs(op rootfs.Tmpfs, more ...string) plan.Reg {
	options := []string{
		"size=" + strconv.FormatInt(op.Bytes(), 10), "nr_inodes=" + strconv.FormatInt(op.Files(), 10),
		fmt.Sprintf("mode=%04o", op.Perm()),
	}
	if op.JobOwned && r.ids.root {
		options = append(options, fmt.Sprintf("uid=%d", r.job.uid), fmt.Sprintf("gid=%d", r.job.gid))
	}
	return r.filesystem("tmpfs", op.Target, attrNoSUID, append(options, more...)...)
}

// parents makes the directories that lead to a path. On a read-only root they have to be there.
func (r *rootPlan) parents(target string) {
	if dir := path.Dir(target); dir != "/" && !r.made[dir] {
		r.parents(dir)
		if inBind(r.ops, dir) == nil {
			r.mkdirat(dir, 0o755)
		}
		r.made[dir] = true
	}
}

func (r *rootPlan) mkdirat(dir string, mode uint32) {
	r.Call(unix.SYS_MKDIRAT, "mkdirat", dir, plan.CWD, r.Str(r.relative(dir)), octal(mode)).Tolerate(unix.EEXIST, unix.EROFS)
}

func octal(mode uint32) plan.Arg { return plan.Flag(uint64(mode), fmt.Sprintf("%04o", mode)) }

// mountPoint makes a directory or an empty file at a path, if it can be.
func (r *rootPlan) mountPoint(target string, dir bool) {
	if r.stands(target) {
		return
	}
	r.parents(target)
	switch {
	case inBind(r.ops, target) != nil: // it is there, or is not made
	case dir:
		r.mkdirat(target, 0o755)
		r.made[target] = true
	default:
		fd := r.create(target, 0o644, unix.EROFS, unix.EEXIST, unix.EISDIR)
		r.close(fd)
	}
}

// place puts a mount at a path, where a directory or an empty file is made for it if it can be.
func (r *rootPlan) place(tree plan.Reg, target string, dir bool) {
	r.mountPoint(target, dir)
	r.putOn(tree, target)
	r.close(tree)
}

// putOn attaches a tree at a path that exists.
func (r *rootPlan) putOn(tree plan.Reg, target string) {
	at := r.openat2(plan.None, target, unix.O_PATH, "O_PATH", 0, target)
	r.attach(tree, at, target)
	r.close(at)
}

// placeOwn is place for what the library relies on itself: proc and dev. A root in which a symbolic link leads there is refused, or later steps
// would find something else (CVE-2019-19921, CVE-2026-41579).
func (r *rootPlan) placeOwn(tree plan.Reg, target string, dir bool) {
	r.strict = true
	r.place(tree, target, dir)
	r.strict = false
}

// create makes a file; with a tolerated error the next step, its close, is passed over.
func (r *rootPlan) create(target string, mode uint32, tolerated ...unix.Errno) plan.Reg {
	fd := r.openat2(plan.None, target, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW, "O_WRONLY|O_CREAT|O_EXCL|O_NOFOLLOW", mode, target)
	if len(tolerated) > 0 {
		r.Last().Tolerate(tolerated...).Skipping(1)
	}
	return fd
}

func (r *rootPlan) file(op rootfs.File) {
	r.parents(op.Target)
	if r.layered {
		r.unlink(op.Target)
	}
	r.content(op, op.Target)
}

// content makes a file of an operation at a path.
func (r *rootPlan) content(op rootfs.File, at string) {
	fd := r.openat2(plan.None, at, unix.O_WRONLY|unix.O_CREAT|unix.O_TRUNC|unix.O_NOFOLLOW|unix.O_NONBLOCK, "O_WRONLY|O_CREAT|O_TRUNC|O_NOFOLLOW|O_NONBLOCK", op.Perm(), op.Target)
	if len(op.Data) > 0 {
		r.write(fd, op.Data, op.Target)
	}
	if op.JobOwned && r.ids.root {
		r.Call(unix.SYS_FCHOWN, "fchown", op.Target, plan.R(fd), plan.Int(r.job.uid), plan.Int(r.job.gid))
	}
	r.close(fd)
}

func (r *rootPlan) mkdir(target string, mode uint32, job bool) {
	r.parents(target)
	r.mkdirat(target, mode)
	r.made[target] = true
	if job && r.ids.root {
		fd := r.openat2(plan.None, target, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW, "O_RDONLY|O_DIRECTORY|O_NOFOLLOW", 0, target)
		r.Call(unix.SYS_FCHOWN, "fchown", target, plan.R(fd), plan.Int(r.job.uid), plan.Int(r.job.gid))
		r.close(fd)
	}
}

// unlink removes what a root may have at the place of a file, above all a link (CVE-2021-30465): from the layer in memory, not from the host.
func (r *rootPlan) unlink(target string) {
	r.Call(unix.SYS_UNLINKAT, "unlinkat", target, plan.CWD, r.Str(r.relative(target)), plan.Zero).Tolerate(unix.ENOENT, unix.EISDIR, unix.EROFS)
}

func (r *rootPlan) symlink(link, target string) {
	r.parents(target)
	if r.layered {
		r.unlink(target)
	}
	r.Call(unix.SYS_SYMLINKAT, "symlinkat", target, r.Str(link), plan.CWD, r.Str(r.relative(target)))
}

// cover attaches a tree at a path that exists.
func (r *rootPlan) cover(tree plan.Reg, target string) {
	at := r.openat2(plan.None, target, unix.O_PATH|unix.O_NOFOLLOW, "O_PATH|O_NOFOLLOW", 0, target)
	r.attach(tree, at, target)
	r.close(at)
	r.close(tree)
}

// lock makes the mount at a path read-only, and no mount in it.
func (r *rootPlan) lock(target string) {
	at := r.openat2(plan.None, target, unix.O_PATH, "O_PATH", 0, target)
	r.setattr(at, target, attrRO, false, false)
	r.close(at)
}
