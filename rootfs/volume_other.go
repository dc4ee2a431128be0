//go:build !linux

package rootfs

import "errors"

// HeldVolume is a volume that cannot be removed as long as it is held.
type HeldVolume struct {
	Path string // the directory of the host
	Made bool   // it did not exist before
}

// Hold needs Linux.
func (v Volume) Hold(uid, gid int) (*HeldVolume, error) {
	return nil, &VolumeError{Op: "hold", Path: v.Path(), Err: errors.ErrUnsupported}
}

// Release lets the volume go.
func (h *HeldVolume) Release() {}

// Create needs Linux.
func (v Volume) Create(uid, gid int) error {
	return &VolumeError{Op: "create", Path: v.Path(), Err: errors.ErrUnsupported}
}

// Remove needs Linux.
func (v Volume) Remove() error {
	return &VolumeError{Op: "remove", Path: v.Path(), Err: errors.ErrUnsupported}
}
