package rootfs

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/belljar-go/belljar/rootfs/internal/tree"
)

// HeldUpper is a directory that is the upper layer of one root at a time: overlayfs does not say what happens if two
// write to it. It is locked (flock(2)) until a process that has it open releases it, or all of them have ended. Beside it, on the same
// mount as the kernel wants it, is an empty directory that overlayfs works in; it is gone after Release.
type HeldUpper struct {
	Dir  string // with no link in it
	Name string // of the directory in its parent
	Work string // of the work directory, there too
	Made bool   // the directory did not exist before

	bound  bool     // there is a quota to take off
	parent *os.File // that both are in
	lock   *os.File // the directory, locked
}

// HoldUpper takes a directory as upper layer, and makes it if there is none, with uid and gid as its owner (-1 leaves
// it the caller's) and mode 0755. The directory above it has to exist and be writable. It does not wait: a layer that
// another holds is an [ErrUpperInUse].
func HoldUpper(dir string, uid, gid int) (_ *HeldUpper, err error) {
	if err := ValidUpper(dir, nil); err != nil {
		return nil, err
	}
	made, err := makeUpper(dir, uid, gid)
	if err != nil {
		return nil, err
	}
	h := &HeldUpper{}
	defer func() {
		if err != nil {
			h.Undo()
		}
	}()
	fail := func(op, path string, err error) (*HeldUpper, error) {
		return nil, &UpperError{Op: op, Path: path, Err: cause(err)}
	}
	if h.Dir, err = filepath.EvalSymlinks(dir); err != nil {
		return fail("open", dir, err)
	}
	h.Name = filepath.Base(h.Dir)
	above, err := unix.Open(filepath.Dir(h.Dir), unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fail("open", filepath.Dir(h.Dir), err)
	}
	h.parent = os.NewFile(uintptr(above), filepath.Dir(h.Dir))
	fd, err := unix.Openat(above, h.Name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return fail("open", h.Dir, err)
	}
	h.lock = os.NewFile(uintptr(fd), h.Dir)
	if err := unix.Flock(fd, unix.LOCK_EX|unix.LOCK_NB); err != nil {
		if err == unix.EWOULDBLOCK {
			err = ErrUpperInUse
		}
		return fail("lock", h.Dir, err)
	}
	h.Made = made // by now nobody else can have it
	var top, in unix.Statx_t
	const none = unix.AT_SYMLINK_NOFOLLOW
	err = errors.Join(unix.Statx(above, "", unix.AT_EMPTY_PATH, unix.STATX_MNT_ID, &top), unix.Statx(above, h.Name, none, unix.STATX_MNT_ID|unix.STATX_INO, &in))
	if err != nil {
		return fail("statx", h.Dir, err)
	}
	if top.Mnt_id != in.Mnt_id {
		return fail("open", h.Dir, errUpperMount)
	}
	if err := h.makeWork(in.Ino); err != nil {
		return fail("mkdir", filepath.Join(filepath.Dir(h.Dir), h.Work), err)
	}
	return h, nil
}

func makeUpper(dir string, uid, gid int) (made bool, err error) {
	info, err := os.Stat(dir)
	switch {
	case err == nil && !info.IsDir():
		return false, &UpperError{Op: "open", Path: dir, Err: unix.ENOTDIR}
	case err == nil:
		return false, nil
	case !errors.Is(err, fs.ErrNotExist):
		return false, &UpperError{Op: "open", Path: dir, Err: cause(err)}
	}
	if err := os.Mkdir(dir, 0o755); err != nil {
		if errors.Is(err, fs.ErrExist) {
			return false, nil // another was quicker, and the lock decides
		}
		return false, &UpperError{Op: "mkdir", Path: dir, Err: cause(err)}
	}
	err = os.Chmod(dir, 0o755) // whatever the umask
	if err == nil && (uid >= 0 || gid >= 0) {
		err = os.Lchown(dir, uid, gid)
	}
	if err != nil {
		_ = unix.Rmdir(dir)
		return false, &UpperError{Op: "chown", Path: dir, Err: cause(err)}
	}
	return true, nil
}

// makeWork makes the work directory. Its name is that of the layer's inode, so what a crash has left is found again; the
// lock says that nobody needs it.
func (h *HeldUpper) makeWork(ino uint64) error {
	h.Work = fmt.Sprintf(".belljar-work-%d", ino)
	at := int(h.parent.Fd())
	if err := tree.Remove(at, h.Work); err != nil {
		return err
	}
	if err := unix.Mkdirat(at, h.Work, 0o700); err != nil {
		return err
	}
	work, err := unix.Openat(at, h.Work, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(work)
	if err := unix.Fsetxattr(work, "user.belljar", []byte("1"), 0); err == unix.EOPNOTSUPP {
		return errUpperAttrs
	} else if err != nil {
		return err
	}
	if err := h.markLike(work); err != nil {
		return err
	}
	var st unix.Stat_t
	if err := unix.Fstat(int(h.lock.Fd()), &st); err != nil {
		return err
	}
	if os.Geteuid() == 0 {
		// Whoever owns the layer has a place in the sandbox, which root of the host may not have.
		return unix.Fchown(work, int(st.Uid), int(st.Gid))
	}
	return nil
}

// Files returns the directory above the layer and the locked layer. They stay h's.
func (h *HeldUpper) Files() (parent, layer *os.File) { return h.parent, h.lock }

// AdoptUpper returns what another process holds, by its own copies of the descriptors of Files, which it takes over.
// The first to release it gives the lock up for both.
func AdoptUpper(parent, layer int, work string) *HeldUpper {
	return &HeldUpper{Work: work, parent: os.NewFile(uintptr(parent), "parent"), lock: os.NewFile(uintptr(layer), "layer")}
}

// Release removes the work directory and lets the layer go. No root may have it any more. It may be called again, and after
// another process with the same lock has released it.
func (h *HeldUpper) Release() { h.release(false) }

// Undo is Release for a root that never came to be: the directory goes too if it was made for it and is empty.
func (h *HeldUpper) Undo() { h.release(true) }

func (h *HeldUpper) release(undo bool) {
	if h == nil {
		return
	}
	if h.Work != "" && h.lock != nil && h.relock() {
		// What cannot be removed now is removed by the next who takes the layer.
		_ = tree.Remove(int(h.parent.Fd()), h.Work)
		if h.bound {
			unbound(h.lock)
		}
		if undo && h.Made {
			_ = unix.Unlinkat(int(h.parent.Fd()), h.Name, unix.AT_REMOVEDIR)
		}
	}
	if h.lock != nil {
		// Said aloud, since a process that is just being launched has copies of our descriptors for a moment.
		_ = unix.Flock(int(h.lock.Fd()), unix.LOCK_UN)
	}
	for _, f := range []*os.File{h.parent, h.lock} {
		if f != nil {
			_ = f.Close()
		}
	}
	h.parent, h.lock = nil, nil
}

// relock makes sure that nobody else has taken the layer since the other process that had this lock gave it up.
func (h *HeldUpper) relock() bool {
	return unix.Flock(int(h.lock.Fd()), unix.LOCK_EX|unix.LOCK_NB) == nil
}
