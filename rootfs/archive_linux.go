package rootfs

import (
	"archive/tar"
	"errors"
	"io"
	"os"
	"path"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// maxHoles bounds what an archive has in place of holes: a job can make those of any length at no cost.
const maxHoles = 4 << 30

// errHidden is about a name that stands for something else in a layer of an image.
var errHidden = errors.New("names that begin with .wh. are whiteouts in an archive")

// WriteLayer writes the upper layer as a tar archive, uncompressed, which is a layer of a container image: over the same layers below, it makes the root
// that the upper layer made, for programs that know the OCI image specification (umoci raw add-layer, say). What [Delta.Commit] leaves out
// is left out here; so are attributes with an equals sign in their names. Holes are written out, and more than 4 GiB of them are EFBIG. A file whose
// name begins with .wh. is EINVAL, since it would remove another.
//
// After an error the archive is not complete. No job may write meanwhile.
func (d Delta) WriteLayer(w io.Writer) error {
	a := &archiver{d: d, out: tar.NewWriter(w), links: map[inode]string{}}
	if err := a.begin(); err != nil {
		return err
	}
	if err := d.run(a); err != nil {
		return err
	}
	return wrap("write", d.Upper, a.out.Close())
}

// archiver writes what a walk finds.
type archiver struct {
	d     Delta
	out   *tar.Writer
	links map[inode]string
	holes int64
}

// begin looks at the root, which an archive has nothing of but that it hides all below.
func (a *archiver) begin() error {
	dir, err := a.d.At, error(nil)
	if dir == nil {
		if dir, err = os.Open(a.d.Upper); err != nil {
			return &UpperError{Op: "open", Path: a.d.Upper, Err: cause(err)}
		}
		defer dir.Close()
	}
	if isOpaque(int(dir.Fd()), "") {
		return a.hide("/", opaqueMark)
	}
	return nil
}

const (
	whiteoutMark = ".wh."
	opaqueMark   = ".wh..wh..opq"
)

// hide writes a whiteout.
func (a *archiver) hide(dir, name string) error {
	h := &tar.Header{Typeflag: tar.TypeReg, Name: inArchive(path.Join(dir, name)), Mode: 0o600, Format: tar.FormatPAX}
	return wrap("write", dir, a.out.WriteHeader(h))
}

func inArchive(p string) string { return strings.TrimPrefix(p, "/") }

func (a *archiver) fault(path string, err error) error {
	return &UpperError{Op: "read", Path: path, Err: err}
}

func (a *archiver) gone(string, *unix.Stat_t) error { return nil } // the directory is opaque in the archive too

func (a *archiver) leave() error { return nil }

func (a *archiver) enter(e *upperEntry) (bool, error) {
	h, err := a.header(e, tar.TypeDir)
	if err != nil {
		return false, err
	}
	h.Name += "/"
	if err := a.out.WriteHeader(h); err != nil {
		return false, wrap("write", e.path, err)
	}
	if e.opaque && len(e.low.dirs) > 0 {
		return true, a.hide(e.path, opaqueMark)
	}
	return true, nil
}

func (a *archiver) entry(e *upperEntry) error {
	if e.whiteout {
		return a.hide(path.Dir(e.path), whiteoutMark+e.name)
	}
	kind := map[uint32]byte{unix.S_IFREG: tar.TypeReg, unix.S_IFLNK: tar.TypeSymlink, unix.S_IFIFO: tar.TypeFifo}[e.st.Mode&unix.S_IFMT]
	if kind == 0 {
		return nil // no layer brings devices
	}
	h, err := a.header(e, kind)
	if err != nil {
		return err
	}
	if e.st.Nlink > 1 {
		id := inode{e.st.Dev, e.st.Ino}
		if first, ok := a.links[id]; ok {
			h.Typeflag, h.Linkname, h.PAXRecords = tar.TypeLink, first, nil
			return wrap("write", e.path, a.out.WriteHeader(h))
		}
		if len(a.links) < maxLinks {
			a.links[id] = h.Name
		}
	}
	switch kind {
	case tar.TypeReg:
		return wrap("copy", e.path, a.file(e, h))
	case tar.TypeSymlink:
		if h.Linkname, err = readlink(e.dir, e.name); err != nil {
			return wrap("readlink", e.path, err)
		}
	}
	return wrap("write", e.path, a.out.WriteHeader(h))
}

// header is what all kinds of entries have.
func (a *archiver) header(e *upperEntry, kind byte) (*tar.Header, error) {
	if strings.HasPrefix(e.name, whiteoutMark) {
		return nil, &UpperError{Op: "name", Path: e.path, Err: errors.Join(errHidden, unix.EINVAL)}
	}
	uid, gid := e.st.Uid, e.st.Gid
	if a.d.Owner != nil {
		uid, gid = a.d.Owner(uid, gid)
	}
	h := &tar.Header{
		Typeflag: kind, Name: inArchive(e.path), Mode: int64(e.st.Mode & 0o7777), Uid: int(uid), Gid: int(gid),
		ModTime: time.Unix(e.st.Mtim.Unix()), Format: tar.FormatPAX,
	}
	names, err := attrsOf(e.dir, e.name)
	if err != nil {
		return nil, wrap("listxattr", e.path, err)
	}
	for _, n := range names {
		if !strings.HasPrefix(n, "user.") || strings.Contains(n, "=") {
			continue
		}
		value, err := attr(e.dir, e.name, n)
		if err != nil {
			return nil, wrap("getxattr", e.path, err)
		}
		if h.PAXRecords == nil {
			h.PAXRecords = map[string]string{}
		}
		h.PAXRecords["SCHILY.xattr."+n] = string(value)
	}
	return h, nil
}

// file writes a regular file, as long as it is when it is opened.
func (a *archiver) file(e *upperEntry, h *tar.Header) error {
	f, err := openRegular(e.dir, e.name)
	if err != nil {
		return err
	}
	defer f.Close()
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return err
	}
	if a.holes += max(st.Size-st.Blocks*512, 0); a.holes > maxHoles {
		return unix.EFBIG
	}
	h.Size = st.Size
	if err := a.out.WriteHeader(h); err != nil {
		return err
	}
	n, err := io.CopyN(a.out, f, h.Size)
	if n < h.Size && errors.Is(err, io.EOF) {
		return errMoved // it became shorter
	}
	return err
}
