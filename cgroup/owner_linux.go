package cgroup

import (
	"strconv"
	"sync"

	"golang.org/x/sys/unix"
)

// Owner is the group of one program, below which its sandboxes are. While it
// is open, and so until this process has ended however that comes about, it
// holds a lock on its directories: Sweep in another pid namespace, to which
// the pid in the name means nothing, takes it for alive by that.
type Owner struct {
	mu     sync.Mutex
	parent Parent
	fds    []int
	closed bool
}

// OwnerName is the name of the group of the program with the given pid:
// belljar-<pid>-<start time in ticks since boot>. Its further groups, see
// Options.Number, have "-" and their number after that.
func OwnerName(pid int) (string, error) {
	start, err := startTime(pid)
	if err != nil {
		return "", err
	}
	return ownerPrefix + strconv.Itoa(pid) + "-" + strconv.FormatUint(start, 10), nil
}

func startTime(pid int) (uint64, error) {
	p := "/proc/" + strconv.Itoa(pid) + "/stat"
	s, err := readString(unix.AT_FDCWD, p)
	if err != nil {
		return 0, &Error{Op: "read", Path: p, Err: err}
	}
	t, ok := parseStartTime([]byte(s))
	if !ok {
		return 0, &Error{Op: "read", Path: p, Data: s, Err: unix.EPROTO}
	}
	return t, nil
}

// NewOwner makes the group of the program with the given pid in every
// hierarchy of base, which is what Host.Base returned. If any step fails,
// everything made is removed again.
func NewOwner(base Parent, pid int, o Options) (*Owner, error) {
	name, err := OwnerName(pid)
	if err != nil {
		return nil, err
	}
	if o.Number > 0 {
		name += "-" + strconv.Itoa(o.Number)
	}
	p, below := planOwner(base, name, o.accounts())
	b := newBuilder(base.Dirs, nil, o.Trace)
	if err := b.run(p.steps); err != nil {
		return nil, err
	}
	w := &Owner{parent: below, fds: b.group}
	for i, fd := range w.fds {
		if err := retry(func() error { return unix.Flock(fd, unix.LOCK_SH|unix.LOCK_NB) }); err != nil {
			b.undo()
			return nil, &Error{Op: "flock", Path: below.Dirs[i].Path, Err: err}
		}
	}
	return w, nil
}

// Parent is what New wants.
func (w *Owner) Parent() Parent { return w.parent }

// FD is the group's directory in the unified hierarchy, for clone3 with CLONE_INTO_CGROUP, or -1 if nothing of it is there. The Owner owns it.
func (w *Owner) FD() int {
	for i, d := range w.parent.Dirs {
		if d.Version == 2 {
			return w.fds[i]
		}
	}
	return -1
}

// New makes a group there, as NewWith does, but by the descriptors that the Owner has of its directories: of a path the
// kernel looks up each part. The Owner must not be closed before the group is deleted.
func (w *Owner) New(name string, l Limits, o Options) (*Manager, error) {
	return newManager(w.parent, w.fds, name, l, o)
}

// Close removes the group. All sandboxes must have been deleted; otherwise the
// error is EBUSY and Close may be called again. Closing twice is no error.
func (w *Owner) Close() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return nil
	}
	for _, d := range w.parent.Dirs {
		err := retry(func() error { return unix.Rmdir(d.Path) })
		if err != nil && err != unix.ENOENT {
			return &Error{Op: "rmdir", Path: d.Path, Err: err}
		}
	}
	w.closed = true
	closeAll(w.fds)
	return nil
}
