package rootfs

import (
	"fmt"
	"slices"
)

// Layer is a directory of the host laid over the root so far, read-only: what is in it
// comes in the place of what is below. It follows the [Base], another Layer, and nothing
// else. What is mounted below the directory is no part of it.
//
// A whiteout, which removes what is below, is a character device 0/0 of the name. A
// directory with the attribute user.overlay.opaque of the value "y" is opaque: of a
// directory of its name below nothing is seen. These are the marks of overlayfs as mounted
// with userxattr (Linux 5.11); trusted.overlay.* attributes, which take the host's root to
// set and to see, mean nothing here.
type Layer struct {
	Dir string // on the host, absolute
}

// MaxLayers is how many directories a root may be made of, the Base included: what docker
// allows, rounded up. The kernel takes 500 (OVL_MAX_STACK in fs/overlayfs).
const MaxLayers = 128

// Path returns "/".
func (Layer) Path() string { return "/" }

func (Layer) verb() string { return "layer" }
func (Layer) covers() bool { return false }

func (o Layer) String() string { return "layer " + quote(o.Dir) + " ro" }

// Validate reports a directory that is no absolute path.
func (o Layer) Validate() error { return check(o, pathFault(o.Dir), o.Dir) }

// Stack returns the operations of a root made of directories of the host, the lowest
// first: read-only, with its own /proc, masked, and /dev in place of whatever the
// directories have there, and more. A directory that comes twice is taken at its higher
// place alone, which makes the same root: what it adds and removes at the lower one it
// adds and removes again.
func Stack(dirs []string, more ...Op) []Op {
	var ops []Op
	for i, dir := range dirs {
		switch {
		case slices.Contains(dirs[i+1:], dir):
		case len(ops) == 0:
			ops = append(ops, Base{Dir: dir})
		default:
			ops = append(ops, Layer{Dir: dir})
		}
	}
	return slices.Concat(ops, procAndDev(), more)
}

// misplaced says why a layer cannot stand where it does, or "".
func misplaced(before []Op, op Op) string {
	layer, ok := op.(Layer)
	n := len(before)
	switch {
	case !ok || n == 0:
		return ""
	case !isStack(before[n-1]):
		return "a layer comes right after the base or another layer"
	case n >= MaxLayers:
		return fmt.Sprintf("more than %d layers", MaxLayers)
	}
	for _, b := range before {
		if b == Base(layer) || b == layer {
			return "given twice"
		}
	}
	return ""
}

// isStack reports whether an operation is one of the directories that a root is made of.
func isStack(op Op) bool {
	switch op.(type) {
	case Base, Layer:
		return true
	}
	return false
}
