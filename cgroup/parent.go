package cgroup

import (
	"strconv"
	"strings"
)

// Dir is one group in one hierarchy. It is plain data.
type Dir struct {
	Version     int
	Controllers Controllers // what may be used there
	Enabled     Controllers // v2: what cgroup.subtree_control is known to hold
	Pending     Controllers // v2: what must first be enabled in the group above, too
	Path        string      // absolute, in the file system
}

// Parent is a group below which others may be made: one Dir per hierarchy, v2
// first, no controller in two of them. It is plain data; Host.Base finds one,
// a test may write one down.
type Parent struct {
	Dirs []Dir
}

// Controllers is all that can be used below the parent.
func (p Parent) Controllers() Controllers {
	var c Controllers
	for _, d := range p.Dirs {
		c |= d.Controllers
	}
	return c
}

// Description is where the group of a Manager or Leaf is, as plain data to
// send to another process, which hands it to Open.
type Description struct {
	Dirs []Dir
}

// ValidParent checks the form of a path for Host.ParentAt and looks at nothing
// else. The error is an *InvalidError.
func ValidParent(p string) error {
	bad := func(why string) error { return &InvalidError{"parent", p, why} }
	if !strings.HasPrefix(p, "/") {
		return bad("not absolute: name a group as /proc/self/cgroup does, or its directory below /sys/fs/cgroup")
	}
	if len(p) > maxParent {
		return bad("longer than a path can be")
	}
	if p == "/" {
		return nil
	}
	for _, s := range strings.Split(strings.TrimSuffix(p[1:], "/"), "/") {
		if err := validName("parent", s); err != nil {
			return bad("an element is empty, begins with a dot or holds a control character")
		}
	}
	return nil
}

// maxParent is less than PATH_MAX by what is put below a parent.
const maxParent = 3072

// ParentError says why no group can be made below one that was named
// explicitly. It matches ErrUnsupported, and its errno says which kind it is:
//
//	ENOENT      there is no such group, or (Controller is set) the group has not been handed the controller
//	EXDEV       there is one, but not in the hierarchy that has the controller
//	ENOTDIR     it is a file
//	EINVAL      it is no control group
//	EACCES      this user may not make groups there, or may not move processes into it from where it is; EPERM likewise
//	EROFS       the mount is read-only
//	EOPNOTSUPP  it is threaded (cgroup-v2.rst, "Threads")
//	ENOSPC      it has no CPUs or memory nodes (v1, where cpuset is needed)
//	EBUSY       it has processes of its own, so it cannot hand controllers down (v2)
type ParentError struct {
	Parent     string // as it was named
	Dir        string // the directory in question, if there is one
	Controller string // the one that cannot be had, or ""
	Reason     string
	Remedy     string // what to do
	Err        error  // the errno
}

func (e *ParentError) Error() string {
	s := "cgroup parent " + strconv.Quote(e.Parent) + ": "
	if e.Controller != "" {
		s += e.Controller + " controller: "
	}
	return s + e.Text()
}

// Text is the error without what Parent and Controller say.
func (e *ParentError) Text() string {
	s := e.Reason
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	if e.Remedy != "" {
		s += " (" + e.Remedy + ")"
	}
	return s
}

// Is makes errors.Is(err, ErrUnsupported) true.
func (e *ParentError) Is(target error) bool { return target == ErrUnsupported }

func (e *ParentError) Unwrap() error { return e.Err }
