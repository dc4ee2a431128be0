package image

import (
	"archive/tar"
	"context"
	"errors"
	"io"
	"path"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/belljar-go/belljar/rootfs/internal/tree"
)

// layerWriter makes one layer of overlayfs of the entries of a tar archive.
//
// All of it happens below one descriptor: the directory that an entry goes to is opened by openat2, beneath that descriptor and through no
// link; what is done there is done to a name without a slash, and follows no link. The directory is nobody else's (see
// rootfs.Store), so nothing moves meanwhile.
type layerWriter struct {
	root   int        // the layer's directory
	lower  tree.Stack // the layers below
	mayOwn bool       // ids can be given away
	budget *budget
	stat   tally

	dirs    map[string]dirMeta // every directory of the layer, by path, and some that are gone; what it gets in the end
	opaques map[string]bool    // those that are opaque
	hides   bool               // the root is opaque
	parent  string             // path of the directory that is open
	fd      int                // and its descriptor; -1: none
	buf     []byte
}

func newLayerWriter(root int, lower tree.Stack, b *budget) *layerWriter {
	b.names = maxNames
	return &layerWriter{
		root: root, lower: lower, budget: b, mayOwn: unix.Geteuid() == 0,
		dirs: map[string]dirMeta{}, opaques: map[string]bool{}, fd: -1, buf: make([]byte, 64<<10),
	}
}

// write puts the layer that an archive describes into the directory.
func (w *layerWriter) write(ctx context.Context, r io.Reader) error {
	defer w.leave()
	top, err := w.inherited(".")
	if err != nil {
		return err
	}
	w.dirs["."] = top
	t := tar.NewReader(r)
	for {
		if err := ctx.Err(); err != nil {
			return context.Cause(ctx)
		}
		h, err := t.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return asMalformed(err)
		}
		e, err := readEntry(h)
		if err == nil {
			err = w.put(ctx, e, h, t)
		}
		if err != nil {
			return &Error{Op: "unpack", Name: h.Name, Err: err}
		}
	}
	return w.finish()
}

// asMalformed leaves errors of what is read from as they are, and makes the others those of the archive.
func asMalformed(err error) error {
	var e *Error
	if errors.As(err, &e) {
		return err
	}
	return malformed("is no tar archive: %v", err)
}

func (w *layerWriter) put(ctx context.Context, e entry, h *tar.Header, content io.Reader) error {
	switch e.kind {
	case entryWhiteout:
		return w.whiteout(e.path)
	case entryOpaque:
		return w.opaque(e.path)
	case entryIgnored:
		return nil
	}
	m, err := metaOf(h)
	if err != nil {
		return err
	}
	if h.Typeflag == tar.TypeDir {
		return w.dir(e.path, m)
	}
	dir, name, err := w.place(e.path)
	if err != nil {
		return err
	}
	if err := w.budget.entry(); err != nil {
		return err
	}
	w.stat.entries++
	switch h.Typeflag {
	case tar.TypeReg, tar.TypeGNUSparse, tar.TypeCont:
		return w.file(ctx, dir, name, h.Size, m, content)
	case tar.TypeSymlink:
		return w.symlink(dir, name, h.Linkname, m)
	case tar.TypeLink:
		return w.link(e.target, e.path)
	case tar.TypeFifo:
		return w.fifo(dir, name, m)
	case tar.TypeChar, tar.TypeBlock:
		// Devices are dead in a sandbox, and a character device 0/0 would be a whiteout that is none in the image. What is below is
		// hidden all the same.
		w.stat.devices++
		return w.file(ctx, dir, name, 0, m, nil)
	}
	return unsupported("an entry of type %q", h.Typeflag)
}

// metaOf takes over what a header says of owner, mode, time and attributes.
func metaOf(h *tar.Header) (dirMeta, error) {
	const maxID = 1<<31 - 1 // as for WithCredential: larger ones have been taken for -1, and for root (CVE-2024-40635)
	if h.Uid < 0 || h.Uid > maxID || h.Gid < 0 || h.Gid > maxID {
		return dirMeta{}, malformed("an owner of %d:%d", h.Uid, h.Gid)
	}
	m := dirMeta{mode: uint32(h.Mode) & 0o7777, uid: h.Uid, gid: h.Gid, timed: true}
	sec, nsec := h.ModTime.Unix(), h.ModTime.Nanosecond()
	m.mtime = unix.Timespec{Sec: min(max(sec, -1<<40), 1<<40), Nsec: int64(nsec)}
	for k, v := range h.PAXRecords {
		if name, ok := strings.CutPrefix(k, paxAttr); ok && keepsAttr(name) {
			if m.attrs == nil {
				m.attrs = map[string]string{}
			}
			m.attrs[name] = v
		}
	}
	return m, nil
}

// place opens the directory that an entry goes to and takes away what the layer has at its name: of two entries the later one counts, and what
// is written goes to a new file, never into one that has other names, too.
func (w *layerWriter) place(p string) (dir int, name string, err error) {
	name = path.Base(p)
	if dir, err = w.enter(path.Dir(p)); err != nil {
		return -1, "", err
	}
	err = unix.Unlinkat(dir, name, 0)
	if err == unix.EISDIR {
		err = tree.Remove(dir, name)
	}
	if err == unix.ENOENT {
		err = nil
	}
	return dir, name, err
}

// finish gives directories what they are to have.
func (w *layerWriter) finish() error {
	w.leave()
	if w.hides {
		if err := w.hideRoot(); err != nil {
			return err
		}
		w.leave()
	}
	for p, m := range w.dirs {
		if err := w.settle(p, m); err != nil {
			return &Error{Op: "unpack", Name: p, Err: err}
		}
	}
	return nil
}
