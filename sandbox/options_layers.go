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
