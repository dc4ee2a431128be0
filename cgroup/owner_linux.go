package cgroup

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
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
// belljar-<pid>-<start time in ticks since boot>.
func OwnerName(pid int) (string, error) {
	start, err := startTime(pid)
	if err != nil {
		return "", err
	}
	return ownerPrefix + strconv.Itoa(pid) + "-" + strconv.FormatUint(start, 10), nil
}

const ownerPrefix = "belljar-"

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

func parseOwner(name string) (pid int, start uint64, ok bool) {
	rest, ok := strings.CutPrefix(name, ownerPrefix)
	a, b, ok2 := strings.Cut(rest, "-")
	n, ok3 := parseUint([]byte(a))
	start, ok4 := parseUint([]byte(b))
	if !ok || !ok2 || !ok3 || !ok4 || n == 0 || n > maxPids {
		return 0, 0, false
	}
	return int(n), start, true
}

// NewOwner makes the group of the program with the given pid in every
// hierarchy of base, which is what Host.Base returned. If any step fails,
// everything made is removed again.
func NewOwner(base Parent, pid int, o Options) (*Owner, error) {
	name, err := OwnerName(pid)
	if err != nil {
		return nil, err
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

// planOwner hands the accounts down; controllers for limits follow when the
// first sandbox needs them.
func planOwner(base Parent, name string, accounts Controllers) (*plan, Parent) {
	p := &plan{}
	below := Parent{Dirs: make([]Dir, 0, len(base.Dirs))}
	for i, d := range base.Dirs {
		n := Dir{Version: d.Version, Controllers: d.Controllers, Path: d.Path + "/" + name}
		give := accounts & d.Controllers &^ coreV2
		if d.Version == 2 {
			if missing := give &^ d.Enabled; missing != 0 {
				p.add(step{do: opWrite, at: i, rel: "cgroup.subtree_control", data: missing.enable()})
			}
			n.Enabled = give
			n.Pending = d.Controllers &^ coreV2 &^ d.Enabled &^ give
		}
		p.add(step{do: opMkdir, at: i, rel: name})
		p.add(step{do: opOpenDir, at: i, rel: name})
		if d.Version == 2 && give != 0 {
			p.add(step{do: opWrite, at: i, rel: name + "/cgroup.subtree_control", data: give.enable()})
		}
		below.Dirs = append(below.Dirs, n)
	}
	return p, below
}

// Parent is what New wants.
func (w *Owner) Parent() Parent { return w.parent }

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

// Sweep removes what programs that have died left below the base of this
// process, killing what is still inside. It returns the names removed. On a
// host where no group can be made there is nothing to sweep, and no error.
func Sweep() ([]string, error) {
	h, err := Detect()
	if err != nil {
		return nil, err
	}
	p, err := h.Base(0)
	if err != nil {
		if errors.Is(err, ErrUnsupported) {
			err = nil
		}
		return nil, err
	}
	return SweepBase(p)
}

// SweepBase is Sweep below a given base. A group is removed only if its name
// is that of a program, no process has that pid and start time, and nobody
// holds the lock of Owner.
func SweepBase(base Parent) ([]string, error) {
	names := map[string]bool{}
	errs, removed := []error{}, []string{}
	for _, d := range base.Dirs {
		fd, subs, err := openSubdirs(unix.AT_FDCWD, d.Path)
		if err != nil {
			errs = append(errs, &Error{Op: "open", Path: d.Path, Err: err})
			continue
		}
		unix.Close(fd)
		for _, s := range subs {
			if pid, start, ok := parseOwner(s); ok && !alive(pid, start) {
				names[s] = true
			}
		}
	}
	for name := range names {
		switch done, err := sweepOne(base, name); {
		case err != nil:
			errs = append(errs, fmt.Errorf("sweep %s: %w", name, err))
		case done:
			removed = append(removed, name)
		}
	}
	return removed, errors.Join(errs...)
}

// alive reports whether a process has the pid and start time. In doubt it
// has: /proc may hide processes of others.
func alive(pid int, start uint64) bool {
	if unix.Kill(pid, 0) == unix.ESRCH {
		return false
	}
	now, err := startTime(pid)
	if errors.Is(err, unix.ESRCH) { // it ended during the read
		return false
	}
	return err != nil || now == start
}

// sweepOne returns false if somebody holds the lock after all.
func sweepOne(base Parent, name string) (bool, error) {
	var ps places
	defer func() {
		for _, p := range ps {
			unix.Close(p.fd)
		}
	}()
	for _, d := range base.Dirs {
		d.Path += "/" + name
		fd, err := openDirAt(unix.AT_FDCWD, d.Path)
		if err == unix.ENOENT {
			continue
		}
		if err != nil {
			return false, &Error{Op: "open", Path: d.Path, Err: err}
		}
		ps = append(ps, place{Dir: d, fd: fd})
		// Held until the end, so that two sweeps do not work on the same.
		switch err := retry(func() error { return unix.Flock(fd, unix.LOCK_EX|unix.LOCK_NB) }); err {
		case nil:
		case unix.EWOULDBLOCK:
			return false, nil
		default:
			return false, &Error{Op: "flock", Path: d.Path, Err: err}
		}
	}
	k := killer{ps: ps}
	if f := ps.of(FreezerController); f != nil && f.Version == 1 {
		k.frozen = func() bool { return true } // groups below may be
		k.release = func(map[int]struct{}) { thawTree(f.fd, ".") }
	}
	if err := k.run(soon()); err != nil {
		return false, err
	}
	wait := newBackoff(soon())
	for i := range ps {
		if err := removeTree(unix.AT_FDCWD, ps[i].Path, wait); err != nil {
			return false, ps[i].busy(err)
		}
	}
	return len(ps) > 0, nil
}

// thawTree thaws a v1 freezer group and all below.
func thawTree(dirfd int, name string) {
	fd, subs, err := openSubdirs(dirfd, name)
	if err != nil {
		return
	}
	defer unix.Close(fd)
	_ = writeAt(fd, "freezer.state", "THAWED")
	for _, s := range subs {
		thawTree(fd, s)
	}
}
