//go:build !linux

package rootfs

import (
	"errors"
	"os"
)

// HeldUpper is a directory that is the upper layer of one root at a time.
type HeldUpper struct {
	Dir  string
	Name string
	Work string
	Made bool
}

// HoldUpper is unsupported here.
func HoldUpper(dir string, uid, gid int) (*HeldUpper, error) {
	return nil, &UpperError{Op: "hold", Path: dir, Err: errors.ErrUnsupported}
}

// Bound is unsupported here.
func (h *HeldUpper) Bound(Bound) error { return errors.ErrUnsupported }

// Unbound does nothing here.
func (h *HeldUpper) Unbound() {}

// Files returns nothing here.
func (h *HeldUpper) Files() (parent, layer *os.File) { return nil, nil }

// Release does nothing here.
func (h *HeldUpper) Release() {}

// Undo does nothing here.
func (h *HeldUpper) Undo() {}
