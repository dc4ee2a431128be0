package cgroup

import (
	"bytes"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// freeze stops or continues a group and waits until the kernel says so.
func (ps places) freeze(on bool, deadline time.Time) error {
	p := ps.of(FreezerController)
	if p == nil {
		return &UnsupportedError{Feature: "freeze", Reason: "there is no freezer here", Remedy: "mount the v1 freezer hierarchy or boot with the unified one"}
	}
	op, file, data := "freeze", "freezer.state", "FROZEN"
	if !on {
		op, data = "thaw", "THAWED"
	}
	if p.Version == 2 {
		file, data = "cgroup.freeze", "1"
		if !on {
			data = "0"
		}
	}
	for wait := newBackoff(orDefault(deadline)); ; {
		// v1 needs another push for tasks which could not stop at first.
		if err := p.write(file, data); err != nil {
			return err
		}
		if is, err := p.isFrozen(); err != nil || is == on {
			return err
		}
		if !wait.wait() {
			_ = p.write(file, map[int]string{1: "THAWED", 2: "0"}[p.Version]) // not half frozen
			return p.err(op, file, data, errDeadline)
		}
	}
}

// isFrozen reports whether all processes of the group have stopped. On v1 a
// group which is on its way there is not thawed either: freezing reads as not
// frozen, see thawed.
func (p *place) isFrozen() (bool, error) {
	if p.Version == 2 {
		var v uint64
		err := p.read("cgroup.events", func(b []byte) { v, _ = parseKey(b, "frozen") })
		return v != 0, err
	}
	var is bool
	err := p.read("freezer.state", func(b []byte) { is = bytes.HasPrefix(b, []byte("FROZEN")) })
	return is, err
}

// stuckBelow reports whether a v1 freezer holds, or is about to hold, processes
// of p or of a group below: a job to which the group was handed may have frozen
// some of its own, and SIGKILL does not reach those.
func (p *place) stuckBelow() bool { return stuck(p.fd, p.dirName()) }

func stuck(dirfd int, name string) bool {
	fd, subs, err := openSubdirs(dirfd, name)
	if err != nil {
		return false
	}
	defer unix.Close(fd)
	var is bool
	err = withFile(fd, "freezer.state", func(b []byte) { is = len(b) > 0 && !bytes.HasPrefix(b, []byte("THAWED")) })
	return err == nil && is || slices.ContainsFunc(subs, func(s string) bool { return stuck(fd, s) })
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
