package rootfs

import (
	"bytes"
	"errors"
	"io"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// lister makes changes of what a walk finds.
type lister struct {
	d     Delta
	yield func(Change, error) bool
}

func (d Delta) walk(l *lister) {
	if err := d.run(l); err != nil && !errors.Is(err, errStop) {
		l.yield(Change{}, err)
	}
}

func (l *lister) tell(c Change, err error) error {
	if !l.yield(c, err) {
		return errStop
	}
	return nil
}

func (l *lister) fault(path string, err error) error {
	return l.tell(Change{Path: path}, &UpperError{Op: "read", Path: path, Err: err})
}

func (l *lister) gone(path string, was *unix.Stat_t) error {
	return l.tell(Change{Kind: Removed, Path: path, Mode: modeOf(was)}, nil)
}

func (l *lister) leave() error { return nil }

func (l *lister) enter(e *upperEntry) (bool, error) { return true, l.entry(e) }

func (l *lister) entry(e *upperEntry) error {
	switch {
	case e.whiteout:
		return l.gone(e.path, &e.low.st)
	case !e.low.found:
		return l.tell(Change{Kind: Added, Path: e.path, Mode: modeOf(&e.st)}, nil)
	}
	what, err := l.compare(e)
	if err != nil {
		return l.fault(e.path, err)
	}
	if what == 0 {
		return nil
	}
	return l.tell(Change{Kind: Changed, Path: e.path, Mode: modeOf(&e.st), What: what}, nil)
}

// compare finds what differs between the layers.
func (l *lister) compare(e *upperEntry) (Aspects, error) {
	a, b := &e.st, &e.low.st
	if a.Mode&unix.S_IFMT != b.Mode&unix.S_IFMT {
		return TypeChanged, nil
	}
	var what Aspects
	kind := a.Mode & unix.S_IFMT
	if a.Mode != b.Mode && kind != unix.S_IFLNK {
		what |= ModeChanged
	}
	uid, gid := a.Uid, a.Gid
	if l.d.Owner != nil {
		uid, gid = l.d.Owner(uid, gid)
	}
	if uid != b.Uid || gid != b.Gid {
		what |= OwnerChanged
	}
	if kind != unix.S_IFDIR && !sameTime(a.Mtim, b.Mtim) {
		what |= TimesChanged
	}
	same, err := sameAttrs(e)
	if err == nil && !same {
		what |= AttrsChanged
	}
	if err == nil {
		same, err = sameContent(e)
	}
	if err == nil && !same {
		what |= ContentChanged
	}
	return what, err
}

// sameTime compares times of files, of which some file systems keep whole seconds.
func sameTime(a, b unix.Timespec) bool {
	return a.Sec == b.Sec && (a.Nsec == b.Nsec || a.Nsec == 0 || b.Nsec == 0)
}

// sameContent compares what files have in them. What has another length differs; what has the same is read, since a job can set times as it likes.
func sameContent(e *upperEntry) (bool, error) {
	switch e.st.Mode & unix.S_IFMT {
	case unix.S_IFREG:
		if e.st.Size != e.low.st.Size {
			return false, nil
		}
		return sameBytes(e)
	case unix.S_IFLNK:
		a, err := readlink(e.dir, e.name)
		if err != nil {
			return false, err
		}
		b, err := readlink(e.low.dir, e.name)
		return a == b, err
	case unix.S_IFCHR, unix.S_IFBLK:
		return e.st.Rdev == e.low.st.Rdev, nil
	}
	return true, nil
}

func sameBytes(e *upperEntry) (bool, error) {
	if e.st.Size == 0 {
		return true, nil
	}
	a, err := openRegular(e.dir, e.name)
	if err != nil {
		return false, err
	}
	defer a.Close()
	b, err := openRegular(e.low.dir, e.name)
	if err != nil {
		return false, err
	}
	defer b.Close()
	// The length is that of the layer below, so no job can make this last for ever.
	var x, y [32 << 10]byte
	for left := e.low.st.Size; left > 0; {
		n := min(left, int64(len(x)))
		if _, err := io.ReadFull(b, y[:n]); err != nil {
			return false, cause(err)
		}
		if _, err := io.ReadFull(a, x[:n]); errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return false, nil
		} else if err != nil {
			return false, cause(err)
		}
		if !bytes.Equal(x[:n], y[:n]) {
			return false, nil
		}
		left -= n
	}
	return true, nil
}

func readlink(dir int, name string) (string, error) {
	buf := make([]byte, unix.PathMax)
	n, err := unix.Readlinkat(dir, name, buf)
	if err != nil {
		return "", err
	}
	return string(buf[:n]), nil
}

// fdPath is a path to a name in an open directory, or to the directory itself, for calls that take no descriptor. The name is the last
// component, so a link at it is not followed by calls that do not follow.
func fdPath(dir int, name string) string {
	p := "/proc/self/fd/" + strconv.Itoa(dir)
	if name == "" {
		return p + "/."
	}
	return p + "/" + name
}

// sameAttrs compares extended attributes: those of users by value, others, whose values depend on who looks at them from where, by name.
func sameAttrs(e *upperEntry) (bool, error) {
	a, err := attrsOf(e.dir, e.name)
	if err != nil {
		return false, err
	}
	b, err := attrsOf(e.low.dir, e.name)
	if err != nil || len(a) == 0 && len(b) == 0 {
		return true, err
	}
	if !slices.Equal(a, b) {
		return false, nil
	}
	for _, name := range a {
		if !strings.HasPrefix(name, "user.") {
			continue
		}
		x, err := attr(e.dir, e.name, name)
		if err != nil {
			return false, err
		}
		y, err := attr(e.low.dir, e.name, name)
		if err != nil || !bytes.Equal(x, y) {
			return false, err
		}
	}
	return true, nil
}

// attrsOf lists the attributes that count, in order: not those of overlayfs, nor what a security module keeps there.
func attrsOf(dir int, name string) ([]string, error) {
	path := fdPath(dir, name)
	var buf []byte
	for {
		n, err := unix.Llistxattr(path, nil)
		if err == nil && n > 0 {
			buf = make([]byte, n)
			n, err = unix.Llistxattr(path, buf)
		}
		switch {
		case err == unix.ERANGE:
			continue
		case err == unix.EOPNOTSUPP || err == nil && n == 0:
			return nil, nil
		case err != nil:
			return nil, err
		}
		var names []string
		for a := range strings.SplitSeq(string(buf[:n]), "\x00") {
			own := strings.HasPrefix(a, "user.") && !strings.HasPrefix(a, "user.overlay.")
			if own || a == "security.capability" || strings.HasPrefix(a, "system.posix_acl_") {
				names = append(names, a)
			}
		}
		slices.Sort(names)
		return names, nil
	}
}

// attr reads an attribute, of at most 64 KiB (XATTR_SIZE_MAX).
func attr(dir int, name, attribute string) ([]byte, error) {
	buf := make([]byte, 64<<10)
	n, err := unix.Lgetxattr(fdPath(dir, name), attribute, buf)
	if err != nil {
		return nil, err
	}
	return buf[:n], nil
}
