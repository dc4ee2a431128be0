package sandbox

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/belljar-go/belljar/namespace"
	"github.com/belljar-go/belljar/rootfs"
)

// useImage turns a spec with an image into one with layers, and with what the image says where no option says otherwise. The caller releases
// the image, which is nil without one.
func (e *engine) useImage() (*heldImage, error) {
	if e.spec.image == nil {
		return nil, nil
	}
	h, err := e.spec.image.hold(context.Background())
	if err != nil {
		return nil, imageError(e.spec.image.path, err)
	}
	s := e.spec.clone()
	if err := s.takeImage(h); err != nil {
		h.release()
		return nil, err
	}
	if !e.spec.explicit["WithCredential"] && h.config.User != "" && h.user.UID == 0 {
		e.report.Notes = append(e.report.Notes, fmt.Sprintf("the image wants to run as root, which is not taken from an image: commands run as user %d; WithCredential(0, 0) lets them", s.uid))
	}
	e.report.Image = h.digest
	e.report.Notes = append(e.report.Notes, h.notes...)
	e.spec = s
	return h, nil
}

// takeImage fills in what an image says. All of it comes from the image and is held to the rules that options are.
func (s *spec) takeImage(h *heldImage) error {
	bad := func(what, text, why string) error {
		return &Error{Stage: "root", Op: "WithImage " + what, Path: text, Err: &mistake{why: why, err: ErrInvalid}}
	}
	s.layers = h.dirs
	s.env = environment(s, h.config.Env)
	for _, v := range s.env {
		if why := envFault(v); why != "" {
			return bad("environment", v, why)
		}
	}
	if dir := h.config.WorkingDir; dir != "" && !s.explicit["WithDir"] {
		if why := dirFault(dir); why != "" {
			return bad("working directory", dir, why) // CVE-2024-21626
		}
		s.dir = dir
	}
	if s.explicit["WithCredential"] {
		return s.check()
	}
	if h.noUser != nil {
		return &Error{Stage: "root", Op: "WithImage user", Path: h.config.User, Err: h.noUser}
	}
	if u := h.user; u.UID != 0 {
		s.uid, s.gid, s.groups = uint32(u.UID), uint32(u.GID), nil
		for _, g := range u.Groups {
			s.groups = append(s.groups, uint32(g))
		}
		if top := max(s.uid, s.gid, slices.Max(append(s.groups, 0))); top >= 1<<16 && s.uidMap == nil && s.namespaces.Has(namespace.User) {
			return bad("user", h.config.User, fmt.Sprintf("has the id %d, beyond those that a sandbox has: WithCredential or WithIDMap says otherwise", top))
		}
	}
	return s.check()
}

// imageError says which image it was, and keeps what kind of error it is.
func imageError(path string, err error) error {
	var store *rootfs.StoreError
	if errors.As(err, &store) {
		return &Error{Stage: "root", Op: "WithImage " + store.Op, Path: store.Path, Err: store.Err}
	}
	return &Error{Stage: "root", Op: "WithImage", Path: path, Err: err}
}
