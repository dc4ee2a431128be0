package sandbox

import (
	"slices"
	"strconv"
	"strings"

	"github.com/belljar-go/belljar/rootfs"
	"github.com/belljar-go/belljar/sandbox/internal/plan"
	"golang.org/x/sys/unix"
)

// layer puts a writable layer in memory over a root that lacks mount points, or is to have files of the caller's: nothing is ever made on the
// host for a sandbox (CVE-2024-45310). It is read-only once it has been filled, unless it is the job's to write to; then it is a tmpfs with bounds of its own.
func (r *rootPlan) layer() {
	r.workshop()
	lowers := r.attachLayers()
	upper, work := "upper", "work"
	if r.scratch > 0 {
		upper, work = "scratch/upper", "scratch/work"
		r.mkdirs("scratch")
		tree := r.filesystem("tmpfs", "scratch", attrNoSUID, "size="+strconv.FormatInt(r.scratch, 10), "nr_inodes="+strconv.FormatInt(scratchInodes(r.scratch), 10), "mode=0755")
		at := r.openat2(plan.None, "scratch", unix.O_PATH, "O_PATH", 0, "scratch")
		r.attach(tree, at, "scratch")
		r.close(at)
		r.close(tree)
		if !r.facts.tmpfsAttrs {
			r.notes = append(r.notes, "WithScratch: before Linux 6.6 tmpfs keeps no user attributes, so a directory of a lower layer cannot be removed once something in it was, nor made again (EIO), and a directory not be renamed (EXDEV)")
		}
	}
	r.mkdirs(upper, work)
	r.root = r.overlay("merged", lowers, upper, work)
}

// scratchInodes is how many files a scratch layer holds: one for each 4096 bytes, within bounds. Each costs the kernel about a kilobyte, which
// counts as memory of the job.
func scratchInodes(size int64) int64 { return min(max(size/4096, 1<<14), 1<<20) }

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
		at := r.openat2(plan.None, name, unix.O_PATH, "O_PATH", 0, "layer "+name)
		r.attach(tree, at, "layer "+name)
		r.close(at)
		r.close(tree)
		names = append(names, name)
	}
	return names
}

func (r *rootPlan) mkdirs(names ...string) {
	for _, dir := range names {
		r.Call(unix.SYS_MKDIRAT, "mkdirat", "layer "+dir, plan.CWD, r.Str(dir), octal(0o755))
	}
}

// overlay mounts layers at a directory that it makes, and returns a descriptor of it; upper may be "". By mount(2), since fsconfig(2) takes no more than
// 255 bytes at a time and so not a hundred layers.
//
// The marks of overlayfs are user.* attributes, as an ordinary user may set them (userxattr, Linux 5.11). Whatever the host's defaults
// are, a layer refers to no other by more than names, so that it can be moved and laid over others: no redirects, no files without
// their data, no index of inodes. userxattr excludes the first two by itself.
func (r *rootPlan) overlay(name string, lowers []string, upper, work string) plan.Reg {
	r.mkdirs(name)
	top := slices.Clone(lowers)
	slices.Reverse(top)
	options := "userxattr,lowerdir=" + strings.Join(top, ":")
	if upper != "" {
		options += ",upperdir=" + upper + ",workdir=" + work + ",index=off"
	}
	r.Call(unix.SYS_MOUNT, "mount", "overlay", r.Str("overlay"), r.Str(name), r.Str("overlay"), plan.Flag(unix.MS_NOSUID|unix.MS_NODEV, "MS_NOSUID|MS_NODEV"), r.Str(options))
	return r.openat2(plan.None, name, unix.O_PATH, "O_PATH", 0, "overlay")
}
