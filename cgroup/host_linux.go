package cgroup

import (
	"errors"
	"fmt"
	"path"
	"strings"

	"golang.org/x/sys/unix"
)

// Detect reads which hierarchies this process sees and where it stands in
// them. That there are none is no error: Base says so. It needs /proc.
func Detect() (*Host, error) {
	var text [2]string
	for i, p := range []string{"/proc/self/mountinfo", "/proc/self/cgroup"} {
		var err error
		if text[i], err = readString(unix.AT_FDCWD, p); err != nil {
			return nil, &Error{Op: "read", Path: p, Err: err}
		}
	}
	h := ParseHost(text[0], text[1], "")
	for i := range h.Hierarchies {
		h.Hierarchies[i].verify()
	}
	return h, nil
}

// magic is what statfs(2) says of the hierarchy's file system.
func (h *Hierarchy) magic() int64 {
	if h.Version == 1 {
		return unix.CGROUP_SUPER_MAGIC
	}
	return unix.CGROUP2_SUPER_MAGIC
}

// verify looks whether the mount really shows a cgroup file system: another
// one may lie on top of it, and /proc/self/cgroup may be about a group which
// the mount does not reach.
func (h *Hierarchy) verify() {
	if h.Unusable != "" {
		return
	}
	var st unix.Statfs_t
	dir, _ := h.dir("")
	switch err := unix.Statfs(dir, &st); {
	case err != nil:
		h.Unusable = dir + ": " + err.Error()
	case int64(st.Type) != h.magic():
		h.Unusable = dir + ": something else is mounted over it"
	case h.Version == 2:
		s, err := readString(unix.AT_FDCWD, path.Join(h.Mount, "cgroup.controllers"))
		if err != nil {
			h.Unusable = "cgroup.controllers: " + err.Error()
		}
		h.Controllers = parseV2Controllers(s)
	}
}

// Unified is this process's own group of v2 as a place for groups that need no controller, also where that hierarchy has none: what is noted or
// attached by group goes by those. It is false if there is none to be seen, or if processes could not be in groups below it, see "Threads" in the
// kernel's cgroup-v2.rst.
func (h *Host) Unified() (Parent, bool) {
	for i := range h.Hierarchies {
		if y := &h.Hierarchies[i]; y.Version == 2 && y.Unusable == "" {
			dir, ok := y.dir("")
			if kind, err := readString(unix.AT_FDCWD, path.Join(dir, "cgroup.type")); err == nil && strings.TrimSpace(kind) != "domain" { // the root has none
				return Parent{}, false
			}
			return Parent{Dirs: []Dir{{Version: 2, Path: dir}}}, ok
		}
	}
	return Parent{}, false
}

// Base returns the groups below which this process may make others, with all
// controllers of need. The others are included as far as they can be had.
//
// On v1 that is the process's own group of each hierarchy, so limits above
// keep holding. On v2 it is the nearest of its own group and the groups above
// which has the controllers and may hand them down: a group with member
// processes may not, except the real root. Base changes nothing.
//
// The error matches ErrUnsupported, and the errno that stood in the way.
func (h *Host) Base(need Controllers) (Parent, error) {
	return h.base(need)
}

func (h *Host) base(need Controllers) (Parent, error) {
	var p Parent
	held, err := h.held(need)
	if err != nil {
		return p, err
	}
	for i := range h.Hierarchies {
		y := &h.Hierarchies[i]
		c := held[y]
		if rare(c, need) {
			continue
		}
		d, err := y.base(c, need&c)
		if err != nil {
			if need&c == 0 {
				continue
			}
			return Parent{}, err
		}
		p.Dirs = append(p.Dirs, d)
	}
	return p, nil
}

// rare are hierarchies in which a group is of use only for limits that few ask
// for, and which are not worth one otherwise.
func rare(have, need Controllers) bool {
	return have&^(CPUSetController|HugetlbController) == 0 && have&need == 0
}

// held says which hierarchy has which controllers. Those of need must be in one.
func (h *Host) held(need Controllers) (map[*Hierarchy]Controllers, error) {
	held := map[*Hierarchy]Controllers{}
	for _, n := range controllerNames {
		if y := h.holder(n.c); y != nil {
			held[y] |= n.c
		} else if need.Has(n.c) {
			return nil, h.whyNot(n.c)
		}
	}
	return held, nil
}

func (h *Hierarchy) base(have, need Controllers) (Dir, error) {
	dir, ok := h.dir("")
	if !ok {
		return Dir{}, &UnsupportedError{Feature: "group of this process", Reason: "not below what is mounted at " + h.Mount, Err: unix.ENOENT}
	}
	if h.Version == 1 {
		if err := writable(dir, ""); err != nil {
			return Dir{}, h.refuse(need, err)
		}
		return Dir{Version: 1, Controllers: have, Path: dir}, nil
	}
	d, err := generous(have, need, func(need Controllers) (Dir, error) { return h.climb(dir, need) })
	if err != nil {
		return Dir{}, h.refuse(need, err)
	}
	d.Controllers &= have // the others are another hierarchy's
	return d, nil
}

// generous tries to get more than is needed: whoever asks for little now may
// want a quota later, from the same base. The usual controllers are worth a few
// steps up, the rest is not.
func generous(have, need Controllers, find func(Controllers) (Dir, error)) (d Dir, err error) {
	const usual = MemoryController | PidsController
	for _, want := range []Controllers{need | have&(usual|CPUController), need | have&usual, need} {
		if d, err = find(want); err == nil {
			return d, nil
		}
	}
	return d, err
}

func (h *Hierarchy) refuse(need Controllers, err error) error {
	u := &UnsupportedError{
		Feature: fmt.Sprintf("cgroup v%d group with %q", h.Version, need), Reason: "no group can be made", Err: err, Remedy: h.remedy(err),
	}
	if u.Fields = FieldsOf(err); u.Fields == nil {
		u.Fields = fieldsOf(need)
	}
	return u
}

// climb tries dir and the groups above it up to the mount point. The error is
// about the first, or about the first which could have been used but for the
// processes in it.
func (h *Hierarchy) climb(dir string, need Controllers) (Dir, error) {
	var first error
	for {
		d, err := offer(dir, need)
		if err == nil {
			return d, nil
		}
		if first == nil || errors.Is(err, unix.EBUSY) && !errors.Is(first, unix.EBUSY) {
			first = err
		}
		if dir == h.Mount || !strings.HasPrefix(dir, h.Mount) {
			return Dir{}, first
		}
		dir = path.Dir(dir)
	}
}

// offer reports what groups below dir can have, or why none can be made.
func offer(dir string, need Controllers) (Dir, error) {
	d := Dir{Version: 2, Path: dir}
	// cgroup.procs of the common ancestor must be writable for a process to
	// cross into the new group, at birth too.
	for _, f := range []string{"", "cgroup.procs"} {
		if err := writable(dir, f); err != nil {
			return d, err
		}
	}
	var text [4]string
	for i, f := range []string{"cgroup.controllers", "cgroup.subtree_control", "cgroup.procs", "cgroup.type"} {
		s, err := readString(unix.AT_FDCWD, dir+"/"+f)
		if err == unix.ENOENT && f == "cgroup.type" {
			s, err = "root", nil // only the real root has no type
		}
		if err != nil {
			return d, &Error{Op: "read", Path: dir + "/" + f, Err: err}
		}
		text[i] = strings.TrimSpace(s)
	}
	have, kind := parseV2Controllers(text[0]), text[3]
	d.Enabled = parseV2Controllers(text[1]) & have
	if kind != "root" && kind != "domain" {
		return d, &Error{Op: "use", Path: dir, Data: "cgroup.type " + kind, Err: unix.EOPNOTSUPP}
	}
	if missing := need &^ coreV2 &^ have; missing != 0 {
		return d, &Error{Op: "enable", Path: dir + "/cgroup.subtree_control", Data: missing.enable(), Err: unix.ENOENT}
	}
	d.Controllers = d.Enabled | coreV2
	if missing := need &^ coreV2 &^ d.Enabled; missing != 0 {
		if kind != "root" && text[2] != "" {
			return d, &Error{Op: "enable", Path: dir + "/cgroup.subtree_control", Data: missing.enable(), Err: unix.EBUSY}
		}
		if err := writable(dir, "cgroup.subtree_control"); err != nil {
			return d, err
		}
	}
	if kind == "root" || text[2] == "" {
		if writable(dir, "cgroup.subtree_control") == nil {
			d.Controllers |= have
		}
	}
	return d, nil
}

// writable asks by effective ids, which is what open and mkdir go by. It
// answers EROFS on a read-only mount.
func writable(dir, file string) error {
	p := path.Join(dir, file)
	if err := unix.Faccessat(unix.AT_FDCWD, p, unix.W_OK, unix.AT_EACCESS); err != nil {
		return &Error{Op: "access", Path: p, Err: err}
	}
	return nil
}
