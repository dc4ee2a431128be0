package cgroup

import "strings"

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

// parentPath checks an explicit path given from the top of a hierarchy.
func parentPath(p string) error {
	bad := func(why string) error { return &InvalidError{"parent", p, why} }
	if !strings.HasPrefix(p, "/") {
		return bad("not absolute")
	}
	if p == "/" {
		return nil
	}
	for _, s := range strings.Split(p[1:], "/") {
		if err := validName("parent", s); err != nil {
			return bad("an element is empty, begins with a dot or holds a control character")
		}
	}
	return nil
}
