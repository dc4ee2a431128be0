package sandbox

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/belljar-go/belljar/rootfs"
	"github.com/belljar-go/belljar/sandbox/internal/plan"
	"golang.org/x/sys/unix"
)

// newNodes has the zygote make nodes for the caller's devices, in a file system that belongs to the initial user namespace, without which nodes are
// dead. They are root's there, who does not exist inside, so what their modes do not allow stays so.
func (r *rootPlan) newNodes(keep *[]plan.Reg) {
	if !r.facts.makesNodes {
		return
	}
	for i, op := range r.ops {
		op, ok := op.(rootfs.Device)
		if !ok {
			continue
		}
		node := r.sources.at[op.Source].node
		mode := uint32(0o666)
		if op.Flags&rootfs.BindReadOnly != 0 {
			mode = 0o444
		}
		r.InParent(func() {
			if r.nodes == plan.None {
				r.nodes = r.filesystem("tmpfs", "devices", attrNone&^unix.MOUNT_ATTR_NODEV, "size=65536", "nr_inodes=1024", "mode=0755")
				*keep = append(*keep, r.nodes)
			}
			name := r.Str(strconv.Itoa(i))
			r.Call(unix.SYS_MKNODAT, "mknodat", op.Source, plan.R(r.nodes), name, plan.Flag(uint64(node.kind|mode), node.text(mode)),
				plan.Flag(node.rdev, strconv.Itoa(int(unix.Major(node.rdev)))+":"+strconv.Itoa(int(unix.Minor(node.rdev)))))
			// Whatever the umask has taken away.
			r.Call(unix.SYS_FCHMODAT, "fchmodat", op.Source, plan.R(r.nodes), name, octal(mode))
		})
	}
}

// takeNodes takes a handle of each new node.
func (r *rootPlan) takeNodes() {
	if r.nodes == plan.None {
		return
	}
	at := ""
	for _, op := range r.ops {
		if dev, ok := op.(rootfs.Dev); ok && at == "" {
			at = dev.Target
		}
	}
	r.borrow(r.nodes, at, "devices", func() {
		for i, op := range r.ops {
			if op, ok := op.(rootfs.Device); ok {
				r.trees[i] = r.openTreeAt(r.nodes, strconv.Itoa(i), op.Source)
			}
		}
	})
}

// device puts a node in its place. Its mount is read-only so that nothing about the node itself can be changed; that does not concern what is
// read and written through it.
func (r *rootPlan) device(i int, op rootfs.Device) {
	r.setattr(r.trees[i], op.Target, attrNone&^unix.MOUNT_ATTR_NODEV|attrRO, true, true)
	r.placeOwn(r.trees[i], op.Target, false)
}

// node is what a device of the host's is.
type node struct {
	kind uint32 // S_IFCHR or S_IFBLK; 0: no device
	rdev uint64
}

func (n node) text(mode uint32) string {
	kind := "S_IFCHR"
	if n.kind == unix.S_IFBLK {
		kind = "S_IFBLK"
	}
	return kind + "|" + octal(mode).Text
}

// devInodes is how many files /dev holds. It is read-only once they are made.
func (r *rootPlan) devInodes() int {
	n := 64
	for _, op := range r.ops {
		if d, ok := op.(rootfs.Device); ok {
			n += strings.Count(d.Target, "/")
		}
	}
	return n
}

// dev makes /dev: nodes of the host on empty files, since a user namespace cannot make nodes.
func (r *rootPlan) dev(op rootfs.Dev) {
	switch r.part {
	case ownPart:
		r.devMounts(op)
		return
	case groundedPart:
		r.placeDev(op)
		return
	}
	attrs := uint64(attrNone)
	if r.part != fixedPart { // otherwise nodes are mounts of their own, all of them
		attrs &^= unix.MOUNT_ATTR_NODEV
	}
	r.devfs, r.devAt = r.filesystem("tmpfs", op.Target, attrs, "size=65536", "nr_inodes="+strconv.Itoa(r.devInodes()), "mode=0755"), op.Target
	r.attachOwn(r.devfs, op.Target)
	r.enter(r.devfs, op.Target)
	for _, d := range deviceNames {
		r.placeOwn(r.devices[d], op.Target+"/"+d, false)
	}
	if r.part == fixedPart {
		r.strict = true
		for _, at := range devMounts {
			r.mountPoint(op.Target+at, true)
		}
		r.strict = false
	} else {
		r.devMounts(op)
	}
	for _, l := range [][2]string{{"pts/ptmx", "ptmx"}, {"/proc/self/fd", "fd"}, {"/proc/self/fd/0", "stdin"}, {"/proc/self/fd/1", "stdout"}, {"/proc/self/fd/2", "stderr"}} {
		r.symlink(l[0], op.Target+"/"+l[1])
	}
}

// devMounts are the places in /dev that are file systems of their own.
var devMounts = []string{"/pts", "/shm", "/mqueue"}

func (r *rootPlan) devMounts(op rootfs.Dev) {
	pts := []string{"mode=0620", "ptmxmode=0666", "max=256"} // of the 4096 that all sandboxes have together (kernel.pty.max)
	if r.ids.root && r.ids.mapsGID(ttyGroup) {
		pts = append(pts, fmt.Sprintf("gid=%d", ttyGroup))
	}
	r.placeOwn(r.filesystem("devpts", op.Target+"/pts", unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NOEXEC, pts...), op.Target+"/pts", true)
	r.placeOwn(r.filesystem("tmpfs", op.Target+"/shm", attrNone, "size="+strconv.FormatInt(op.ShmBytes(), 10), "nr_inodes=65536", "mode=1777"), op.Target+"/shm", true)
	if r.mqueue {
		r.placeOwn(r.filesystem("mqueue", op.Target+"/mqueue", attrNone), op.Target+"/mqueue", true)
	}
}
