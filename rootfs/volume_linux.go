package rootfs

import (
	"errors"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/belljar-go/belljar/rootfs/internal/tree"
)

// HeldVolume is a volume that cannot be removed as long as it is held: by the processes that have
// it open, so one that dies holds nothing.
type HeldVolume struct {
	Path string // the directory of the host
	Made bool   // it did not exist before

	volume Volume
	lock   *os.File // nil for a directory of the host
}

// A named volume is the directory data, which is what sandboxes see, and beside it the file lock,
// which holders have a shared and Remove an exclusive lock of (flock(2)). The store is closed to
// everybody else: a job that is root inside may leave setuid programs in a volume, which are no
// business of other users of the host (CVE-2021-41103).

// Hold makes a named volume that does not exist, with uid and gid as the owner of its directory
// (-1 leaves it the caller's), and keeps it from being removed until Release. It waits, 10 seconds at
// most, where another program is making or removing the volume at that moment.
func (v Volume) Hold(uid, gid int) (_ *HeldVolume, err error) {
	if err := v.Validate(); err != nil {
		return nil, err
	}
	if v.Dir != "" {
		if info, err := os.Stat(v.Dir); err != nil {
			return nil, &VolumeError{Op: "open", Path: v.Dir, Err: cause(err)}
		} else if !info.IsDir() {
			return nil, &VolumeError{Op: "open", Path: v.Dir, Err: unix.ENOTDIR}
		}
		return &HeldVolume{Path: v.Dir, volume: v}, nil
	}
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		if err := os.MkdirAll(v.home(), 0o700); err != nil {
			return nil, &VolumeError{Op: "mkdir", Path: v.home(), Err: cause(err)}
		}
		h, err := v.hold(uid, gid)
		if err != errRemoved {
			return h, err
		}
		if time.Now().After(end) {
			return nil, &VolumeError{Op: "lock", Path: v.home(), Err: ErrVolumeInUse}
		}
	}
}

// errRemoved says that the volume was removed while it was being opened.
var errRemoved = errors.New("removed meanwhile")

func (v Volume) hold(uid, gid int) (_ *HeldVolume, err error) {
	lock, err := v.locked(unix.LOCK_EX, true)
	if err != nil && !errors.Is(err, ErrVolumeInUse) {
		return nil, err
	}
	made := false
	if err == nil {
		// Nobody else has it, so this is the one moment to make it.
		if made, err = v.make(uid, gid); err != nil {
			_ = lock.Close()
			return nil, err
		}
		if unix.Flock(int(lock.Fd()), unix.LOCK_SH|unix.LOCK_NB) != nil {
			_ = lock.Close() // a lock is not converted in one step (flock(2))
			return nil, errRemoved
		}
	} else if lock, err = v.locked(unix.LOCK_SH, true); errors.Is(err, ErrVolumeInUse) {
		return nil, errRemoved // another is just making or removing it
	} else if err != nil {
		return nil, err
	}
	h := &HeldVolume{Path: v.Path(), Made: made, volume: v, lock: lock}
	if info, err := os.Lstat(h.Path); err != nil || !info.IsDir() {
		h.Release()
		return nil, errRemoved
	}
	if err := v.bound(); err != nil {
		h.Release()
		if made {
			_ = v.Remove()
		}
		return nil, err
	}
	return h, nil
}

// bound sets the size of a volume that has one.
func (v Volume) bound() error {
	if v.Size == 0 {
		return nil
	}
	dir, err := os.OpenFile(v.Path(), dirFlags, 0)
	if err == nil {
		_, err = setBound(dir, Bound{Bytes: v.Size, Files: FilesFor(v.Size)})
		_ = dir.Close()
	}
	if err != nil {
		return &VolumeError{Op: "bound", Path: v.Path(), Err: cause(err)}
	}
	return nil
}

// giveBack takes the quota off a volume that is about to go. What counts for its project goes with it.
func (v Volume) giveBack() {
	if dir, err := os.OpenFile(v.Path(), dirFlags, 0); err == nil {
		unbound(dir)
		_ = dir.Close()
	}
}

// locked opens the lock file of a volume and takes a lock, without waiting.
func (v Volume) locked(how int, create bool) (*os.File, error) {
	path := filepath.Join(v.home(), "lock")
	flags := os.O_RDWR | unix.O_NOFOLLOW
	if create {
		flags |= os.O_CREATE
	}
	f, err := os.OpenFile(path, flags, 0o600)
	if create && errors.Is(err, os.ErrNotExist) {
		return nil, errRemoved
	}
	if err != nil {
		return nil, &VolumeError{Op: "open", Path: path, Err: cause(err)}
	}
	if err := unix.Flock(int(f.Fd()), how|unix.LOCK_NB); err != nil {
		_ = f.Close()
		if err == unix.EWOULDBLOCK {
			err = ErrVolumeInUse
		}
		return nil, &VolumeError{Op: "lock", Path: path, Err: err}
	}
	// A file that Remove has unlinked meanwhile locks nothing.
	var here, there unix.Stat_t
	if unix.Fstat(int(f.Fd()), &here) != nil || unix.Lstat(path, &there) != nil || here.Ino != there.Ino {
		_ = f.Close()
		return nil, errRemoved
	}
	return f, nil
}

// make makes the volume's directory if there is none. It appears under its name when it is complete.
func (v Volume) make(uid, gid int) (made bool, err error) {
	if info, err := os.Lstat(v.Path()); err == nil && info.IsDir() {
		return false, nil
	}
	tmp := filepath.Join(v.home(), "new")
	if err := removeTree(tmp); err != nil { // of somebody who died here
		return false, err
	}
	if err := os.Mkdir(tmp, 0o755); err != nil {
		return false, &VolumeError{Op: "mkdir", Path: tmp, Err: cause(err)}
	}
	defer func() {
		if err != nil {
			_ = os.RemoveAll(tmp)
		}
	}()
	if err := os.Chmod(tmp, 0o755); err != nil { // whatever the umask
		return false, &VolumeError{Op: "chmod", Path: tmp, Err: cause(err)}
	}
	if uid >= 0 || gid >= 0 {
		if err := os.Lchown(tmp, uid, gid); err != nil {
			return false, &VolumeError{Op: "chown", Path: tmp, Err: cause(err)}
		}
	}
	if err := os.Rename(tmp, v.Path()); err != nil {
		return false, &VolumeError{Op: "rename", Path: v.Path(), Err: cause(err)}
	}
	return true, nil
}

// Release lets the volume go. It may be called again.
func (h *HeldVolume) Release() {
	if h != nil && h.lock != nil {
		// Said aloud, because a process that is being launched has a copy of the descriptor for a moment.
		_ = unix.Flock(int(h.lock.Fd()), unix.LOCK_UN)
		_ = h.lock.Close()
		h.lock = nil
	}
}

// Create makes the volume if it does not exist, with uid and gid as the owner of its directory;
// -1 leaves it the caller's. A sandbox does so by itself, with the ids of its job.
func (v Volume) Create(uid, gid int) error {
	h, err := v.Hold(uid, gid)
	h.Release()
	return err
}

// Remove removes a named volume and all that is in it. It is an [ErrVolumeInUse] as long as any
// sandbox of any program has it, and [fs.ErrNotExist] if there is none.
func (v Volume) Remove() error {
	if err := v.Validate(); err != nil {
		return err
	}
	if v.Dir != "" {
		return &Error{Index: -1, Op: "volume", Path: v.Dir, Why: "is a directory of the host, which is not removed"}
	}
	if _, err := os.Lstat(v.Path()); err != nil {
		return &VolumeError{Op: "remove", Path: v.Path(), Err: cause(err)}
	}
	lock, err := v.locked(unix.LOCK_EX, true)
	if err == errRemoved {
		return &VolumeError{Op: "remove", Path: v.Path(), Err: unix.ENOENT}
	}
	if err != nil {
		return err
	}
	defer lock.Close()
	// Under another name it is no volume any more, however long the rest takes.
	trash := filepath.Join(v.home(), "old")
	if err := removeTree(trash); err != nil {
		return err
	}
	v.giveBack()
	if err := os.Rename(v.Path(), trash); err != nil {
		return &VolumeError{Op: "rename", Path: v.Path(), Err: cause(err)}
	}
	if err := removeTree(trash); err != nil {
		return err
	}
	_ = os.Remove(filepath.Join(v.home(), "lock"))
	_ = os.Remove(v.home())
	return nil
}

// removeTree removes what a job has made: directories that not even their owner may enter, however
// deep they are.
func removeTree(dir string) error {
	parent, err := unix.Open(filepath.Dir(dir), unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err == nil {
		defer unix.Close(parent)
		err = tree.Remove(parent, filepath.Base(dir))
	}
	if err != nil {
		return &VolumeError{Op: "remove", Path: dir, Err: cause(err)}
	}
	return nil
}
