package cgroup

import (
	"errors"
	"fmt"
	"os"
	"path"
	"slices"
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
	found    bool // made by another process
	returned bool
}

// MoveAside empties a group of v2 so that the controllers of need can be enabled
// in it, by moving its members to the group belljar-host-PID-START in it. The
// group is the one named as for ParentAt, or this process's own if parent is "".
//
// Who moves is the given program, all of it, this process, and what this process
// has started; or, if any are named, those processes and what they have started.
// It does so only where nothing else is in the way of need, and only if nobody
// else is in the group: otherwise nothing is changed, and the error is a
// *ParentError, with EBUSY if others are in the group, which it names. The caller
// calls Return in the end.
func (h *Host) MoveAside(parent string, program int, need Controllers, who ...int) (*Aside, error) {
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
	_, err = offer(dir, need&(y.Controllers|coreV2))
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
	a := &Aside{dir: dir, leaf: dir + "/" + asidePrefix + strings.TrimPrefix(name, ownerPrefix)}
	m := movers{pids: who, family: who}
	if len(who) == 0 {
		m = movers{pids: []int{program, os.Getpid()}, family: []int{os.Getpid()}}
	}
	if err := a.move(m); err != nil {
		if pe := (*ParentError)(nil); errors.As(err, &pe) {
			pe.Controller = e.names()
			return nil, n.fail(pe)
		}
		return nil, err
	}
	return a, nil
}

const asidePrefix = ownerPrefix + "host-"

// FindAside returns the Aside of the program that this process is in, or nil.
// Whoever made it may be dead: its groups keep the controllers enabled, so Return
// sweeps first.
func (h *Host) FindAside(program int) *Aside {
	for i := range h.Hierarchies {
		y := &h.Hierarchies[i]
		dir, ok := y.dir("")
		rest, named := strings.CutPrefix(path.Base(dir), asidePrefix)
		if !ok || !named || y.Version != 2 || y.Unusable != "" {
			continue
		}
		if pid, _, ok := parseOwner(ownerPrefix + rest); ok && pid == program {
			return &Aside{dir: path.Dir(dir), leaf: dir, found: true}
		}
	}
	return nil
}

// movers are the processes that step aside: some by name, wherever they are, and
// whoever of their family is in the group.
type movers struct{ pids, family []int }

func (m movers) has(pid int) bool {
	return slices.Contains(m.pids, pid) || descends(pid, m.family)
}

// moveRounds bounds what is tried against processes that fork meanwhile.
const moveRounds = 100

// move moves just these processes, or none.
func (a *Aside) move(who movers) error {
	members, err := a.inTheWay(who)
	if err != nil {
		return err
	}
	if err := retry(func() error { return unix.Mkdir(a.leaf, 0o755) }); err != nil && err != unix.EEXIST {
		return &Error{Op: "mkdir", Path: a.leaf, Err: err}
	}
	for _, pid := range who.pids {
		if err := a.enter(pid); err != nil {
			_ = a.Return()
			return err
		}
	}
	// Somebody may have come in, or been forked, since the first look.
	for range moveRounds {
		if members, err = a.inTheWay(who); err != nil || len(members) == 0 {
			break
		}
		for pid := range members {
			if err = a.enter(pid); err != nil && !errors.Is(err, unix.ESRCH) {
				_ = a.Return()
				return err
			}
		}
	}
	if err == nil && len(members) > 0 {
		err = &ParentError{Dir: a.dir, Err: unix.EBUSY, Reason: "the processes in it fork faster than they can be moved"}
	}
	if err != nil {
		_ = a.Return()
	}
	return err
}

func (a *Aside) enter(pid int) error {
	if err := writeAt(unix.AT_FDCWD, a.leaf+"/cgroup.procs", itoa(pid)); err != nil {
		return &Error{Op: "write", Path: a.leaf + "/cgroup.procs", Data: itoa(pid), Err: err}
	}
	return nil
}

// inTheWay returns who is in the group. It is an error if others than those who
// may step aside are.
func (a *Aside) inTheWay(who movers) (map[int]struct{}, error) {
	var m, others members
	if err := withList(unix.AT_FDCWD, a.dir+"/cgroup.procs", m.add); err != nil {
		return nil, &Error{Op: "read", Path: a.dir + "/cgroup.procs", Err: err}
	}
	others.foreign = m.foreign
	for pid := range m.pids {
		if !who.has(pid) {
			others.add([]byte(itoa(pid)))
		}
	}
	if len(others.pids)+others.foreign == 0 {
		return m.pids, nil
	}
	return nil, &ParentError{
		Dir: a.dir, Err: unix.EBUSY,
		Reason: fmt.Sprintf("a group with processes cannot hand it down; this program would step aside, but %s are in %s too", others.String(), a.dir),
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
	if a.found {
		_, _ = SweepBase(Parent{Dirs: []Dir{{Version: 2, Path: a.dir, Controllers: coreV2}}})
	}
	file := a.dir + "/cgroup.subtree_control"
	text, err := readString(unix.AT_FDCWD, file)
	if err != nil {
		return &Error{Op: "read", Path: file, Err: err}
	}
	// None was enabled before: in a group with processes that makes it threaded, which offer refuses.
	if since := parseV2Controllers(text); since != 0 {
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
