package cgroup

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// ParentAt is Base with an explicit group, which must exist; limits and accounts
// of it and of the groups above hold for what is made below.
//
// p is the group's path as /proc/self/cgroup shows paths: absolute, from the top
// of each hierarchy as this process sees it. A directory below the mount point of
// a hierarchy is taken as well, and means the path it has there: on a usual host
// "/a/b" and "/sys/fs/cgroup/a/b" are the same. With several hierarchies (v1) the
// group must be in each that holds a controller of need; of the others those
// count in which it is.
//
// On v2 the group must not have processes of its own, unless it hands the
// controllers of need down already, and must itself have been given them. An
// ordinary user can only use a group if the nearest group that is above both it
// and this process is the user's as well (cgroups(7), "Delegation containment").
// ParentAt changes nothing. The error is an *InvalidError, a *ParentError, or an
// *UnsupportedError if the host has no controller of need at all.
func (h *Host) ParentAt(p string, need Controllers) (Parent, error) {
	if err := ValidParent(p); err != nil {
		return Parent{}, err
	}
	held, err := h.held(need)
	if err != nil {
		return Parent{}, err
	}
	n := named{h: h, given: p, group: h.groupPath(p)}
	var all Parent
	var first error
	for i := range h.Hierarchies {
		y := &h.Hierarchies[i]
		c := held[y]
		if rare(c, need) {
			continue
		}
		d, err := n.in(y, c, need&c)
		if err == nil {
			all.Dirs = append(all.Dirs, d)
			continue
		}
		if need&c != 0 {
			return Parent{}, err
		}
		if first == nil || errors.Is(first, unix.ENOENT) {
			first = err
		}
	}
	if len(all.Dirs) > 0 {
		return all, nil
	}
	if first == nil {
		first = n.fail(&ParentError{Reason: "no hierarchy can be used: " + h.whyNot(need).Error(), Err: unix.ENOENT})
	}
	return Parent{}, first
}

// groupPath makes a path from the top of a hierarchy out of a directory below
// where one is mounted.
func (h *Host) groupPath(p string) string {
	if p = strings.TrimSuffix(p, "/"); p == "" {
		return "/"
	}
	best, mount := p, ""
	for i := range h.Hierarchies {
		y := &h.Hierarchies[i]
		rest, ok := strings.CutPrefix(p, strings.TrimSuffix(y.Mount, "/"))
		if ok && (rest == "" || rest[0] == '/') && len(y.Mount) > len(mount) {
			best, mount = path.Join(y.Root, rest), y.Mount
		}
	}
	return best
}

// named is a parent that a caller named.
type named struct {
	h            *Host
	given, group string
}

func (n *named) fail(e *ParentError) error {
	e.Parent = n.given
	return e
}

// in looks for the group in one hierarchy. need are those of the hierarchy's
// controllers that must be had, have are all.
func (n *named) in(y *Hierarchy, have, need Controllers) (Dir, error) {
	dir, ok := y.dir(n.group)
	if !ok {
		return Dir{}, n.fail(&ParentError{
			Reason: "it is not among what is mounted at " + y.Mount + ", which begins at the group " + y.Root, Err: unix.ENOENT,
			Remedy: "name a group below " + y.Root,
		})
	}
	if err := n.look(y, dir, need); err != nil {
		return Dir{}, err
	}
	if y.Version == 1 {
		if err := writable(dir, ""); err != nil {
			return Dir{}, n.refuse(y, dir, err)
		}
		if have.Has(CPUSetController) {
			if err := n.hasSets(dir); err != nil {
				return Dir{}, err
			}
		}
		return Dir{Version: 1, Controllers: have, Path: dir}, nil
	}
	d, err := generous(have, need, func(need Controllers) (Dir, error) { return offer(dir, need) })
	if err == nil {
		err = y.enterable(dir)
	}
	if err != nil {
		return Dir{}, n.refuse(y, dir, err)
	}
	d.Controllers &= have
	return d, nil
}

// hasSets refuses a group of v1 that nobody has given CPUs and memory nodes to,
// as new ones have none: no process could enter one below it.
func (n *named) hasSets(dir string) error {
	for _, s := range (Limits{}).sets() {
		text, err := readString(unix.AT_FDCWD, dir+"/"+s.file)
		if err == nil && strings.TrimSpace(text) == "" {
			return n.fail(&ParentError{
				Dir: dir, Controller: "cpuset", Reason: dir + "/" + s.file + " is empty, so no process can be in a group below", Err: unix.ENOSPC,
				Remedy: "as root: cat " + path.Dir(dir) + "/" + s.file + " > " + dir + "/" + s.file,
			})
		}
	}
	return nil
}

// look finds out whether dir is a group.
func (n *named) look(y *Hierarchy, dir string, need Controllers) error {
	var st unix.Stat_t
	var fs unix.Statfs_t
	err := unix.Stat(dir, &st)
	if err == nil {
		err = unix.Statfs(dir, &fs)
	}
	switch {
	case errors.Is(err, unix.ENOENT):
		return n.missing(y, dir, need)
	case err != nil:
		return n.refuse(y, dir, &Error{Op: "stat", Path: dir, Err: err})
	case st.Mode&unix.S_IFMT != unix.S_IFDIR:
		return n.fail(&ParentError{Dir: dir, Reason: dir + " is a file", Err: unix.ENOTDIR, Remedy: "name the directory of a group"})
	case int64(fs.Type) != y.magic():
		return n.fail(&ParentError{Dir: dir, Reason: dir + " is no control group", Err: unix.EINVAL, Remedy: "something else is mounted there: name another group"})
	}
	return nil
}

// missing tells a group that is nowhere from one that is in other hierarchies.
func (n *named) missing(y *Hierarchy, dir string, need Controllers) error {
	for i := range n.h.Hierarchies {
		o := &n.h.Hierarchies[i]
		other, ok := o.dir(n.group)
		if o == y || !ok || n.group == "/" || unix.Access(other, unix.F_OK) != nil {
			continue
		}
		return n.fail(&ParentError{
			Dir: dir, Controller: first(need), Err: unix.EXDEV,
			Reason: fmt.Sprintf("the group is in the v%d hierarchy at %s, not in the v%d one at %s", o.Version, o.Mount, y.Version, y.Mount),
			Remedy: "mkdir " + dir,
		})
	}
	e := &ParentError{Dir: dir, Reason: dir + " does not exist", Err: unix.ENOENT, Remedy: "mkdir " + dir}
	if unix.Access(n.given, unix.F_OK) == nil {
		e.Reason += ", and " + n.given + " is not below a mount of cgroups"
		e.Remedy = "name a group as /proc/self/cgroup does, or its directory below " + y.Mount
	}
	return n.fail(e)
}

// first is the kernel's name of one controller of c, or "".
func first(c Controllers) string {
	name, _, _ := strings.Cut(c.String(), ",")
	return name
}

// refuse words what stands in the way at dir.
func (n *named) refuse(y *Hierarchy, dir string, err error) error {
	p := &ParentError{Dir: dir, Err: err, Reason: "no group can be made in it", Remedy: y.remedy(err)}
	var e *Error
	if errors.As(err, &e) {
		p.Dir, p.Err = e.Path, e.Err
		switch {
		case e.Op == "enable":
			p.Controller, p.Reason = e.names(), "it cannot be switched on in "+e.Path
			if errors.Is(err, unix.EBUSY) {
				p.Reason += ", for " + inhabitants(dir) + " are in the group itself"
			}
		case e.Op == "enter":
			p.Reason = "a process of this user cannot be moved into it: " + e.Path
		case errors.Is(err, unix.EOPNOTSUPP):
			p.Reason = e.Path + " has the " + e.Data
		default:
			p.Reason = e.Path
		}
	}
	return n.fail(p)
}

// inhabitants names the processes of a group, without those of groups below.
func inhabitants(dir string) string {
	var m members
	_ = withList(unix.AT_FDCWD, dir+"/cgroup.procs", m.add)
	return m.String()
}

// enterable asks whether a process of this user may get from its group into
// those below dir: the nearest group above both must let it.
func (h *Hierarchy) enterable(dir string) error {
	own, ok := h.dir("")
	if !ok {
		return nil
	}
	common := dir
	for common != own && !strings.HasPrefix(own, strings.TrimSuffix(common, "/")+"/") {
		common = path.Dir(common)
	}
	if err := writable(common, "cgroup.procs"); err != nil {
		var e *Error
		if errors.As(err, &e) {
			e.Op = "enter"
		}
		return err
	}
	return nil
}

// remedy says what to do about an error of offer.
func (h *Hierarchy) remedy(err error) string {
	var e *Error
	if !errors.As(err, &e) {
		return ""
	}
	is := func(n ...unix.Errno) bool {
		return slices.ContainsFunc(n, func(n unix.Errno) bool { return errors.Is(err, n) })
	}
	switch {
	case e.Op == "enable" && is(unix.ENOENT):
		return h.handDown(path.Dir(e.Path), parseV2Controllers(e.names()))
	case e.Op == "enter":
		return "start the program in a group below, next to the parent: systemd-run --user --scope -p Delegate=yes PROGRAM"
	case is(unix.EBUSY):
		return remedyInner
	case is(unix.EROFS):
		return remedyReadOnly
	case is(unix.EOPNOTSUPP):
		return "name a group whose cgroup.type is domain: threads, not processes, are what a threaded one divides"
	case is(unix.EACCES, unix.EPERM):
		return remedyDelegate
	}
	return ""
}

// handDown says where the controllers that dir lacks are lost on the way, and
// what to write there.
func (h *Hierarchy) handDown(dir string, lack Controllers) string {
	have, err := groupControllers(dir)
	if err != nil {
		return ""
	}
	lack &^= have
	names := strings.ReplaceAll(lack.enable(), "+", "")
	var groups []string
	for at := dir; at != h.Mount && strings.HasPrefix(at, h.Mount); {
		at = path.Dir(at)
		groups = append(groups, at)
		if c, err := groupControllers(at); err == nil && c.Has(lack) {
			slices.Reverse(groups)
			s := "as root: echo '" + lack.enable() + "' | tee"
			for _, g := range groups {
				s += " " + g + "/cgroup.subtree_control"
			}
			if strings.Contains(dir, "/user@") {
				return s + "; for good: Delegate=cpu cpuset io memory pids in /etc/systemd/system/user@.service.d/delegate.conf"
			}
			return s + "; for a unit of systemd: Delegate=" + names
		}
	}
	return "not even " + h.Mount + "/cgroup.controllers has " + names + ": in a container it must be handed down outside, on a host a hierarchy of v1 may have it, or the kernel's command line may disable it (cgroup_disable=)"
}

func groupControllers(dir string) (Controllers, error) {
	s, err := readString(unix.AT_FDCWD, dir+"/cgroup.controllers")
	return parseV2Controllers(s), err
}
