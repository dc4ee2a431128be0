package rootfs

import (
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/belljar-go/belljar/rootfs/internal/tree"
)

// Commit copies the upper layer to a directory that does not exist yet, which then is a layer like others: over the same layers below, it makes the
// root that the upper layer made. What Skip names is left out, and so are whiteouts of what is not there below, sockets, and devices. Holes stay
// holes, so the copy takes no more room than the layer; files of several names stay one, up to 65536 of them. Owners, permissions, times of modification and
// user attributes are kept; as an ordinary user the owner is the caller. File capabilities and access lists are not kept.
//
// The directory appears when it is complete; after an error there is nothing. Anything that cannot be read is an error. No job may write meanwhile.
func (d Delta) Commit(dir string) (err error) {
	if why := targetFault(dir); why != "" {
		return &Error{Index: -1, Op: "commit", Path: dir, Why: why}
	}
	fail := func(op string, err error) error { return &UpperError{Op: op, Path: dir, Err: cause(err)} }
	above, err := unix.Open(filepath.Dir(dir), unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fail("open", err)
	}
	defer unix.Close(above)
	name := filepath.Base(dir)
	var st unix.Stat_t
	if err := unix.Fstatat(above, name, &st, unix.AT_SYMLINK_NOFOLLOW); err == nil {
		return fail("mkdir", unix.EEXIST)
	}
	tmp := fmt.Sprintf(".belljar-commit-%016x", rand.Uint64())
	if err := unix.Mkdirat(above, tmp, 0o700); err != nil {
		return fail("mkdir", err)
	}
	defer func() {
		if err != nil {
			_ = tree.Remove(above, tmp)
		}
	}()
	root, err := unix.Openat(above, tmp, dirFlags, 0)
	if err != nil {
		return fail("open", err)
	}
	c := &committer{d: d, root: root, links: map[inode]string{}}
	defer c.close()
	if err := c.begin(); err != nil {
		return err
	}
	if err := d.run(c); err != nil {
		return err
	}
	if err := unix.Renameat2(above, tmp, above, name, unix.RENAME_NOREPLACE); err != nil {
		return fail("rename", err)
	}
	return nil
}

// committer copies what a walk finds.
type committer struct {
	d     Delta
	root  int
	dirs  []madeDir
	links map[inode]string // files with further names: where their copy is
}

// madeDir is a directory being filled. Its mode comes last, since it may forbid that.
type madeDir struct {
	fd int
	st unix.Stat_t
}

const maxLinks = 1 << 16

func (c *committer) close() {
	for _, d := range c.dirs {
		_ = unix.Close(d.fd)
	}
	if c.root >= 0 {
		_ = unix.Close(c.root)
	}
}

// begin takes over the root's own mode, owner and attributes.
func (c *committer) begin() error {
	var st unix.Stat_t
	dir, err := os.Open(c.d.Upper)
	if c.d.At != nil {
		dir, err = c.d.At, nil
	}
	if err != nil {
		return &UpperError{Op: "open", Path: c.d.Upper, Err: cause(err)}
	}
	if dir != c.d.At {
		defer dir.Close()
	}
	if err := unix.Fstat(int(dir.Fd()), &st); err != nil {
		return err
	}
	fd, err := unix.FcntlInt(uintptr(c.root), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return err
	}
	c.dirs = append(c.dirs, madeDir{fd, st})
	return copyAttrs(int(dir.Fd()), ".", fd, ".", isOpaque(int(dir.Fd()), ""))
}

func (c *committer) fault(path string, err error) error {
	return &UpperError{Op: "read", Path: path, Err: err}
}

func (c *committer) gone(string, *unix.Stat_t) error { return nil } // the directory is opaque in the copy too

func (c *committer) top() *madeDir { return &c.dirs[len(c.dirs)-1] }

// wrap says at which path of the root something failed.
func wrap(op, path string, err error) error {
	if err == nil {
		return nil
	}
	return &UpperError{Op: op, Path: path, Err: cause(err)}
}

func (c *committer) enter(e *upperEntry) (bool, error) {
	at := c.top().fd
	if err := unix.Mkdirat(at, e.name, 0o700); err != nil {
		return false, wrap("mkdir", e.path, err)
	}
	fd, err := unix.Openat(at, e.name, dirFlags, 0)
	if err != nil {
		return false, wrap("open", e.path, err)
	}
	// Only the deepest is open, however deep the tree.
	_ = unix.Close(at)
	c.top().fd = -1
	c.dirs = append(c.dirs, madeDir{fd, e.st})
	return true, wrap("setxattr", e.path, copyAttrs(e.dir, e.name, fd, ".", e.opaque))
}

func (c *committer) leave() error {
	d := c.top()
	if len(c.dirs) > 1 {
		above, err := unix.Openat(d.fd, "..", dirFlags, 0)
		if err != nil {
			return err
		}
		c.dirs[len(c.dirs)-2].fd = above
	}
	err := c.own(d.fd, &d.st)
	if err == nil {
		err = unix.Fchmod(d.fd, d.st.Mode&0o7777)
	}
	if err == nil {
		err = unix.UtimesNanoAt(unix.AT_FDCWD, fdPath(d.fd, ""), times(&d.st), 0)
	}
	_ = unix.Close(d.fd)
	c.dirs = c.dirs[:len(c.dirs)-1]
	return err
}

func times(st *unix.Stat_t) []unix.Timespec { return []unix.Timespec{st.Mtim, st.Mtim} }

// own gives a file its owner. An ordinary user can give nothing away.
func (c *committer) own(fd int, st *unix.Stat_t) error {
	if os.Geteuid() != 0 {
		return nil
	}
	uid, gid := st.Uid, st.Gid
	if c.d.Owner != nil {
		uid, gid = c.d.Owner(uid, gid)
	}
	return unix.Fchownat(fd, "", int(uid), int(gid), unix.AT_EMPTY_PATH)
}

func (c *committer) entry(e *upperEntry) error {
	at, kind := c.top().fd, e.st.Mode&unix.S_IFMT
	if done, err := c.link(e); done || err != nil {
		return wrap("link", e.path, err)
	}
	switch kind {
	case unix.S_IFREG:
		return wrap("copy", e.path, c.file(e))
	case unix.S_IFLNK:
		to, err := readlink(e.dir, e.name)
		if err == nil {
			err = unix.Symlinkat(to, at, e.name)
		}
		if err != nil {
			return wrap("symlink", e.path, err)
		}
	case unix.S_IFCHR, unix.S_IFBLK, unix.S_IFSOCK, unix.S_IFIFO:
		if kind != unix.S_IFIFO && !e.whiteout {
			return nil // no layer brings devices
		}
		if err := unix.Mknodat(at, e.name, kind|0o600, 0); err != nil {
			return wrap("mknod", e.path, err)
		}
	}
	return wrap("chown", e.path, c.finish(e))
}

// finish gives what is no regular file its owner, mode and time.
func (c *committer) finish(e *upperEntry) error {
	fd, err := unix.Openat(c.top().fd, e.name, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if err := c.own(fd, &e.st); err != nil {
		return err
	}
	if e.st.Mode&unix.S_IFMT != unix.S_IFLNK {
		if err := unix.Fchmodat(c.top().fd, e.name, e.st.Mode&0o7777, 0); err != nil {
			return err
		}
	}
	return unix.UtimesNanoAt(c.top().fd, e.name, times(&e.st), unix.AT_SYMLINK_NOFOLLOW)
}

// link makes a further name of a file that has been copied already.
func (c *committer) link(e *upperEntry) (done bool, err error) {
	if e.st.Nlink < 2 || e.whiteout {
		return false, nil
	}
	id := inode{e.st.Dev, e.st.Ino}
	if first, ok := c.links[id]; ok {
		// What cannot be reached by its name, because a directory on the way is shut, is copied again.
		return unix.Linkat(c.root, first, c.top().fd, e.name, 0) == nil, nil
	}
	if len(c.links) < maxLinks && len(e.path) < unix.PathMax {
		c.links[id] = strings.TrimPrefix(e.path, "/")
	}
	return false, nil
}

// file copies a regular file: what is data of it.
func (c *committer) file(e *upperEntry) error {
	from, err := openRegular(e.dir, e.name)
	if err != nil {
		return err
	}
	defer from.Close()
	fd, err := unix.Openat(c.top().fd, e.name, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return err
	}
	to := os.NewFile(uintptr(fd), e.name)
	defer to.Close()
	if err := copyData(to, from, e.st.Size); err != nil {
		return err
	}
	if err := copyAttrs(e.dir, e.name, c.top().fd, e.name, false); err != nil {
		return err
	}
	if err := c.own(fd, &e.st); err != nil {
		return err
	}
	if err := unix.Fchmod(fd, e.st.Mode&0o7777); err != nil {
		return err
	}
	return unix.UtimesNanoAt(c.top().fd, e.name, times(&e.st), unix.AT_SYMLINK_NOFOLLOW)
}

// copyData copies up to size bytes, but not what is a hole (lseek(2), SEEK_DATA): a job can make those of any length at no cost.
func copyData(to, from *os.File, size int64) error {
	if err := to.Truncate(size); err != nil {
		return err
	}
	src := int(from.Fd())
	buf := make([]byte, 128<<10)
	for at := int64(0); at < size; {
		begin, err := unix.Seek(src, at, unix.SEEK_DATA)
		if err == unix.ENXIO {
			return nil // nothing but a hole until the end
		}
		if err != nil {
			return err
		}
		end, err := unix.Seek(src, begin, unix.SEEK_HOLE)
		if err != nil {
			return err
		}
		end = min(end, size)
		for at = begin; at < end; {
			n, err := unix.Pread(src, buf[:min(int64(len(buf)), end-at)], at)
			if err == unix.EINTR {
				continue
			}
			if err != nil {
				return err
			}
			if n == 0 {
				return errMoved // it became shorter
			}
			if _, err := to.WriteAt(buf[:n], at); err != nil {
				return err
			}
			at += int64(n)
		}
		if begin >= size {
			return nil
		}
	}
	return nil
}

// copyAttrs copies user attributes. Of overlayfs's own the one that makes a directory opaque is set, and no other gets into a layer.
func copyAttrs(dir int, name string, toDir int, toName string, opaque bool) error {
	names, err := attrsOf(dir, name)
	if err != nil {
		return err
	}
	to := fdPath(toDir, toName)
	for _, a := range names {
		if !strings.HasPrefix(a, "user.") {
			continue
		}
		value, err := attr(dir, name, a)
		if err == nil {
			err = unix.Lsetxattr(to, a, value, 0)
		}
		if err != nil {
			return &fs.PathError{Op: "setxattr", Path: a, Err: err}
		}
	}
	if opaque {
		if err := unix.Lsetxattr(to, "user.overlay.opaque", []byte("y"), 0); err != nil {
			return &fs.PathError{Op: "setxattr", Path: "user.overlay.opaque", Err: errors.Join(errUpperAttrs, err)}
		}
	}
	return nil
}
