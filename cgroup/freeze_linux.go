package cgroup

import (
	"bytes"
	"time"
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

// stuck reports whether a v1 freezer holds, or is about to hold, the
// processes of p.
func (p *place) stuck() bool {
	var is bool
	err := p.read("freezer.state", func(b []byte) { is = len(b) > 0 && !bytes.HasPrefix(b, []byte("THAWED")) })
	return err == nil && is
}
