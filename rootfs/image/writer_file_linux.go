package image

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path"

	"golang.org/x/sys/unix"
)

// file makes a regular file of size bytes of content.
func (w *layerWriter) file(ctx context.Context, dir int, name string, size int64, m dirMeta, content io.Reader) error {
	if err := w.budget.file(size); err != nil {
		return err
	}
	fd, err := unix.Openat(dir, name, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return err
	}
	f := os.NewFile(uintptr(fd), name)
	defer f.Close()
	w.stat.bytes += size
	if size > 0 {
		if err := w.fill(ctx, f, size, content); err != nil {
			return err
		}
	}
	if err := w.apply(fd, m); err != nil {
		return err
	}
	return bareClose(f)
}

var zeros [64 << 10]byte

// fill copies, and leaves out what is nothing but zeros: a sparse file, which may claim to be of any size, stays one.
func (w *layerWriter) fill(ctx context.Context, f *os.File, size int64, content io.Reader) error {
	hole := false
	for at := int64(0); at < size; {
		if err := ctx.Err(); err != nil {
			return context.Cause(ctx)
		}
		b := w.buf[:min(int64(len(w.buf)), size-at)]
		if _, err := io.ReadFull(content, b); err != nil {
			return asMalformed(err)
		}
		hole = bytes.Equal(b, zeros[:len(b)])
		if !hole {
			if _, err := f.WriteAt(b, at); err != nil {
				return bare(err)
			}
		}
		at += int64(len(b))
	}
	if hole {
		return bare(f.Truncate(size))
	}
	return nil
}

func bareClose(f *os.File) error {
	if err := f.Close(); err != nil {
		return bare(err)
	}
	return nil
}

// apply gives what is open its owner, attributes, mode and time, in this order: a change of owner takes away setuid bits.
func (w *layerWriter) apply(fd int, m dirMeta) error {
	if w.mayOwn {
		if err := w.owned(unix.Fchown(fd, m.uid, m.gid)); err != nil {
			return err
		}
	}
	if err := w.setAttrs(fd, m.attrs); err != nil {
		return err
	}
	if err := unix.Fchmod(fd, m.mode); err != nil {
		return err
	}
	if !m.timed {
		return nil
	}
	return unix.UtimesNanoAt(fd, "", []unix.Timespec{m.mtime, m.mtime}, unix.AT_EMPTY_PATH) // Linux 5.8
}

func (w *layerWriter) setAttrs(fd int, attrs map[string]string) error {
	for name, value := range attrs {
		err := unix.Fsetxattr(fd, name, []byte(value), 0)
		if lostAttr(err) {
			w.stat.attrs++
		} else if err != nil {
			return err
		}
	}
	return nil
}

// owned takes an owner that cannot be given for lost: in a container not every id of an image need exist.
func (w *layerWriter) owned(err error) error {
	if err == unix.EINVAL || err == unix.EPERM {
		w.stat.owners++
		return nil
	}
	return err
}

// lostAttr tells whether a file system cannot keep an attribute, by its kind, its size or their number.
func lostAttr(err error) bool {
	for _, e := range []error{unix.EOPNOTSUPP, unix.ENOSPC, unix.E2BIG, unix.ERANGE, unix.EINVAL, unix.EPERM} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

func (w *layerWriter) symlink(dir int, name, target string, m dirMeta) error {
	if len(target) > maxEntryPath || target == "" {
		return malformed("a symbolic link of %d bytes", len(target))
	}
	if err := unix.Symlinkat(target, dir, name); err != nil {
		return err
	}
	return w.applyName(dir, name, m)
}

func (w *layerWriter) fifo(dir int, name string, m dirMeta) error {
	if err := unix.Mknodat(dir, name, unix.S_IFIFO|0o600, 0); err != nil {
		return err
	}
	if err := w.applyName(dir, name, m); err != nil {
		return err
	}
	// What was just made in a directory that is nobody else's is no link.
	return unix.Fchmodat(dir, name, m.mode, 0)
}

// applyName is apply for what is not opened: it follows no link.
func (w *layerWriter) applyName(dir int, name string, m dirMeta) error {
	if w.mayOwn {
		if err := w.owned(unix.Fchownat(dir, name, m.uid, m.gid, unix.AT_SYMLINK_NOFOLLOW)); err != nil {
			return err
		}
	}
	return unix.UtimesNanoAt(dir, name, []unix.Timespec{m.mtime, m.mtime}, unix.AT_SYMLINK_NOFOLLOW)
}

// link makes a hard link. What it leads to has to be in the same layer (image-spec, layer.md), and nothing that the archive could
// not have made itself.
func (w *layerWriter) link(target, p string) error {
	if target == p {
		return malformed("a hard link to itself")
	}
	from, err := w.open(path.Dir(target))
	if err != nil {
		return linkFault(target, err)
	}
	defer unix.Close(from)
	var st unix.Stat_t
	if err := unix.Fstatat(from, path.Base(target), &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return linkFault(target, err)
	}
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFREG, unix.S_IFLNK, unix.S_IFIFO:
	default:
		return malformed("a hard link to %s, which is no file of the layer", quote(target))
	}
	return unix.Linkat(from, path.Base(target), w.fd, path.Base(p), 0)
}

func linkFault(target string, err error) error {
	switch err {
	case unix.ENOENT, unix.ENOTDIR, unix.ELOOP:
		return malformed("a hard link to %s, which is no file of the layer", quote(target))
	}
	return err
}
