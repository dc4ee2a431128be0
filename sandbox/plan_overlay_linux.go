package sandbox

import (
	"slices"
	"strconv"
	"strings"

	"github.com/belljar-go/belljar/rootfs"
	"github.com/belljar-go/belljar/sandbox/internal/plan"
	"golang.org/x/sys/unix"
)

// layer lays directories over each other, where a root is made of several, lacks mount points, or is to have files of the caller's: nothing is ever
// made on the host for a sandbox (CVE-2024-45310). What has to be made goes to a layer in memory, which is read-only once it has been filled;
// it is the topmost, unless there is one for the job to write to.
func (r *rootPlan) layer() {
	r.workshop()
	lowers := r.attachLayers()
	if !r.writable {
		r.mkdirs("upper", "work")
		r.root = r.overlay("merged", lowers, "/upper", "/work")
		return
	}
	r.ownFiles()
	lowers = append(lowers, r.initLayer(lowers))
	if r.sources.upper.name == "" {
		r.root = r.scratchLayer(lowers)
	} else {
		r.root = r.keptLayer(lowers)
	}
}

// initLayer makes the layer between what is given and what the job writes: it has the mount points that are missing, so that they never get into the
// job's layer. It is filled through an overlay of its own, in which links lead where they will lead later.
func (r *rootPlan) initLayer(lowers []string) string {
	r.mkdirs("init", "work")
	top := r.openat2(plan.None, "/", unix.O_PATH, "O_PATH", 0, "layers")
	filled := r.overlay("filled", lowers, "/init", "/work")
	r.chroot(filled, "filled")
	r.prepare()
	r.chroot(top, "layers")
	r.close(top)
	r.close(filled)
	r.Call(unix.SYS_UMOUNT2, "umount2", "filled", r.Str("filled"), plan.Zero)
	r.made = map[string]bool{} // by what is mounted later it may be hidden
	return "init"
}

func (r *rootPlan) chroot(dir plan.Reg, object string) {
	r.Call(unix.SYS_FCHDIR, "fchdir", object, plan.R(dir))
	r.Call(unix.SYS_CHROOT, "chroot", object, r.Str("."))
}

// prepare makes what later steps mount on.
func (r *rootPlan) prepare() {
	for _, op := range r.ops {
		switch op := op.(type) {
		case rootfs.Bind:
			r.mountPoint(op.Target, r.sources.at[op.Source].dir)
		case rootfs.Tmpfs, rootfs.Proc, rootfs.Dev:
			r.mountPoint(op.Path(), true)
		case rootfs.File:
			r.parents(op.Target)
			r.unlink(op.Target) // above all a link
			r.mountPoint(op.Target, false)
		case rootfs.Dir:
			r.mkdir(op.Target, op.Perm(), op.JobOwned)
		case rootfs.Symlink:
			r.symlink(op.Link, op.Target)
		}
	}
}

// ownFiles makes files of the sandbox's own, which are mounted later: whatever the job does to them, they get into no layer.
func (r *rootPlan) ownFiles() {
	r.mkdirs("files")
	for i, op := range r.ops {
		if f, ok := op.(rootfs.File); ok {
			at := "files/" + strconv.Itoa(i)
			r.content(f, at)
			r.trees[i] = r.openTree(at)
		}
	}
}

// scratchLayer is a tmpfs with bounds of its own over the others.
func (r *rootPlan) scratchLayer(lowers []string) plan.Reg {
	r.mkdirs("scratch")
	tree := r.filesystem("tmpfs", "scratch", attrNoSUID, "size="+strconv.FormatInt(r.scratch, 10), "nr_inodes="+strconv.FormatInt(scratchInodes(r.scratch), 10), "mode=0755")
	r.attachNamed(tree, "scratch", "scratch")
	if !r.facts.tmpfsAttrs {
		r.notes = append(r.notes, "WithScratch: before Linux 6.6 tmpfs keeps no user attributes, so a directory of a lower layer cannot be removed once something in it was, nor made again (EIO), and a directory not be renamed (EXDEV)")
	}
	r.mkdirs("scratch/upper", "scratch/work")
	r.showScratch()
	return r.overlay("merged", lowers, "/scratch/upper", "/scratch/work")
}

// shownAs is the number under which the scratch layer is sent, since steps do not write numbers to memory: more than a plan has open.
const shownAs = 500

// showScratch sends the host program a descriptor of the scratch layer, to which no path leads.
func (r *rootPlan) showScratch() {
	if r.show == plan.None {
		return
	}
	at := r.openat2(plan.None, "scratch/upper", unix.O_PATH, "O_PATH", 0, "scratch")
	sent := r.Reg("fd:scratch")
	r.Call(unix.SYS_FCNTL, "fcntl", "scratch", plan.R(at), plan.Flag(unix.F_DUPFD_CLOEXEC, "F_DUPFD_CLOEXEC"), plan.Int(shownAs)).To(sent).Wanting(shownAs)
	r.Last().Tolerate(unix.EINVAL, unix.EMFILE).Skipping(2) // there is a lower limit: the layer cannot be listed then
	r.Call(unix.SYS_SENDMSG, "sendmsg", "scratch", plan.R(r.show), r.Rights(shownAs), plan.Flag(unix.MSG_NOSIGNAL, "MSG_NOSIGNAL")).Wanting(1)
	r.close(sent)
	r.close(at)
	r.close(r.show)
}

// keptLayer is a directory of the host over the others. The kernel wants the directory it works in on the same mount, so that of the directory above them
// both is taken, into a root that is gone before the job exists. The layer is the current directory when the options are read, since
// its name is not for them.
func (r *rootPlan) keptLayer(lowers []string) plan.Reg {
	u := r.sources.upper
	r.mkdirs("kept")
	r.attachNamed(r.kept, "kept", u.dir)
	at := r.openat2(plan.None, "kept/"+u.name, unix.O_PATH|unix.O_DIRECTORY|unix.O_NOFOLLOW, "O_PATH|O_DIRECTORY|O_NOFOLLOW", 0, u.dir)
	r.mkdirs("merged")
	r.Call(unix.SYS_FCHDIR, "fchdir", u.dir, plan.R(at))
	r.close(at)
	r.asCaller(func() { r.mountOverlay("/merged", lowers, ".", "../"+u.work) })
	r.Call(unix.SYS_CHDIR, "chdir", "/", r.Str("/"))
	return r.openat2(plan.None, "merged", unix.O_PATH, "O_PATH", 0, "overlay")
}

// asCaller lets what overlayfs makes for itself belong to an ordinary user who is not root inside, so that the user can remove it. To change the
// file system's user takes capabilities away, which overlayfs acts with (setfsuid(2), capabilities(7)).
func (r *rootPlan) asCaller(mount func()) {
	if r.facts.uid == 0 || !r.ids.root || r.job.uid == 0 {
		mount()
		return
	}
	r.Call(unix.SYS_SETFSUID, "setfsuid", "overlay", plan.Int(r.job.uid))
	r.setCaps(1<<(r.facts.lastCap+1) - 1)
	mount()
	r.Call(unix.SYS_SETFSUID, "setfsuid", "overlay", plan.Zero)
}

func (r *rootPlan) attachNamed(tree plan.Reg, name, object string) {
	at := r.openat2(plan.None, name, unix.O_PATH, "O_PATH", 0, object)
	r.attach(tree, at, object)
	r.close(at)
	r.close(tree)
}

// scratchInodes is how many files a scratch layer holds: one for each 4096 bytes, within bounds. Each costs the kernel about a kilobyte, which
// counts as memory of the job.
func scratchInodes(size int64) int64 { return rootfs.FilesFor(size) }

// mapsLayer tells whether the ids of a directory of the root can be mapped. Overlayfs refuses layers with mapped ids before Linux 5.19; what
// everybody may read can be read without.
func (r *rootPlan) mapsLayer(dir string) bool {
	if !r.layered || r.facts.mapLower {
		return true
	}
	if r.userns != plan.None {
		r.notes = append(r.notes, quotePath(dir)+": before Linux 5.19 overlayfs takes no layers with mapped ids: files belong to nobody inside, and only what everybody may read can be read")
	}
	return false
}

// workshop makes a root in memory in which the layers have fixed names, so that no path of the caller's is ever parsed as a mount option,
// in which commas, colons and backslashes mean something.
func (r *rootPlan) workshop() {
	size := int64(1 << 20)
	for _, op := range r.ops {
		if f, ok := op.(rootfs.File); ok {
			size += int64(len(f.Data)) + 64<<10
		}
	}
	r.pivotTo(r.filesystem("tmpfs", "layers", attrNoSUID, "size="+strconv.FormatInt(size, 10), "nr_inodes=65536", "mode=0755"))
}

// attachLayers gives the layers names, which it returns, the lowest first. They are short because all of them have to
// fit a page: the kernel takes them one by one only since Linux 6.8 (lowerdir+).
func (r *rootPlan) attachLayers() []string {
	var names []string
	for i, tree := range r.stack {
		name := strconv.Itoa(i)
		r.mkdirs(name)
		r.attachNamed(tree, name, "layer "+name)
		names = append(names, name)
	}
	return names
}

func (r *rootPlan) mkdirs(names ...string) {
	for _, dir := range names {
		r.Call(unix.SYS_MKDIRAT, "mkdirat", "layer "+dir, plan.CWD, r.Str(dir), octal(0o755))
	}
}

// overlay mounts layers at a directory that it makes, and returns a descriptor of it.
func (r *rootPlan) overlay(name string, lowers []string, upper, work string) plan.Reg {
	r.mkdirs(name)
	r.mountOverlay(name, lowers, upper, work)
	return r.openat2(plan.None, name, unix.O_PATH, "O_PATH", 0, "overlay")
}

// mountOverlay mounts layers at a directory. By mount(2), since fsconfig(2) takes no more than 255 bytes at a time and so not a hundred layers.
//
// The marks of overlayfs are user.* attributes, as an ordinary user may set them (userxattr, Linux 5.11). Whatever the host's defaults
// are, a layer refers to no other by more than names, so that it can be moved and laid over others: no redirects, no files without
// their data, no index of inodes. userxattr excludes the first two by itself.
func (r *rootPlan) mountOverlay(at string, lowers []string, upper, work string) {
	var top []string
	for _, l := range slices.Backward(lowers) {
		top = append(top, "/"+l)
	}
	options := "userxattr,lowerdir=" + strings.Join(top, ":") + ",upperdir=" + upper + ",workdir=" + work + ",index=off"
	r.Call(unix.SYS_MOUNT, "mount", overlayObject, r.Str("overlay"), r.Str(at), r.Str("overlay"), plan.Flag(unix.MS_NOSUID|unix.MS_NODEV, "MS_NOSUID|MS_NODEV"), r.Str(options))
}
