package tree

import (
	"errors"
	"fmt"
	"os"
	"path"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// Opaque is the attribute, with the value "y", of a directory that hides what is in directories of its name in
// layers below it; see the kernel's Documentation/filesystems/overlayfs.rst, userxattr.
const Opaque = "user.overlay.opaque"

// Stack is layers, the lowest first, looked at as overlayfs would show them. The descriptors are
// directories and stay the caller's.
type Stack []int

// ErrThroughLink says that a symbolic link stands where a directory should.
var ErrThroughLink = errors.New("goes through a symbolic link")

// merged is a directory as the stack shows it: what there is of it in each layer, the topmost first.
type merged []int

func (m merged) close() {
	for _, fd := range m {
		_ = unix.Close(fd)
	}
}

// root returns the stack's root. The caller closes it, as all of these.
func (s Stack) root() (merged, error) {
	var m merged
	for _, dir := range slices.Backward(s) {
		fd, err := unix.Openat(dir, ".", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		if err != nil {
			m.close()
			return nil, &os.PathError{Op: "openat", Path: ".", Err: err}
		}
		m = append(m, fd)
	}
	return m, nil
}

// child looks a name up. It returns the directory, or a descriptor (O_PATH) of what is no directory. Both are
// none if there is nothing.
func (m merged) child(name string) (dir merged, leaf int, err error) {
	for _, parent := range m {
		fd, err := unix.Openat(parent, name, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
		if err == unix.ENOENT {
			continue
		}
		var st unix.Stat_t
		if err == nil {
			err = unix.Fstat(fd, &st)
		}
		if err != nil {
			dir.close()
			return nil, -1, &os.PathError{Op: "openat", Path: name, Err: err}
		}
		if st.Mode&unix.S_IFMT == unix.S_IFDIR {
			dir = append(dir, fd)
			if isOpaque(fd) {
				break
			}
			continue
		}
		if len(dir) > 0 || isWhiteout(&st) {
			_ = unix.Close(fd)
			break
		}
		return nil, fd, nil
	}
	return dir, -1, nil
}

func isWhiteout(st *unix.Stat_t) bool {
	return st.Mode&unix.S_IFMT == unix.S_IFCHR && st.Rdev == 0
}

// IsWhiteout tells whether st is that of a whiteout of overlayfs: a character device 0/0.
func IsWhiteout(st *unix.Stat_t) bool { return isWhiteout(st) }

// isOpaque reads the mark of a directory by an O_PATH descriptor. One that cannot be read is none, as for overlayfs.
func isOpaque(fd int) bool {
	var value [2]byte
	n, err := unix.Getxattr(fmt.Sprintf("/proc/self/fd/%d", fd), Opaque, value[:])
	return err == nil && n == 1 && value[0] == 'y'
}

// Stat returns what the stack shows at a relative, clean path; nil if there is nothing. It follows no link: where one stands in the
// place of a directory it is ErrThroughLink.
func (s Stack) Stat(name string) (*unix.Stat_t, error) {
	at, err := s.root()
	if err != nil || len(at) == 0 {
		return nil, err
	}
	var st unix.Stat_t
	for rest := name; rest != "" && rest != "."; {
		var word string
		word, rest, _ = strings.Cut(rest, "/")
		dir, leaf, err := at.child(word)
		at.close()
		if err != nil {
			return nil, err
		}
		if leaf >= 0 {
			err := unix.Fstat(leaf, &st)
			_ = unix.Close(leaf)
			switch {
			case err != nil:
				return nil, err
			case rest == "":
				return &st, nil
			case st.Mode&unix.S_IFMT == unix.S_IFLNK:
				return nil, ErrThroughLink
			}
			return nil, nil // below a file there is nothing
		}
		if at = dir; len(at) == 0 {
			return nil, nil
		}
	}
	defer at.close()
	if err := unix.Fstat(at[0], &st); err != nil {
		return nil, err
	}
	return &st, nil
}

// Names lists what the stack shows at its root.
func (s Stack) Names() ([]string, error) {
	seen := map[string]bool{} // whether it is shown
	var names []string
	for _, fd := range slices.Backward(s) {
		again, err := unix.Openat(fd, ".", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		if err != nil {
			return nil, &os.PathError{Op: "openat", Path: ".", Err: err}
		}
		d := os.NewFile(uintptr(again), ".")
		list, err := d.Readdirnames(-1)
		for _, name := range list {
			if seen[name] {
				continue
			}
			seen[name] = true
			var st unix.Stat_t
			if err := unix.Fstatat(again, name, &st, unix.AT_SYMLINK_NOFOLLOW); err == nil && !isWhiteout(&st) {
				names = append(names, name)
			}
		}
		_ = d.Close()
		if err != nil {
			return nil, err
		}
	}
	return names, nil
}

const (
	maxLinks = 40     // symbolic links that a path may lead through, as for the kernel (path_resolution(7))
	maxSteps = 10_000 // names looked up on the way: links can make any number of them out of a short path
)

// Open opens a regular file for reading. Symbolic links are followed within the stack, as in a root of its own: neither
// an absolute one nor "..", nor a link of proc, leads out. Nothing else than a regular file is opened, so it
// blocks on no FIFO. It has no more descriptors than layers at a time.
func (s Stack) Open(name string) (*os.File, error) {
	w := walk{stack: s, todo: strings.Split(name, "/")}
	f, err := w.run()
	w.at.close()
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: name, Err: err}
	}
	return f, nil
}

// walk is a path being followed.
type walk struct {
	stack Stack
	at    merged   // where it stands
	names []string // the way there from the root, without links
	todo  []string
	links int
	steps int
}

func (w *walk) run() (*os.File, error) {
	if err := w.restart(nil); err != nil {
		return nil, err
	}
	for len(w.todo) > 0 {
		word := w.todo[0]
		w.todo = w.todo[1:]
		switch word {
		case "", ".":
			continue
		case "..":
			if err := w.restart(w.names[:max(len(w.names)-1, 0)]); err != nil {
				return nil, err
			}
			continue
		}
		leaf, err := w.down(word)
		if err != nil {
			return nil, err
		}
		if leaf < 0 {
			continue
		}
		target, f, err := follow(leaf)
		if err != nil {
			return nil, err
		}
		if f != nil && len(w.todo) > 0 {
			_ = f.Close()
			return nil, unix.ENOTDIR
		}
		if f != nil {
			return f, nil
		}
		if err := w.link(target); err != nil {
			return nil, err
		}
	}
	return nil, unix.EISDIR
}

// restart walks to a directory from the root.
func (w *walk) restart(names []string) error {
	w.at.close()
	w.names = nil
	var err error
	if w.at, err = w.stack.root(); err != nil {
		return err
	}
	for _, n := range names {
		if leaf, err := w.down(n); err != nil {
			return err
		} else if leaf >= 0 {
			_ = unix.Close(leaf)
			return unix.ENOTDIR // it was one a moment ago
		}
	}
	return nil
}

// down goes into a directory. What is none it returns.
func (w *walk) down(name string) (leaf int, err error) {
	if w.steps++; w.steps > maxSteps {
		return -1, unix.ELOOP
	}
	dir, leaf, err := w.at.child(name)
	switch {
	case err != nil:
		return -1, err
	case len(dir) > 0:
		w.at.close()
		w.at, w.names = dir, append(w.names, name)
	case leaf < 0:
		return -1, unix.ENOENT
	}
	return leaf, nil
}

func (w *walk) link(target string) error {
	if w.links++; w.links > maxLinks {
		return unix.ELOOP
	}
	w.todo = append(strings.Split(target, "/"), w.todo...)
	if len(w.todo)+len(w.names) > unix.PathMax {
		return unix.ENAMETOOLONG
	}
	if path.IsAbs(target) {
		return w.restart(nil)
	}
	return nil
}

// follow takes an O_PATH descriptor, which it closes: it reads a link, or opens a regular file.
func follow(fd int) (target string, f *os.File, err error) {
	defer unix.Close(fd)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return "", nil, err
	}
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFLNK:
		buf := make([]byte, unix.PathMax)
		n, err := unix.Readlinkat(fd, "", buf)
		return string(buf[:n]), nil, err
	case unix.S_IFREG:
		// What is opened is what was looked at, and no path is walked for it.
		again, err := unix.Open(fmt.Sprintf("/proc/self/fd/%d", fd), unix.O_RDONLY|unix.O_NONBLOCK|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
		if err != nil {
			return "", nil, err
		}
		return "", os.NewFile(uintptr(again), "file"), nil
	}
	return "", nil, fmt.Errorf("is no regular file: %w", unix.EINVAL)
}
