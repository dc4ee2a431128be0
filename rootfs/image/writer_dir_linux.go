package image

import (
	"errors"
	"os"
	"path"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/belljar-go/belljar/rootfs/internal/tree"
)

// dirMeta is what a directory gets in the end: what is put into it changes its times, and its mode may forbid to put anything.
type dirMeta struct {
	mode     uint32
	uid, gid int
	attrs    map[string]string // given at once: an archive may have any number of them
	mtime    unix.Timespec
	timed    bool
}

// leave lets go of the directory that is open.
func (w *layerWriter) leave() {
	if w.fd >= 0 {
		_ = unix.Close(w.fd)
		w.fd = -1
	}
}

// open opens a directory of the layer.
func (w *layerWriter) open(dir string) (int, error) {
	if err := w.budget.look(dir, 1); err != nil {
		return -1, err
	}
	return beneath(w.root, dir)
}

// beneath opens a directory below another, to which no link and no mount leads.
func beneath(dir int, name string) (int, error) {
	return unix.Openat2(dir, name, &unix.OpenHow{
		Flags:   unix.O_RDONLY | unix.O_DIRECTORY | unix.O_NOFOLLOW | unix.O_CLOEXEC,
		Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_NO_MAGICLINKS | unix.RESOLVE_NO_XDEV,
	})
}

var (
	errViaLink = malformed("leads through a symbolic link of the layer")
	errViaFile = malformed("leads through something that is no directory")
)

// enter opens the directory of that path, and makes it if the archive has not: as it is in the layers below. The descriptor stays
// w's, until the next call.
func (w *layerWriter) enter(dir string) (int, error) {
	if w.fd >= 0 && w.parent == dir {
		return w.fd, nil
	}
	w.leave()
	fd, err := w.open(dir)
	if err == unix.ENOENT || err == unix.ENOTDIR {
		if err = w.missing(dir); err == nil {
			fd, err = w.open(dir)
		}
	}
	switch {
	case err == unix.ELOOP:
		return -1, errViaLink
	case err == unix.ENOTDIR:
		return -1, errViaFile
	case err != nil:
		return -1, err
	}
	w.fd, w.parent = fd, dir
	return fd, nil
}

// missing makes the directories that lead to a path and that path itself, where there is nothing yet but whiteouts.
func (w *layerWriter) missing(dir string) error {
	parent, err := w.open(".")
	if err != nil {
		return err
	}
	defer func() { _ = unix.Close(parent) }()
	at := "."
	for word := range strings.SplitSeq(dir, "/") {
		at = path.Join(at, word)
		if err := w.missingIn(parent, word, at); err != nil {
			return err
		}
		next, err := beneath(parent, word)
		if err != nil {
			return err
		}
		_ = unix.Close(parent)
		parent = next
	}
	return nil
}

func (w *layerWriter) missingIn(parent int, name, at string) error {
	kind, err := look(parent, name)
	switch {
	case err != nil:
		return err
	case kind == aWhiteout:
		return w.mkdir(parent, name, at, dirMeta{mode: 0o755}, true)
	case kind == aLink:
		return unix.ELOOP
	case kind == aFile:
		return unix.ENOTDIR
	case kind == aDirectory:
		return nil
	}
	m, err := w.inherited(at)
	if err != nil {
		return err
	}
	return w.mkdir(parent, name, at, m, false)
}

// inLayer is what a layer has at a name so far.
type inLayer int

const (
	nothing inLayer = iota
	aDirectory
	aWhiteout
	aLink
	aFile // anything else
)

func look(parent int, name string) (inLayer, error) {
	var st unix.Stat_t
	err := unix.Fstatat(parent, name, &st, unix.AT_SYMLINK_NOFOLLOW)
	switch {
	case err == unix.ENOENT:
		return nothing, nil
	case err != nil:
		return nothing, err
	case tree.IsWhiteout(&st):
		return aWhiteout, nil
	case st.Mode&unix.S_IFMT == unix.S_IFDIR:
		return aDirectory, nil
	case st.Mode&unix.S_IFMT == unix.S_IFLNK:
		return aLink, nil
	}
	return aFile, nil
}

// inherited is what a directory gets that the archive does not have: what it has below. To make one in the place of a link of a lower layer
// would take away what that led to, and to follow it is another program's business: it knows all layers when it packs one.
func (w *layerWriter) inherited(dir string) (dirMeta, error) {
	st, err := w.below(dir)
	switch {
	case errors.Is(err, tree.ErrThroughLink) || err == nil && st != nil && st.Mode&unix.S_IFMT == unix.S_IFLNK:
		return dirMeta{}, unsupported("leads through a symbolic link of a lower layer, %s", quote(dir))
	case err != nil:
		return dirMeta{}, err
	case st == nil || st.Mode&unix.S_IFMT != unix.S_IFDIR:
		return dirMeta{mode: 0o755}, nil
	}
	return dirMeta{mode: st.Mode & 0o7777, uid: int(st.Uid), gid: int(st.Gid), mtime: st.Mtim, timed: true}, nil
}

// below returns what the lower layers show at a path; nil for nothing.
func (w *layerWriter) below(p string) (*unix.Stat_t, error) {
	if err := w.budget.look(p, len(w.lower)); err != nil {
		return nil, err
	}
	return w.lower.Stat(p)
}

// mkdir makes a directory, in place of what hid all that is below if it replaces something: a whiteout of this layer, or a file. Then
// it shows nothing of that either.
func (w *layerWriter) mkdir(parent int, name, at string, m dirMeta, replaces bool) error {
	if err := w.budget.entry(); err != nil {
		return err
	}
	if w.budget.names -= int64(len(at)) + perDirName; w.budget.names < 0 {
		return tooMuch("more directories than fit %d bytes", maxNames)
	}
	if replaces {
		if err := unix.Unlinkat(parent, name, 0); err != nil {
			return err
		}
	}
	if err := unix.Mkdirat(parent, name, 0o700); err != nil {
		return err
	}
	w.stat.entries++
	w.dirs[at] = m
	if replaces {
		return w.markOpaque(at)
	}
	return nil
}

func (w *layerWriter) dir(p string, m dirMeta) error {
	attrs := m.attrs
	m.attrs = nil
	if err := w.declare(p, m); err != nil || len(attrs) == 0 {
		return err
	}
	fd, err := w.open(p)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	return w.setAttrs(fd, attrs)
}

// declare makes a directory, or takes note of what the archive says of one there is.
func (w *layerWriter) declare(p string, m dirMeta) error {
	if p == "." {
		w.dirs["."] = m
		return nil
	}
	name := path.Base(p)
	parent, err := w.enter(path.Dir(p))
	if err != nil {
		return err
	}
	kind, err := look(parent, name)
	if err != nil {
		return err
	}
	if kind == aDirectory {
		w.dirs[p] = m
		return nil
	}
	return w.mkdir(parent, name, p, m, kind != nothing)
}

func (w *layerWriter) settle(p string, m dirMeta) error {
	fd, err := w.open(p)
	if err == unix.ENOENT || err == unix.ENOTDIR || err == unix.ELOOP {
		return nil // a later entry has taken its place
	}
	if err != nil {
		return err
	}
	dir := os.NewFile(uintptr(fd), p)
	defer dir.Close()
	if w.underOpaque(p) {
		if err := bareWhiteouts(dir); err != nil {
			return err
		}
	}
	if !w.mayOwn {
		m.mode |= 0o700 // all is the caller's then, who has to look into it
	}
	return w.apply(fd, m)
}
