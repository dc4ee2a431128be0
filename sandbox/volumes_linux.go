package sandbox

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/belljar-go/belljar/namespace"
	"github.com/belljar-go/belljar/rootfs"
	"golang.org/x/sys/unix"
)

// holdings are what a sandbox has of the host beyond its own life: its upper layer, volumes, and directories that a bind was to create.
type holdings struct {
	upper   *rootfs.HeldUpper // nil: none
	image   *heldImage        // nil: none
	volumes []*rootfs.HeldVolume
	named   []rootfs.Volume // of those, the ones that did not exist before
	made    []string        // directories, outermost first
}

// hold makes and takes what the spec asks for, with the caller's rights. After an error nothing is held or left.
func hold(s *spec, f *hostFacts, ids idPlan) (_ *holdings, err error) {
	h := &holdings{}
	defer func() {
		if err != nil {
			h.undo()
		}
	}()
	if !s.namespaces.Has(namespace.Mount) {
		return h, nil
	}
	if s.upper != "" {
		if h.upper, err = holdUpper(s, f, ids); err != nil {
			return h, err
		}
	}
	for _, v := range s.volumes {
		owner := ownerOnDisk(s, f, ids)
		if owner.err != nil && !v.ReadOnly && !readOnlyAt(s.ops, v.Path()) {
			return h, &Error{Stage: "root", Op: "WithVolume", Path: v.Path(), Err: owner.err}
		}
		held, err := v.Hold(owner.uid, owner.gid)
		if err != nil {
			return h, volumeError(v, err)
		}
		h.volumes = append(h.volumes, held)
		if held.Made {
			h.named = append(h.named, v)
		}
	}
	for _, op := range s.ops {
		if b, ok := op.(rootfs.Bind); ok && b.Flags&rootfs.BindCreate != 0 {
			if err := h.create(b.Source, ownerOnDisk(s, f, ids)); err != nil {
				return h, err
			}
		}
	}
	return h, nil
}

func volumeError(v rootfs.Volume, err error) error {
	var e *rootfs.VolumeError
	var invalid *rootfs.Error
	switch {
	case errors.As(err, &e):
		return &Error{Stage: "root", Op: "WithVolume " + e.Op, Path: e.Path, Err: e.Err}
	case errors.As(err, &invalid):
		return opError("WithVolume", err)
	}
	return &Error{Stage: "root", Op: "WithVolume", Path: v.Path(), Err: err}
}

// readOnlyAt tells whether all binds of a source are read-only.
func readOnlyAt(ops []rootfs.Op, source string) bool {
	return !slices.ContainsFunc(ops, func(op rootfs.Op) bool {
		b, ok := op.(rootfs.Bind)
		return ok && b.Source == source && b.Flags&rootfs.BindReadOnly == 0
	})
}

// diskOwner is who the job is on a disk of the host: -1 for the caller.
type diskOwner struct {
	uid, gid int
	err      error // the job has no owner there that stays the same
}

var errNoStableOwner = fmt.Errorf("the job has other ids on disk with every sandbox here, since mounts cannot be id-mapped without CAP_SYS_ADMIN: %w", ErrUnsupported)

func ownerOnDisk(s *spec, f *hostFacts, ids idPlan) diskOwner {
	switch {
	case f.uid != 0:
		return diskOwner{-1, -1, nil} // an ordinary user's job is the user
	case f.mounts || ids.wire == nil:
		return diskOwner{int(s.uid), int(s.gid), nil} // mapped to the same on the mount, or not at all
	case ids.wire.Count > 0:
		return diskOwner{-1, -1, errNoStableOwner}
	}
	uid, gid := ids.onHost(s.uid, s.gid)
	return diskOwner{uid, gid, nil}
}

// create makes a directory that a bind asks for.
func (h *holdings) create(dir string, owner diskOwner) error {
	fail := func(op string, err error) error {
		return &Error{Stage: "root", Op: "WithBind " + op, Path: dir, Err: reasonOf(err)}
	}
	_, err := os.Stat(dir)
	if err == nil {
		return nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return fail("stat", err)
	}
	if owner.err != nil {
		return fail("create", owner.err)
	}
	missing := []string{dir}
	for up := filepath.Dir(dir); up != "/"; up = filepath.Dir(up) {
		if _, err := os.Lstat(up); !errors.Is(err, fs.ErrNotExist) {
			break
		}
		missing = append(missing, up)
	}
	slices.Reverse(missing)
	for _, d := range missing {
		err := os.Mkdir(d, 0o755)
		if errors.Is(err, fs.ErrExist) {
			continue // by another sandbox that is being made
		}
		if err != nil {
			return fail("mkdir", err)
		}
		h.made = append(h.made, d)
		if d == dir && owner.uid >= 0 {
			if err := os.Lchown(d, owner.uid, owner.gid); err != nil {
				return fail("chown", err)
			}
		}
	}
	return nil
}

func reasonOf(err error) error {
	var e *fs.PathError
	if errors.As(err, &e) {
		return e.Err
	}
	return err
}

// release lets go of what a closed sandbox had.
func (h *holdings) release() {
	if h == nil {
		return
	}
	for _, v := range h.volumes {
		v.Release()
	}
	h.volumes = nil
	if h.image != nil {
		h.image.release()
	}
	h.upper.Release()
}

// undo removes what was made for a sandbox that could not be.
func (h *holdings) undo() {
	if h == nil {
		return
	}
	h.upper.Undo()
	h.release()
	for _, v := range h.named {
		_ = v.Remove() // unless another has come to use it meanwhile
	}
	for _, dir := range slices.Backward(h.made) {
		_ = unix.Rmdir(dir)
	}
}
