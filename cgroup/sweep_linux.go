package cgroup

import (
	"errors"
	"fmt"
	"path"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Sweep removes what programs that have died left wherever Base may have put
// them: below this process's own group in every hierarchy and, on v2, below
// those above it. See SweepBase.
func Sweep() ([]string, error) {
	h, err := Detect()
	if err != nil {
		return nil, err
	}
	var p Parent
	for i := range h.Hierarchies {
		y := &h.Hierarchies[i]
		dir, _ := y.dir("")
		if y.Unusable != "" || y.ReadOnly {
			continue
		}
		d := y.all(dir)
		p.Dirs = append(p.Dirs, d)
		for y.Version == 2 && d.Path != y.Mount && strings.HasPrefix(d.Path, y.Mount) {
			d.Path = path.Dir(d.Path)
			p.Dirs = append(p.Dirs, d)
		}
	}
	return SweepBase(p)
}

// SweepAt is Sweep below a group named as for Host.ParentAt, wherever it is. A
// program that makes groups below such a parent is not found by Sweep.
func SweepAt(parent string) ([]string, error) {
	if err := ValidParent(parent); err != nil {
		return nil, err
	}
	h, err := Detect()
	if err != nil {
		return nil, err
	}
	n := named{h: h, given: parent, group: h.groupPath(parent)}
	var p Parent
	var missing error
	for i := range h.Hierarchies {
		y := &h.Hierarchies[i]
		dir, ok := y.dir(n.group)
		if y.Unusable != "" || y.ReadOnly || !ok {
			continue
		}
		if err := n.look(y, dir, 0); err != nil {
			missing = err
			continue
		}
		p.Dirs = append(p.Dirs, y.all(dir))
	}
	if len(p.Dirs) == 0 {
		return nil, missing
	}
	return SweepBase(p)
}

// all is a group with whatever controllers the hierarchy has.
func (h *Hierarchy) all(dir string) Dir {
	d := Dir{Version: h.Version, Controllers: h.Controllers, Path: dir}
	if h.Version == 2 {
		d.Controllers |= coreV2
	}
	return d
}

// SweepBase removes what programs that have died left below the given base,
// killing what is still inside, and returns the names removed. A group goes
// only if its name is that of a program, no process has that pid and start
// time, and nobody holds the lock of Owner. What this process has no
// permission to remove is left to who has.
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
		removed = append(removed, sweepAsides(d.Path, subs)...)
		for _, s := range subs {
			if pid, start, ok := parseOwner(s); ok && !alive(pid, start) {
				names[s] = true
			}
		}
	}
	for name := range names {
		switch done, err := sweepOne(base, name); {
		case errors.Is(err, unix.EACCES), errors.Is(err, unix.EPERM), errors.Is(err, unix.EROFS):
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
	k.addLiftAll(ps.of(IOController))
	if f := ps.of(FreezerController); f != nil && f.Version == 1 {
		k.frozen = f.stuckBelow
		k.release = func(map[int]struct{}) { thawTree(f.fd, ".") }
	}
	// Somebody else may be removing it as well: what is gone is fine.
	if err := k.run(time.Time{}); err != nil && !gone(err) {
		return false, err
	}
	wait := newBackoff(soon())
	for i := range ps {
		if err := removeTree(unix.AT_FDCWD, ps[i].Path, wait); err != nil && !gone(err) {
			return false, ps[i].busy(err)
		}
	}
	return len(ps) > 0, nil
}
