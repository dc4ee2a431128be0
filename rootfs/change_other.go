//go:build !linux

package rootfs

import (
	"errors"
	"io"
)

type lister struct {
	d     Delta
	yield func(Change, error) bool
}

func (d Delta) walk(l *lister) { l.yield(Change{}, errors.ErrUnsupported) }

// Commit needs Linux.
func (d Delta) Commit(dir string) error {
	return &UpperError{Op: "commit", Path: dir, Err: errors.ErrUnsupported}
}

// WriteLayer needs Linux.
func (d Delta) WriteLayer(io.Writer) error {
	return &UpperError{Op: "write", Path: d.Upper, Err: errors.ErrUnsupported}
}
