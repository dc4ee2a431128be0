package image

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/belljar-go/belljar/rootfs/internal/tree"
)

// whiteout hides what is below, if there is anything: a mark of nothing would only show. What this layer itself has at the place stays, and
// then is all there is.
func (w *layerWriter) whiteout(p string) error {
	st, err := w.below(p)
	if err != nil && !errors.Is(err, tree.ErrThroughLink) {
		return err
	}
	if st == nil {
		return nil
	}
	parent, err := w.enter(path.Dir(p))
	if err == errViaLink || err == errViaFile {
		return nil // which hides it: umoci has such whiteouts for all that was in a directory whose place a file has taken
	}
	if err != nil {
		return err
	}
	switch kind, err := look(parent, path.Base(p)); {
	case err != nil:
		return err
	case kind == aDirectory:
		return w.markOpaque(p)
	case kind != nothing:
		return nil
	}
	if err := w.budget.entry(); err != nil {
		return err
	}
	w.stat.entries++
	return unix.Mknodat(parent, path.Base(p), unix.S_IFCHR, 0) // anybody may make this one (Linux 5.8)
}

func (w *layerWriter) opaque(dir string) error {
	if _, err := w.enter(dir); err != nil {
		return err
	}
	if dir == "." {
		w.hides = true // overlayfs takes no notice of the mark at the root of a layer
		return nil
	}
	return w.markOpaque(dir)
}

// markOpaque hides what a directory has below, if it has anything there.
func (w *layerWriter) markOpaque(dir string) error {
	st, err := w.below(dir)
	if err != nil && !errors.Is(err, tree.ErrThroughLink) {
		return err
	}
	if st == nil || st.Mode&unix.S_IFMT != unix.S_IFDIR {
		return nil
	}
	fd, err := w.open(dir)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	w.opaques[dir] = true
	if err := unix.Fsetxattr(fd, tree.Opaque, []byte("y"), 0); err != nil {
		return fmt.Errorf("mark an opaque directory, which takes a store on a file system with user attributes: %w", err)
	}
	return nil
}

// hideRoot is opaque for the root: a whiteout for whatever is below and not in the layer.
func (w *layerWriter) hideRoot() error {
	names, err := w.lower.Names()
	if err != nil {
		return err
	}
	slices.Sort(names)
	for _, name := range names {
		if err := w.whiteout(name); err != nil {
			return err
		}
	}
	return nil
}

// underOpaque tells whether nothing below shows in a directory.
func (w *layerWriter) underOpaque(p string) bool {
	for len(w.opaques) > 0 && p != "." {
		if w.opaques[p] {
			return true
		}
		p = path.Dir(p)
	}
	return false
}

// bareWhiteouts removes whiteouts with nothing to hide from a directory: overlayfs, which merges nothing there, would list their names.
func bareWhiteouts(dir *os.File) error {
	for {
		names, err := dir.Readdirnames(1024)
		for _, name := range names {
			if kind, err := look(int(dir.Fd()), name); err == nil && kind == aWhiteout {
				if err := unix.Unlinkat(int(dir.Fd()), name, 0); err != nil {
					return err
				}
			}
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return bare(err)
		}
	}
}
