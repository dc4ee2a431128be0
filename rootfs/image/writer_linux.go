package image

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path"
	"slices"
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

// dirMeta is what a directory gets in the end: what is put into it changes its times, and its mode may forbid to put anything.
type dirMeta struct {
	mode     uint32
	uid, gid int
	attrs    map[string]string // given at once: an archive may have any number of them
	mtime    unix.Timespec
	timed    bool
}

// budget is what all layers of an image may still cost.
type budget struct {
	raw     int64 // bytes that layers uncompress to
	bytes   int64 // in files, holes counted in full
	entries int64
	names   int64 // see maxNames
	looks   int64 // see perEntry
	of      Limits
}

func newBudget(l Limits) *budget {
	return &budget{raw: l.Bytes, bytes: l.Bytes, entries: l.Entries, looks: perEntry * min(l.Entries, math.MaxInt64/perEntry), of: l}
}

// perEntry is how many names may be looked up for each entry that there may be. Real images take some dozens: the depth of a path, in each
// layer; an archive can be made for paths as deep as can be.
const perEntry = 100

// look takes the names of a path from what may be looked up.
func (b *budget) look(p string, layers int) error {
	if b.looks -= int64(strings.Count(p, "/")+1) * int64(layers); b.looks < 0 {
		return tooMuch("more than %d names to look up", perEntry*min(b.of.Entries, math.MaxInt64/perEntry))
	}
	return nil
}

// What is remembered of directories until a layer is complete is bounded, in bytes: their paths, and what else there is of each.
const (
	maxNames   = 64 << 20
	perDirName = 128
)

func (b *budget) entry() error {
	if b.entries--; b.entries < 0 {
		return tooMuch("more than %d files and directories", b.of.Entries)
	}
	return nil
}

func (b *budget) file(size int64) error {
	if size < 0 || size > b.bytes {
		return tooMuch("more than %d bytes in files", b.of.Bytes)
	}
	b.bytes -= size
	return nil
}

// tally counts what there is, and what is not as the archive has it.
type tally struct {
	bytes, entries         int64
	devices, owners, attrs int64
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
