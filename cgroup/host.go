package cgroup

import (
	"path"
	"strings"
)

// Host says which hierarchies there are and where this process stands in each.
type Host struct {
	Hierarchies []Hierarchy // v2 first
}

// Hierarchy is one mounted tree of groups.
type Hierarchy struct {
	Version     int         // 1 or 2
	Controllers Controllers // attached to it; on v2 in its root's cgroup.controllers
	Mount       string      // where it is mounted
	Root        string      // which group of the hierarchy the mount shows as its top
	Own         string      // this process's group, from the hierarchy's root
	ReadOnly    bool        // the mount is
	Unusable    string      // why nothing can be done with it, or ""
}

// Dir is the directory of this process's own group, or of the group at path
// p if it is not empty. False if the mount does not show it.
func (h *Hierarchy) dir(p string) (string, bool) {
	if p == "" {
		p = h.Own
	}
	if !strings.HasPrefix(p, "/") || strings.Contains(p+"/", "/../") || !strings.HasPrefix(h.Root, "/") {
		return "", false
	}
	if h.Root != "/" {
		rest, ok := strings.CutPrefix(p, h.Root)
		if !ok || rest != "" && rest[0] != '/' {
			return "", false
		}
		p = rest
	}
	return path.Join(h.Mount, p), true
}

// holder returns the hierarchy which has controller c: v2 if it is there,
// then v1. CPU accounting and freezing come with every v2 group, but on a host
// whose memory and pids are in v1 a further group in v2 would be a detour.
func (h *Host) holder(c Controllers) *Hierarchy {
	var core *Hierarchy
	for i := range h.Hierarchies {
		y := &h.Hierarchies[i]
		switch {
		case y.Unusable != "":
		case y.Version == 2 && coreV2.Has(c):
			if y.Controllers&(MemoryController|PidsController) != 0 {
				return y
			}
			core = y
		case y.Controllers.Has(c):
			return y
		}
	}
	return core
}

// whyNot explains why no hierarchy holds c.
func (h *Host) whyNot(c Controllers) error {
	why := "the kernel offers no such controller, or no hierarchy with it is mounted"
	for _, y := range h.Hierarchies {
		if y.Unusable != "" && (y.Controllers&c != 0 || y.Version == 2) {
			why = y.Mount + ": " + y.Unusable
		}
	}
	return &UnsupportedError{
		Feature: "controller " + c.String(), Reason: why,
		Remedy: "mount /sys/fs/cgroup, or boot without cgroup_disable=" + c.String(),
		Fields: fieldsOf(c),
	}
}

func (h *Hierarchy) judge() {
	switch _, ok := h.dir(""); {
	case strings.HasSuffix(h.Own, " (deleted)"):
		h.Unusable = "the group of this process has been removed"
	case !ok:
		h.Unusable = "the group of this process (" + h.Own + ") is outside of what is mounted (" + h.Root + ")"
	}
}

// add keeps one mount per hierarchy: a usable one before others, a writable
// one before read-only ones, and of two on the same spot the later, which
// covers the other. v2 goes to the front.
func (h *Host) add(y Hierarchy) {
	rank := func(y *Hierarchy) int {
		n := 0
		if y.Unusable == "" {
			n += 2
		}
		if !y.ReadOnly {
			n++
		}
		return n
	}
	for i := range h.Hierarchies {
		o := &h.Hierarchies[i]
		if o.Version != y.Version || o.Version == 1 && o.Controllers != y.Controllers {
			continue
		}
		if rank(&y) > rank(o) || o.Mount == y.Mount {
			*o = y
		}
		return
	}
	if y.Version == 2 {
		h.Hierarchies = append([]Hierarchy{y}, h.Hierarchies...)
	} else {
		h.Hierarchies = append(h.Hierarchies, y)
	}
}

type ownGroup struct {
	v2   bool
	c    Controllers
	path string
}

type ownGroups []ownGroup

// parseSelf reads /proc/self/cgroup: "0::/path" for v2, "4:memory:/path" for
// v1. The path may hold colons.
func parseSelf(s string) ownGroups {
	var all ownGroups
	for _, line := range strings.Split(s, "\n") {
		f := strings.SplitN(line, ":", 3)
		if len(f) != 3 || !strings.HasPrefix(f[2], "/") {
			continue
		}
		if f[0] == "0" && f[1] == "" {
			all = append(all, ownGroup{v2: true, path: f[2]})
		} else if c := parseV1Controllers(f[1]); c != 0 {
			all = append(all, ownGroup{c: c, path: f[2]})
		}
	}
	return all
}

func (o ownGroups) find(y Hierarchy) (string, bool) {
	for _, g := range o {
		if g.v2 == (y.Version == 2) && (g.v2 || g.c == y.Controllers) {
			return g.path, true
		}
	}
	return "", false
}
