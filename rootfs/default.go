package rootfs

import (
	"io/fs"
	"slices"
)

// Default returns the operations of the default root, with which programs of the host run
// where no root has been given: an empty tmpfs with the host's /usr, /bin, /sbin and /lib*
// read-only; a minimal /etc; its own /proc, masked, and /dev; and empty, writable /tmp and
// /box, the latter the job's. The root itself is read-only.
//
// The operations of more come in addition, and in place of those of the default root at
// and below their paths. What more makes is left as it is; the list is good if [Check]
// finds more good and nothing of it is in /proc.
func Default(f Facts, e Etc, more ...Op) []Op {
	body := slices.Concat(f.ops(e), procAndDev(), writable())
	for _, m := range more {
		if isAmend(m) {
			continue
		}
		body = slices.DeleteFunc(body, func(op Op) bool { return replaces(m, op) })
	}
	ops := slices.Concat([]Op{Tmpfs{Target: "/", Size: rootSize(body, more), Mode: 0o755}}, body, more)
	return append(ops, ReadOnly{Target: "/"})
}

// On returns the operations of a root on a directory of the host: read-only, with its own
// /proc, masked, and /dev in place of whatever the directory has there, and more.
func On(dir string, more ...Op) []Op {
	return slices.Concat([]Op{Base{Dir: dir}}, procAndDev(), more)
}

// ops returns what comes from the host, and /etc.
func (f Facts) ops(e Etc) []Op {
	var ops []Op
	for _, p := range rootDirs {
		if op, ok := f.op(p, BindReadOnly); ok {
			ops = append(ops, op)
		}
	}
	ops = append(ops, Dir{Target: "/etc"})
	ops = append(ops, e.Ops()...)
	for _, p := range f.etc() {
		if op, ok := f.op(p, BindReadOnly|BindOptional); ok {
			ops = append(ops, op)
		}
	}
	return ops
}

func procAndDev() []Op {
	return slices.Concat([]Op{Proc{Target: "/proc"}}, ProcOps(), []Op{Dev{Target: "/dev"}})
}

func writable() []Op {
	return []Op{
		Tmpfs{Target: "/tmp", Mode: fs.ModeSticky | 0o777},
		Tmpfs{Target: "/box", Mode: 0o755, JobOwned: true},
	}
}

// replaces reports whether m takes the place of an operation of the default root. A
// directory takes nobody's place: it may be there already.
func replaces(m, op Op) bool {
	if !m.covers() {
		return m.Path() == op.Path()
	}
	return Within(op.Path(), m.Path())
}

// rootSize is what the tmpfs of the root has to hold: files and mount points. It is
// read-only afterwards and so never fills up.
func rootSize(lists ...[]Op) int64 {
	const page = 64 << 10 // the largest there is
	size := int64(1 << 20)
	for _, ops := range lists {
		size += int64(len(ops)) * page
		for _, op := range ops {
			if f, ok := op.(File); ok {
				size += int64(len(f.Data))
			}
		}
	}
	return size
}
