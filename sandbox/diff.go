package sandbox

import (
	"errors"
	"io"
	"iter"

	"github.com/belljar-go/belljar/rootfs"
)

// Diff lists what jobs have added, changed and removed in the root of a sandbox with WithUpper or WithScratch, as [rootfs.Delta.Changes] does:
// in no particular order but a directory before what is in it. Mount points and files of the sandbox's own are left out. Of a kept layer it may be
// called when the sandbox has ended, too; a scratch layer ends with it.
//
// It reads the layers with the host program's rights, and only what the kernel says of files; contents are read where a file is as long as the one
// below. Running commands may go on, but then what is listed is of no single moment: Pause stops them. An ordinary user cannot look into what belongs to others of
// its subordinate ids and is closed to it; such a path comes with an error.
//
// A sandbox with neither option is an ErrInvalid.
func (sb *Sandbox) Diff() iter.Seq2[rootfs.Change, error] {
	return func(yield func(rootfs.Change, error) bool) {
		d, done, err := sb.delta("diff")
		if err != nil {
			yield(rootfs.Change{}, err)
			return
		}
		defer done()
		for c, err := range d.Changes() {
			if !yield(c, err) {
				return
			}
		}
	}
}

// Commit makes a layer for WithLayers of what Diff lists: dir, which must not exist, in a directory that does. It is complete when it appears. See
// [rootfs.Delta.Commit] for what is kept of files. No command may run meanwhile: Pause stops them.
//
// What a job that was root inside has written may be setuid programs that belong to the host's root. Keep layers, like the directory of WithUpper, where other
// users of the host cannot get to (CVE-2021-41103).
func (sb *Sandbox) Commit(dir string) error {
	abs, err := hostPath(option{label: "Commit"}, dir)
	if err != nil {
		return err
	}
	d, done, err := sb.delta("commit")
	if err != nil {
		return err
	}
	defer done()
	if err := d.Commit(abs); err != nil {
		return deltaError("commit", abs, err)
	}
	return nil
}

// WriteLayer writes what Diff lists as a layer of a container image, a tar archive without compression, for programs that put one on top of the image that
// the sandbox has: umoci raw add-layer, or go-containerregistry's tarball.LayerFromOpener, which compresses it too. Ids are those inside. See
// [rootfs.Delta.WriteLayer] for what is kept of files, and Commit for who may have it.
func (sb *Sandbox) WriteLayer(w io.Writer) error {
	d, done, err := sb.deltaFor("write layer", (*engine).archived)
	if err != nil {
		return err
	}
	defer done()
	if err := d.WriteLayer(w); err != nil {
		return deltaError("write layer", "", err)
	}
	return nil
}

// delta is what the layer that the job writes to makes of those below.
func (sb *Sandbox) delta(op string) (rootfs.Delta, func(), error) {
	return sb.deltaFor(op, (*engine).delta)
}

func (sb *Sandbox) deltaFor(op string, of func(*engine) (rootfs.Delta, func(), error)) (rootfs.Delta, func(), error) {
	if !sb.spec.writable() {
		return rootfs.Delta{}, nil, invalid(op, "", "needs WithUpper or WithScratch: there is nothing that the job could write to and that is part of the root")
	}
	sb.mu.Lock()
	e := sb.engine
	sb.mu.Unlock()
	return of(e)
}

// deltaError turns an error of package rootfs into one of ours.
func deltaError(op, path string, err error) error {
	var e *rootfs.UpperError
	if errors.As(err, &e) {
		return &Error{Stage: "files", Op: op + " " + e.Op, Path: e.Path, Err: e.Err}
	}
	return &Error{Stage: "files", Op: op, Path: path, Err: err}
}
