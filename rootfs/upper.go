package rootfs

import (
	"errors"
	"fmt"
	"syscall"
)

// ErrUpperInUse is the error of taking an upper layer that a sandbox has. It is an EBUSY.
var ErrUpperInUse error = &upperInUse{}

type upperInUse struct{}

func (*upperInUse) Error() string { return "another sandbox has this layer" }
func (*upperInUse) Unwrap() error { return syscall.EBUSY }

// UpperError says what was done to an upper layer and did not work.
type UpperError struct {
	Op   string // the system call or step
	Path string // what it was done to
	Err  error
}

func (e *UpperError) Error() string { return e.Op + " " + quote(e.Path) + ": " + e.Err.Error() }

// Unwrap returns the cause.
func (e *UpperError) Unwrap() error { return e.Err }

// ValidUpper reports, as an [*Error], a directory that cannot be the upper layer over these: one that is no absolute
// path or the root, or one that lies in a layer or has a layer in it.
func ValidUpper(dir string, layers []string) error {
	fail := func(why string) error { return &Error{Index: -1, Op: "upper", Path: dir, Why: why} }
	if why := targetFault(dir); why != "" {
		return fail(why)
	}
	for _, l := range layers {
		if Within(dir, l) || Within(l, dir) {
			return fail("overlaps the layer " + quote(l) + ", which is read only")
		}
	}
	return nil
}

var (
	errUpperMount = fmt.Errorf("is a mount point, and the kernel wants a work directory beside the layer on the same mount: name a directory in it: %w", syscall.EXDEV)
	errUpperAttrs = fmt.Errorf("its file system keeps no user attributes, which overlayfs has its marks in: use ext4, xfs or btrfs, or tmpfs since Linux 6.6: %w", errors.ErrUnsupported)
)
