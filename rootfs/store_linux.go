package rootfs

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/belljar-go/belljar/rootfs/internal/tree"
)

// A store is
//
//	layers/KEY/tree   a layer
//	layers/KEY/about  what is known of it, JSON
//	tmp/KEY/…         the same while it is made
//	tmp/old-…         a layer that is being removed
//
// Who has a layer holds a shared lock of the directory layers/KEY (flock(2)), who makes or removes one an exclusive one of its
// directory, which goes along when that is renamed. A lock ends with the process that has it. So what lies in tmp
// unlocked was left by somebody who died.

const (
	layersDir = "layers"
	tmpDir    = "tmp"
	treeDir   = "tree"
	aboutFile = "about"
)

// HeldLayer is a layer that cannot be removed as long as it is held: by this process, so one that dies holds nothing.
type HeldLayer struct {
	StoredLayer
	lock *os.File
}

// Release lets the layer go. It may be called again.
func (h *HeldLayer) Release() {
	if h != nil && h.lock != nil {
		_ = unix.Flock(int(h.lock.Fd()), unix.LOCK_UN) // see HeldVolume.Release
		_ = h.lock.Close()
		h.lock = nil
	}
}

// Filled is what was put into a layer.
type Filled struct {
	Bytes   int64
	Entries int64
	Notes   []string
}

// Hold returns the layer of a key and keeps it from being removed until Release. If the store does not have it, fill puts it into
// an empty directory of mode 0700, which becomes the layer if fill succeeds. No other process fills the same layer meanwhile: they
// wait for it, for as long as it takes or until their ctx is done. Afterwards the file system is synchronised once, so the layer
// is whole even after a loss of power.
//
// An error is that of fill, of ctx, or a [*StoreError].
func (s Store) Hold(ctx context.Context, key string, fill func(dir *os.File) (Filled, error)) (*HeldLayer, error) {
	at, err := s.open(true)
	if err != nil {
		return nil, err
	}
	defer at.close()
	if err := checkKey(key); err != nil {
		return nil, err
	}
	for {
		if err := ctx.Err(); err != nil {
			return nil, context.Cause(ctx)
		}
		h, err := at.get(key)
		if err != errMissing && err != errBusy {
			return h, err
		}
		if err == errMissing {
			if h, err = at.make(key, fill); err != errBusy {
				return h, err
			}
		}
		select {
		case <-ctx.Done():
		case <-time.After(10 * time.Millisecond):
		}
	}
}

var (
	errMissing = errors.New("no such layer")
	errBusy    = errors.New("somebody else has it")
)

// openStore is a store's directories, opened.
type openStore struct {
	path             string
	dir, layers, tmp int
}

func (o *openStore) close() {
	for _, fd := range []int{o.dir, o.layers, o.tmp} {
		if fd >= 0 {
			_ = unix.Close(fd)
		}
	}
}

func (o *openStore) fail(op, name string, err error) error {
	return &StoreError{Op: op, Path: filepath.Join(o.path, name), Err: cause(err)}
}

const openDir = unix.O_RDONLY | unix.O_DIRECTORY | unix.O_NOFOLLOW | unix.O_CLOEXEC

// open opens the store, and makes it if create is set.
func (s Store) open(create bool) (*openStore, error) {
	path, err := s.dir()
	if err != nil {
		return nil, err
	}
	o := &openStore{path: path, dir: -1, layers: -1, tmp: -1}
	if create {
		if err := os.MkdirAll(path, 0o700); err != nil {
			return nil, o.fail("mkdir", "", err)
		}
	}
	if o.dir, err = unix.Open(path, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0); err != nil {
		return nil, o.fail("open", "", err)
	}
	err = o.check()
	for _, sub := range []struct {
		name string
		fd   *int
	}{{layersDir, &o.layers}, {tmpDir, &o.tmp}} {
		if err != nil {
			break
		}
		if create {
			if err = unix.Mkdirat(o.dir, sub.name, 0o700); err != nil && err != unix.EEXIST {
				err = o.fail("mkdirat", sub.name, err)
				break
			}
		}
		if *sub.fd, err = unix.Openat(o.dir, sub.name, openDir, 0); err != nil {
			err = o.fail("openat", sub.name, err)
		}
	}
	if err != nil {
		o.close()
		return nil, err
	}
	return o, nil
}

// check refuses a directory that others could have put something into, or may look into.
func (o *openStore) check() error {
	var st unix.Stat_t
	if err := unix.Fstat(o.dir, &st); err != nil {
		return o.fail("fstat", "", err)
	}
	if int(st.Uid) != os.Geteuid() || st.Mode&0o077 != 0 {
		return o.fail("open", "", ErrStoreOpen)
	}
	return nil
}

// lockIn opens a directory and locks it without waiting. What was renamed or removed meanwhile is errMissing.
func (o *openStore) lockIn(parent int, folder, name string, how int) (*os.File, error) {
	fd, err := unix.Openat(parent, name, openDir, 0)
	if err == unix.ENOENT {
		return nil, errMissing
	}
	if err != nil {
		return nil, o.fail("openat", filepath.Join(folder, name), err)
	}
	f := os.NewFile(uintptr(fd), filepath.Join(o.path, folder, name))
	err = unix.Flock(fd, how|unix.LOCK_NB)
	if err == unix.EWOULDBLOCK {
		err = errBusy
	} else if err != nil {
		err = o.fail("flock", filepath.Join(folder, name), err)
	} else if !same(fd, parent, name) {
		err = errMissing
	}
	if err != nil {
		_ = f.Close()
		return nil, err
	}
	return f, nil
}

// same tells whether a name still is what was opened by it.
func same(fd, parent int, name string) bool {
	var here, there unix.Stat_t
	return unix.Fstat(fd, &here) == nil && unix.Fstatat(parent, name, &there, unix.AT_SYMLINK_NOFOLLOW) == nil &&
		here.Ino == there.Ino && here.Dev == there.Dev
}

// get holds a layer that there is.
func (o *openStore) get(key string) (*HeldLayer, error) {
	lock, err := o.lockIn(o.layers, layersDir, keyName(key), unix.LOCK_SH)
	if err != nil {
		return nil, err
	}
	return o.held(key, lock), nil
}

func (o *openStore) held(key string, lock *os.File) *HeldLayer {
	return &HeldLayer{StoredLayer: o.describe(key, lock), lock: lock}
}

// describe reads what is known of a layer. What cannot be read says nothing.
func (o *openStore) describe(key string, dir *os.File) StoredLayer {
	l := StoredLayer{Key: key, Dir: filepath.Join(o.path, layersDir, keyName(key), treeDir)}
	fd, err := unix.Openat(int(dir.Fd()), aboutFile, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return l
	}
	f := os.NewFile(uintptr(fd), aboutFile)
	defer f.Close()
	var about Filled
	if json.NewDecoder(f).Decode(&about) == nil {
		l.Bytes, l.Entries, l.Notes = about.Bytes, about.Entries, about.Notes
	}
	if info, err := f.Stat(); err == nil {
		l.Made = info.ModTime()
	}
	return l
}

// make fills a layer and gives it its name.
func (o *openStore) make(key string, fill func(dir *os.File) (Filled, error)) (_ *HeldLayer, err error) {
	name := keyName(key)
	o.sweep()
	if err := unix.Mkdirat(o.tmp, name, 0o700); err != nil && err != unix.EEXIST {
		return nil, o.fail("mkdirat", filepath.Join(tmpDir, name), err)
	}
	lock, err := o.lockIn(o.tmp, tmpDir, name, unix.LOCK_EX)
	if err == errMissing {
		err = errBusy
	}
	if err != nil {
		return nil, err
	}
	named := false
	defer func() {
		if err != nil && !named {
			_ = tree.Remove(o.tmp, name) // while it is locked: nobody can have come to use it
		}
		if err != nil {
			_ = lock.Close()
		}
	}()
	var st unix.Stat_t
	if unix.Fstatat(o.layers, name, &st, unix.AT_SYMLINK_NOFOLLOW) != unix.ENOENT {
		return nil, errBusy // made between our look and our lock, so begin again
	}
	if err := o.fillTmp(int(lock.Fd()), fill); err != nil {
		return nil, err
	}
	if err := unix.Renameat2(o.tmp, name, o.layers, name, unix.RENAME_NOREPLACE); err != nil {
		return nil, o.fail("renameat2", filepath.Join(layersDir, name), err)
	}
	named = true
	if err := unix.Fsync(o.layers); err != nil {
		return nil, o.fail("fsync", layersDir, err)
	}
	if unix.Flock(int(lock.Fd()), unix.LOCK_SH|unix.LOCK_NB) != nil || !same(int(lock.Fd()), o.layers, name) {
		return nil, errBusy // a lock is not converted in one step (flock(2)), and somebody has removed the layer in between
	}
	return o.held(key, lock), nil
}

// fillTmp makes the content of a layer in a directory that is locked, and puts it on disk.
func (o *openStore) fillTmp(dir int, fill func(dir *os.File) (Filled, error)) error {
	for _, n := range []string{treeDir, aboutFile} { // of somebody who died here
		if err := tree.Remove(dir, n); err != nil {
			return o.fail("remove", tmpDir, err)
		}
	}
	if err := unix.Mkdirat(dir, treeDir, 0o700); err != nil {
		return o.fail("mkdirat", tmpDir, err)
	}
	fd, err := unix.Openat(dir, treeDir, openDir, 0)
	if err != nil {
		return o.fail("openat", tmpDir, err)
	}
	top := os.NewFile(uintptr(fd), treeDir)
	about, err := fill(top)
	_ = top.Close()
	if err != nil {
		return err
	}
	data, err := json.Marshal(about)
	if err != nil {
		return err
	}
	if fd, err = unix.Openat(dir, aboutFile, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_CLOEXEC, 0o600); err != nil {
		return o.fail("openat", tmpDir, err)
	}
	f := os.NewFile(uintptr(fd), aboutFile)
	_, err = f.Write(data)
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return o.fail("write", tmpDir, err)
	}
	if err := unix.Syncfs(dir); err != nil {
		return o.fail("syncfs", tmpDir, err)
	}
	return nil
}

// sweep removes what the dead have left.
func (o *openStore) sweep() {
	fd, err := unix.Openat(o.tmp, ".", openDir, 0)
	if err != nil {
		return
	}
	d := os.NewFile(uintptr(fd), tmpDir)
	names, _ := d.Readdirnames(-1)
	_ = d.Close()
	for _, name := range names {
		if lock, err := o.lockIn(o.tmp, tmpDir, name, unix.LOCK_EX); err == nil {
			_ = tree.Remove(o.tmp, name)
			_ = lock.Close()
		}
	}
}
