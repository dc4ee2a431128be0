package sandbox

import (
	"errors"
	"fmt"

	"github.com/belljar-go/belljar/rootfs"
	"golang.org/x/sys/unix"
)

var errOldUpper = fmt.Errorf("overlayfs takes no upper layer with mapped ids before Linux 5.19, and the job has other ids on disk with every sandbox: %w", ErrUnsupported)

// holdUpper takes the upper layer, with the caller's rights.
func holdUpper(s *spec, f *hostFacts, ids idPlan) (*rootfs.HeldUpper, error) {
	refused := func(why error) error {
		return &Error{Stage: "root", Op: "WithUpper", Path: s.upper, Err: why}
	}
	uid, gid := -1, -1 // the caller, who is root inside too, or the job
	switch owner := ownerOnDisk(s, f, ids); {
	case owner.err != nil:
		return nil, refused(owner.err)
	case f.uid != 0 || ids.wire == nil:
	case f.mounts && !f.mapLower:
		return nil, refused(errOldUpper)
	case !f.mounts:
		uid, gid = ids.onHost(0, 0)
	}
	h, err := rootfs.HoldUpper(s.upper, uid, gid)
	if err == nil {
		if err := rootfs.ValidUpper(h.Dir, s.stack()); err != nil { // with no link in it now
			h.Undo()
			return nil, opError("WithUpper", err)
		}
		if s.upperSize > 0 {
			err = h.Bound(rootfs.Bound{Bytes: s.upperSize, Files: rootfs.FilesFor(s.upperSize)})
		} else {
			h.Unbound()
		}
		if err != nil {
			h.Undo()
		}
	}
	var e *rootfs.UpperError
	switch {
	case err == nil:
		return h, nil
	case errors.As(err, &e):
		return nil, &Error{Stage: "root", Op: "WithUpper " + e.Op, Path: e.Path, Err: e.Err}
	}
	return nil, refused(err)
}

// upperKey is where sources have the directory above the upper layer: no path of the host.
const upperKey = "\x00upper"

// addUpper makes the directory above the upper layer something that the root is made from.
func (s *sources) addUpper(h *rootfs.HeldUpper, handle bool) error {
	if h == nil {
		return nil
	}
	parent, _ := h.Files()
	fd, err := unix.FcntlInt(parent.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return &Error{Stage: "root", Op: "fcntl", Path: h.Dir, Err: err}
	}
	s.at[upperKey] = source{fd: fd, dir: true, handle: handle}
	s.upper = upperLayer{dir: h.Dir, name: h.Name, work: h.Work}
	return nil
}

// upperLayer is where a plan finds the upper layer.
type upperLayer struct {
	dir  string // on the host, for people and where there is no descriptor
	name string // in the directory above
	work string // there too
}

// keep returns the descriptors that the zygote is to hold for the upper layer.
func (h *holdings) keep() (fds []int, work string) {
	if h == nil || h.upper == nil {
		return nil, ""
	}
	parent, layer := h.upper.Files()
	return []int{int(parent.Fd()), int(layer.Fd())}, h.upper.Work
}
