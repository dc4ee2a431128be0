package cgroup

import (
	"errors"
	"fmt"
	"os"
	"path"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

// Aside is a group beside those of the sandboxes, to which a program and its
// helper have been moved: on v2 a group with member processes can hand no memory
// controller down (cgroup-v2.rst, "No Internal Process Constraint"). It is never
// inside an Owner's group, where Sweep would kill it; Sweep removes it when it is
// empty and the program is gone.
type Aside struct {
	mu       sync.Mutex
	dir      string // where the processes came from
	leaf     string
	before   Controllers // enabled in dir by others
	returned bool
}

// MoveAside empties a group of v2 so that the controllers of need can be enabled
// in it, by moving its members to the group belljar-host-PID-START in it. The
// group is the one named as for ParentAt, or this process's own if parent is "".
//
// It does so only where nothing else is in the way of need, and only if the
// members are the given program, all of it, and this process: otherwise nothing
// is changed, and the error is a *ParentError, with EBUSY if other processes are
// in the group, which it names. The caller calls Return in the end.
func (h *Host) MoveAside(parent string, program int, need Controllers) (*Aside, error) {
	name, err := OwnerName(program)
	if err != nil {
		return nil, err
	}
	y := h.holder(need &^ coreV2)
	if need&^coreV2 == 0 || y == nil || y.Version != 2 {
		return nil, &ParentError{Parent: parent, Reason: "nothing that needs the group empty is asked of v2", Err: unix.EINVAL}
	}
	group := ""
	if parent != "" {
		if err := ValidParent(parent); err != nil {
			return nil, err
		}
		group = h.groupPath(parent)
	}
	dir, ok := y.dir(group)
	if !ok {
		return nil, &ParentError{Parent: parent, Reason: "not below what is mounted at " + y.Mount, Err: unix.ENOENT}
	}
	n := named{h: h, given: parent, group: group}
	if parent == "" {
		n.given = dir
	}
	// Of the hierarchy's controllers; those elsewhere are no business of this group.
	d, err := offer(dir, need&(y.Controllers|coreV2))
	var e *Error
	switch {
	case err == nil:
		return nil, &ParentError{Parent: n.given, Dir: dir, Reason: "the group can be used as it is", Err: unix.EALREADY}
	case !errors.As(err, &e) || e.Op != "enable" || e.Err != error(unix.EBUSY):
		return nil, n.refuse(y, dir, err)
	}
	if err := writable(dir, "cgroup.subtree_control"); err != nil {
		return nil, n.refuse(y, dir, err)
	}
	a := &Aside{dir: dir, leaf: dir + "/" + asidePrefix + strings.TrimPrefix(name, ownerPrefix), before: d.Enabled}
	if err := a.move(program, os.Getpid()); err != nil {
		if pe := (*ParentError)(nil); errors.As(err, &pe) {
			pe.Controller = e.names()
			return nil, n.fail(pe)
		}
		return nil, err
	}
	return a, nil
}

const asidePrefix = ownerPrefix + "host-"

// move moves just these processes, or none.
func (a *Aside) move(pids ...int) error {
	if err := a.inTheWay(pids); err != nil {
		return err
	}
	if err := retry(func() error { return unix.Mkdir(a.leaf, 0o755) }); err != nil && err != unix.EEXIST {
		return &Error{Op: "mkdir", Path: a.leaf, Err: err}
	}
	for _, pid := range pids {
		if err := writeAt(unix.AT_FDCWD, a.leaf+"/cgroup.procs", itoa(pid)); err != nil {
			_ = a.Return()
			return &Error{Op: "write", Path: a.leaf + "/cgroup.procs", Data: itoa(pid), Err: err}
		}
	}
	// Somebody may have come in, or been forked, since the first look.
	if err := a.inTheWay(nil); err != nil {
		_ = a.Return()
		return err
	}
	return nil
}

// inTheWay is an error if others than the given are in the group.
func (a *Aside) inTheWay(may []int) error {
	var m members
	if err := withList(unix.AT_FDCWD, a.dir+"/cgroup.procs", m.add); err != nil {
		return &Error{Op: "read", Path: a.dir + "/cgroup.procs", Err: err}
	}
	for _, pid := range may {
		delete(m.pids, pid)
	}
	if len(m.pids)+m.foreign == 0 {
		return nil
	}
	return &ParentError{
		Dir: a.dir, Err: unix.EBUSY,
		Reason: fmt.Sprintf("a group with processes cannot hand it down; this program would step aside, but %s are in %s too", m.String(), a.dir),
		Remedy: "move those into a group of their own (mkdir " + a.dir + "/others, and write each pid to cgroup.procs there), or start the program in a group of its own: systemd-run --user --scope -p Delegate=yes PROGRAM",
	}
}

// Dir is where the processes are.
func (a *Aside) Dir() string { return a.leaf }

// Return disables the controllers that were enabled since, moves whoever is in
// the group back, children included, and removes it. The sandboxes of the program
// must be gone, and its Owner closed. EBUSY: somebody else uses the controllers
// by now, and all stays as it is; Return may be called again.
func (a *Aside) Return() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.returned {
		return nil
	}
	file := a.dir + "/cgroup.subtree_control"
	text, err := readString(unix.AT_FDCWD, file)
	if err != nil {
		return &Error{Op: "read", Path: file, Err: err}
	}
	if since := parseV2Controllers(text) &^ a.before; since != 0 {
		data := strings.ReplaceAll(since.enable(), "+", "-")
		if err := writeAt(unix.AT_FDCWD, file, data); err != nil {
			return &Error{Op: "write", Path: file, Data: data, Err: err}
		}
	}
	for wait := newBackoff(soon()); ; {
		if err := a.back(); err != nil {
			return err
		}
		err := retry(func() error { return unix.Rmdir(a.leaf) })
		if err == nil || err == unix.ENOENT {
			a.returned = true
			return nil
		}
		if err != unix.EBUSY || !wait.wait() { // the dying count for a moment
			return &Error{Op: "rmdir", Path: a.leaf, Err: err}
		}
	}
}

// back moves all that are in the group now.
func (a *Aside) back() error {
	var m members
	if err := withList(unix.AT_FDCWD, a.leaf+"/cgroup.procs", m.add); err != nil && !gone(err) {
		return &Error{Op: "read", Path: a.leaf + "/cgroup.procs", Err: err}
	}
	for pid := range m.pids {
		err := writeAt(unix.AT_FDCWD, a.dir+"/cgroup.procs", itoa(pid))
		if err != nil && err != unix.ESRCH {
			return &Error{Op: "write", Path: a.dir + "/cgroup.procs", Data: itoa(pid), Err: err}
		}
	}
	return nil
}

// sweepAsides removes the empty groups of programs that stepped aside and have died.
func sweepAsides(dir string, subs []string) (removed []string) {
	for _, s := range subs {
		rest, ok := strings.CutPrefix(s, asidePrefix)
		if !ok {
			continue
		}
		pid, start, ok := parseOwner(ownerPrefix + rest)
		if ok && !alive(pid, start) && unix.Rmdir(path.Join(dir, s)) == nil {
			removed = append(removed, s)
		}
	}
	return removed
}
