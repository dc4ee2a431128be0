package cgroup

import (
	"strings"

	"github.com/moby/sys/mountinfo"
)

// ParseHost reads the texts of /proc/self/mountinfo, of /proc/self/cgroup and
// of cgroup.controllers at the top of the unified hierarchy (empty if there is
// none). It looks at nothing else, so it works on text captured elsewhere. A
// mountinfo that is no such text shows no hierarchies.
func ParseHost(mounts, self, controllers string) *Host {
	own := parseSelf(self)
	h := &Host{}
	list, err := mountinfo.GetMountsFromReader(strings.NewReader(mounts), mountinfo.FSTypeFilter("cgroup", "cgroup2"))
	if err != nil {
		return h
	}
	for _, m := range list {
		y, ok := hierarchy(m)
		if !ok {
			continue
		}
		if y.Version == 2 {
			y.Controllers = parseV2Controllers(controllers)
		}
		if y.Own, ok = own.find(y); !ok {
			continue // not a hierarchy of ours: another namespace's, or a v1 one with unknown controllers
		}
		y.judge()
		h.add(y)
	}
	return h
}

// hierarchy is what a mount shows; false if it is a v1 one without a
// controller that this package knows.
func hierarchy(m *mountinfo.Info) (Hierarchy, bool) {
	if !strings.HasPrefix(m.Mountpoint, "/") {
		return Hierarchy{}, false
	}
	y := Hierarchy{Version: 2, Root: m.Root, Mount: m.Mountpoint, ReadOnly: hasOption(m.Options, "ro") || hasOption(m.VFSOptions, "ro")}
	if m.FSType == "cgroup" {
		y.Version, y.Controllers = 1, parseV1Controllers(m.VFSOptions)
		return y, y.Controllers != 0
	}
	return y, true
}

func hasOption(list, o string) bool {
	for _, s := range strings.Split(list, ",") {
		if s == o {
			return true
		}
	}
	return false
}
