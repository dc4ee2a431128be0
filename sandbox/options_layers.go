package sandbox

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/belljar-go/belljar/rootfs"
)

// WithLayers makes a stack of directories of the host the root, read-only, with a /proc
// and a /dev over its own: the first directory is the lowest, as in an image's list of
// layers, and what is in a later one comes in the place of what is below. Relative paths
// start at the host program's current directory. There can be up to 128; a directory
// given twice is taken at its higher place, and none may lie in another.
//
// The directories are layers of overlayfs as an ordinary user may mount it: a whiteout is a character device 0/0, and an opaque
// directory has the attribute user.overlay.opaque=y; see [rootfs.Layer]. Docker's own folders (overlay2/*/diff) have
// trusted.overlay.opaque instead, which has no meaning here.
//
// As root they are idmapped, so that files have the owners they have on disk; that takes Linux 5.19.
func WithLayers(dirs ...string) Option {
	dirs = slices.Clone(dirs)
	o := option{label: "WithLayers", text: strings.Join(dirs, ","), key: "WithLayers", value: dirs}
	o.set = func(s *spec, _ bool) error {
		switch {
		case len(dirs) == 0:
			return o.fail("names no directory")
		case len(dirs) > rootfs.MaxLayers:
			return invalid(o.label, strconv.Itoa(len(dirs)), fmt.Sprintf("is more than the %d layers there can be", rootfs.MaxLayers))
		}
		s.layers = nil
		for _, dir := range dirs {
			abs, err := hostPath(o, dir)
			if err == nil {
				err = opError(o.label, rootfs.Layer{Dir: abs}.Validate())
			}
			if err != nil {
				return err
			}
			s.layers = append(s.layers, abs)
		}
		return nil
	}
	return o
}

// WithScratch lets the job write to the root of WithRootfs or WithLayers, as far as permissions allow: what it writes goes to a layer in memory over it, with room
// for size, such as "64m", and for a file or directory for each 4096 bytes (at least 16384, at most 1048576). The layer is gone when
// the sandbox ends; what is below is never changed. To change a file costs room for all of it. What is stored counts as memory of the
// job that stores it; a full layer is ENOSPC.
//
// Before Linux 6.6 there is something that a job cannot do with directories of the layers below; the report has a note of it then.
func WithScratch(size string) Option {
	n, why := parseSize(size)
	if why == "" && n <= 0 {
		why = "is not positive"
		if n == NoLimit {
			why = "is no bound: a layer in memory needs one"
		}
	}
	return single("WithScratch", size, n, why, func(s *spec, n int64) { s.scratch = n })
}

// WithUpper lets the job write to the root of WithRootfs or WithLayers, into dir, a directory of the host that is a layer over it and stays: docker's
// read-write layer. What is below is never changed. The next sandbox with the same dir, over the same layers, finds what this one left;
// [Sandbox.Diff] lists it, and [Sandbox.Commit] or WithLayers makes a layer like others of it. A relative path starts at the host program's current directory.
//
// The directory is made if there is none, in one that exists. It belongs to one sandbox at a time: another, of any program, that asks for it is
// refused with [rootfs.ErrUpperInUse], which is an EBUSY. Beside it is a directory that overlayfs works in while the sandbox stands.
//
// Files in it have the owners that the job sees, as in a volume: as root by mounts with mapped ids, which takes Linux 5.19 here and a file
// system that can, such as ext4, xfs or btrfs. A file system has to keep user attributes.
//
// /etc/hosts, /etc/hostname, /etc/resolv.conf and files of WithFile are mounts of the sandbox's own and never get into dir, whatever the job does to them.
//
// With a size, such as "1g", dir holds no more, with a file or directory for each 4096 bytes (at least 16384, at most 1048576): by a project quota, which takes ext4 or xfs
// mounted with prjquota, and root; see [rootfs.Bound]. What was there before counts. Full is EDQUOT or ENOSPC to the job. Without one dir is bounded by its file system alone.
func WithUpper(dir string, size ...string) Option {
	o := option{label: "WithUpper", text: dir, key: "WithUpper", value: append([]string{dir}, size...)}
	var bytes int64
	fault := ""
	switch {
	case len(size) > 1:
		fault = "has more than one size"
	case len(size) == 1:
		if bytes, fault = parseSize(size[0]); fault == "" && bytes <= 0 {
			fault = "has a size of " + size[0] + ", which is no bound"
		}
	}
	o.set = func(s *spec, _ bool) error {
		if fault != "" {
			return o.fail(fault)
		}
		abs, err := hostPath(o, dir)
		if err != nil {
			return err
		}
		s.upper, s.upperSize = abs, bytes
		return opError(o.label, rootfs.ValidUpper(abs, nil))
	}
	return o
}
