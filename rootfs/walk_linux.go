package rootfs

import (
	"encoding/binary"
	"errors"
	"io/fs"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// visitor is told what a walk of an upper layer finds. An error of one path is told to fault; an error that a visitor returns ends the walk.
type visitor interface {
	// entry is called for everything but directories, and for each whiteout that hides something.
	entry(e *upperEntry) error
	// enter is called before what is in a directory; with false it is not looked at.
	enter(e *upperEntry) (bool, error)
	// leave is called after.
	leave() error
	// gone is called for what a directory no longer has because it is opaque.
	gone(path string, was *unix.Stat_t) error
	// fault is called for what cannot be read; it may return the error, to end the walk.
	fault(path string, err error) error
}

// upperEntry is something that an upper layer has.
type upperEntry struct {
	dir      int // descriptor of the directory that has it
	name     string
	path     string // in the root
	st       unix.Stat_t
	whiteout bool
	opaque   bool
	low      lowerEntry
}

// lowerEntry is what the layers below have at the same path, seen together.
type lowerEntry struct {
	found bool
	dir   int // descriptor of the directory that has it
	st    unix.Stat_t
	dirs  []int // layers that make the directory, if it is one, topmost first
}

// errStop ends a walk that nobody wants more of.
var errStop = errors.New("stop")

// errMoved says that a directory is no longer where it was entered.
var errMoved = unix.ESTALE

// layerWalk is where a walk is. Of each layer there is one descriptor, of the deepest directory entered; up is "..", and has to be
// the directory that it was.
type layerWalk struct {
	d      Delta
	v      visitor
	upper  int
	lowers []int // topmost first
	levels []walkLevel
	path   []byte
	buf    []byte
}

type walkLevel struct {
	next   int64 // where to go on in the directory
	length int   // of path
	upper  inode
	opaque bool
	lowers []int   // indexes of the layers that have the directory, topmost first
	nodes  []inode // theirs
}

type inode struct{ dev, ino uint64 }

func inodeOf(fd int) (inode, error) {
	var st unix.Stat_t
	err := unix.Fstat(fd, &st)
	return inode{st.Dev, st.Ino}, err
}

const dirFlags = unix.O_RDONLY | unix.O_DIRECTORY | unix.O_NOFOLLOW | unix.O_CLOEXEC

// run walks the layers.
func (d Delta) run(v visitor) (err error) {
	w := &layerWalk{d: d, v: v, upper: -1, buf: make([]byte, 8<<10)}
	defer w.close()
	if d.At != nil {
		w.upper, err = unix.Openat(int(d.At.Fd()), ".", dirFlags, 0)
	} else {
		w.upper, err = unix.Open(d.Upper, dirFlags&^unix.O_NOFOLLOW, 0)
	}
	if err != nil {
		return &UpperError{Op: "open", Path: d.Upper, Err: err}
	}
	top := walkLevel{}
	for i := len(d.Lowers) - 1; i >= 0; i-- {
		fd, err := unix.Open(d.Lowers[i], dirFlags&^unix.O_NOFOLLOW, 0)
		if err != nil {
			return &UpperError{Op: "open", Path: d.Lowers[i], Err: err}
		}
		top.lowers = append(top.lowers, len(w.lowers))
		w.lowers = append(w.lowers, fd)
		if isOpaque(fd, "") {
			break
		}
	}
	top.opaque = isOpaque(w.upper, "")
	if err := w.push(top); err != nil {
		return err
	}
	for len(w.levels) > 0 {
		if err := w.step(); err != nil {
			return err
		}
	}
	return nil
}

func (w *layerWalk) close() {
	for _, fd := range append(w.lowers, w.upper) {
		if fd >= 0 {
			_ = unix.Close(fd)
		}
	}
}

// push begins a directory that the descriptors stand for.
func (w *layerWalk) push(l walkLevel) (err error) {
	l.length = len(w.path)
	if l.upper, err = inodeOf(w.upper); err != nil {
		return err
	}
	for _, i := range l.lowers {
		node, err := inodeOf(w.lowers[i])
		if err != nil {
			return err
		}
		l.nodes = append(l.nodes, node)
	}
	w.levels = append(w.levels, l)
	return nil
}

// step goes on in the current directory up to the next one in it, or leaves it.
func (w *layerWalk) step() error {
	l := &w.levels[len(w.levels)-1]
	deeper := false
	err := w.each(w.upper, l.next, func(name string, next int64) (bool, error) {
		l.next = next
		var err error
		deeper, err = w.visit(l, name)
		return deeper, err
	})
	if err != nil && !deeper {
		if errors.Is(err, errFault) {
			err = w.v.fault(w.at(""), errors.Unwrap(err))
		}
		if err != nil {
			return err
		}
	}
	if deeper {
		return err
	}
	if l.opaque {
		if err := w.missing(l); err != nil {
			return err
		}
	}
	return w.pop()
}

// errFault marks an error of reading a directory.
var errFault = errors.New("fault")

type faultError struct{ error }

func (e faultError) Is(target error) bool { return target == errFault }
func (e faultError) Unwrap() error        { return e.error }

// each calls f for the names in a directory from a position on, with the position after each, until it returns true.
func (w *layerWalk) each(fd int, from int64, f func(name string, next int64) (bool, error)) error {
	if _, err := unix.Seek(fd, from, unix.SEEK_SET); err != nil {
		return faultError{err}
	}
	for {
		n, err := unix.Getdents(fd, w.buf)
		if err != nil {
			return faultError{err}
		}
		if n == 0 {
			return nil
		}
		for b := w.buf[:n]; len(b) > 0; {
			// struct linux_dirent64: inode, position, length, type, name (getdents(2)).
			next, size := int64(binary.NativeEndian.Uint64(b[8:])), binary.NativeEndian.Uint16(b[16:])
			name := string(b[19:size])
			b = b[size:]
			for i := range len(name) {
				if name[i] == 0 {
					name = name[:i]
					break
				}
			}
			if name == "." || name == ".." {
				continue
			}
			if done, err := f(name, next); done || err != nil {
				return err
			}
		}
	}
}

func (w *layerWalk) at(name string) string {
	if name == "" {
		if len(w.path) == 0 {
			return "/"
		}
		return string(w.path)
	}
	return string(w.path) + "/" + name
}

// visit looks at one name of the upper layer, and tells whether it is a directory that has been entered.
func (w *layerWalk) visit(l *walkLevel, name string) (entered bool, err error) {
	e := upperEntry{dir: w.upper, name: name, path: w.at(name)}
	if w.d.skips(e.path) {
		return false, nil
	}
	if err := unix.Fstatat(w.upper, name, &e.st, unix.AT_SYMLINK_NOFOLLOW); err == unix.ENOENT {
		return false, nil // removed meanwhile
	} else if err != nil {
		return false, w.v.fault(e.path, err)
	}
	if e.low, err = w.below(l, name); err != nil {
		return false, w.v.fault(e.path, err)
	}
	if isWhiteout(&e.st) {
		e.whiteout = true
		if !e.low.found {
			return false, nil
		}
		return false, w.v.entry(&e)
	}
	if e.st.Mode&unix.S_IFMT != unix.S_IFDIR {
		return false, w.v.entry(&e)
	}
	return w.enter(&e)
}

// below finds what the layers below show at a name, as overlayfs does.
func (w *layerWalk) below(l *walkLevel, name string) (low lowerEntry, err error) {
	for _, i := range l.lowers {
		var st unix.Stat_t
		if err := unix.Fstatat(w.lowers[i], name, &st, unix.AT_SYMLINK_NOFOLLOW); err == unix.ENOENT {
			continue
		} else if err != nil {
			return low, err
		}
		dir := st.Mode&unix.S_IFMT == unix.S_IFDIR
		if isWhiteout(&st) || low.found && !dir {
			return low, nil
		}
		if !low.found {
			low.found, low.dir, low.st = true, w.lowers[i], st
		}
		if !dir {
			return low, nil
		}
		low.dirs = append(low.dirs, i)
		if isOpaque(w.lowers[i], name) {
			return low, nil
		}
	}
	return low, nil
}

// enter goes into a directory, if the visitor wants to.
func (w *layerWalk) enter(e *upperEntry) (bool, error) {
	e.opaque = isOpaque(w.upper, e.name)
	want, err := w.v.enter(e)
	if err != nil || !want {
		return false, err
	}
	next := walkLevel{opaque: e.opaque}
	if e.low.found && e.low.st.Mode&unix.S_IFMT == unix.S_IFDIR {
		next.lowers = e.low.dirs
	}
	fds, err := openAll(append([]int{w.upper}, w.fds(next.lowers)...), e.name)
	if err != nil {
		if err := w.v.leave(); err != nil {
			return false, err
		}
		return false, w.v.fault(e.path, err)
	}
	_ = unix.Close(w.upper)
	w.upper = fds[0]
	for n, i := range next.lowers {
		_ = unix.Close(w.lowers[i])
		w.lowers[i] = fds[n+1]
	}
	w.path = append(append(w.path, '/'), e.name...)
	return true, w.push(next)
}

// openAll opens a directory of each of others, or none.
func openAll(dirs []int, name string) (fds []int, err error) {
	for _, d := range dirs {
		fd, err := unix.Openat(d, name, dirFlags, 0)
		if err != nil {
			for _, fd := range fds {
				_ = unix.Close(fd)
			}
			return nil, err
		}
		fds = append(fds, fd)
	}
	return fds, nil
}

// missing tells of what an opaque directory hides.
func (w *layerWalk) missing(l *walkLevel) error {
	for n, i := range l.lowers {
		err := w.each(w.lowers[i], 0, func(name string, _ int64) (bool, error) {
			var st unix.Stat_t
			for _, above := range append([]int{w.upper}, w.fds(l.lowers[:n])...) {
				if unix.Fstatat(above, name, &st, unix.AT_SYMLINK_NOFOLLOW) == nil {
					return false, nil // told of already
				}
			}
			if err := unix.Fstatat(w.lowers[i], name, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil || isWhiteout(&st) || w.d.skips(w.at(name)) {
				return false, nil
			}
			return false, w.v.gone(w.at(name), &st)
		})
		if errors.Is(err, errFault) {
			err = w.v.fault(w.at(""), errors.Unwrap(err))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (w *layerWalk) fds(layers []int) (fds []int) {
	for _, i := range layers {
		fds = append(fds, w.lowers[i])
	}
	return fds
}

// pop leaves a directory.
func (w *layerWalk) pop() error {
	l := w.levels[len(w.levels)-1]
	w.levels = w.levels[:len(w.levels)-1]
	if len(w.levels) == 0 {
		return w.v.leave()
	}
	up := &w.levels[len(w.levels)-1]
	if err := w.climb(&w.upper, up.upper); err != nil {
		return err
	}
	for _, i := range l.lowers {
		for n, j := range up.lowers {
			if i != j {
				continue
			}
			if err := w.climb(&w.lowers[i], up.nodes[n]); err != nil {
				return err
			}
		}
	}
	w.path = w.path[:up.length]
	return w.v.leave()
}

// climb turns a directory into the one above, which has to be the one it was entered from.
func (w *layerWalk) climb(fd *int, want inode) error {
	above, err := unix.Openat(*fd, "..", dirFlags, 0)
	if err != nil {
		return &UpperError{Op: "open", Path: w.at("") + "/..", Err: err}
	}
	_ = unix.Close(*fd)
	*fd = above
	if is, err := inodeOf(above); err != nil || is != want {
		return &UpperError{Op: "open", Path: w.at("") + "/..", Err: errMoved}
	}
	return nil
}

// isWhiteout tells a whiteout: a character device 0/0.
func isWhiteout(st *unix.Stat_t) bool {
	return st.Mode&unix.S_IFMT == unix.S_IFCHR && st.Rdev == 0
}

// isOpaque tells whether a directory hides what is below. An empty name stands for dir itself.
func isOpaque(dir int, name string) bool {
	var value [2]byte
	n, err := unix.Lgetxattr(fdPath(dir, name), "user.overlay.opaque", value[:])
	return err == nil && n == 1 && value[0] == 'y'
}

// modeOf is the mode of a stat(2) as Go has it.
func modeOf(st *unix.Stat_t) fs.FileMode {
	m := fs.FileMode(st.Mode & 0o777)
	for bit, mode := range map[uint32]fs.FileMode{unix.S_ISUID: fs.ModeSetuid, unix.S_ISGID: fs.ModeSetgid, unix.S_ISVTX: fs.ModeSticky} {
		if st.Mode&bit != 0 {
			m |= mode
		}
	}
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFDIR:
		m |= fs.ModeDir
	case unix.S_IFLNK:
		m |= fs.ModeSymlink
	case unix.S_IFIFO:
		m |= fs.ModeNamedPipe
	case unix.S_IFSOCK:
		m |= fs.ModeSocket
	case unix.S_IFBLK:
		m |= fs.ModeDevice
	case unix.S_IFCHR:
		m |= fs.ModeDevice | fs.ModeCharDevice
	}
	return m
}

// openRegular opens a file to read, and nothing but a regular file: not even for a moment a FIFO or a device that took its place.
func openRegular(dir int, name string) (*os.File, error) {
	at, err := unix.Openat(dir, name, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	defer unix.Close(at)
	var st unix.Stat_t
	if err := unix.Fstat(at, &st); err != nil {
		return nil, err
	}
	if st.Mode&unix.S_IFMT != unix.S_IFREG {
		return nil, errMoved
	}
	path := "/proc/self/fd/" + strconv.Itoa(at)
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC|unix.O_NOATIME, 0)
	if err == unix.EPERM { // another's file
		fd, err = unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	}
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), name), nil
}
