package rootfs

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"github.com/belljar-go/belljar/rootfs/internal/tree"
)

// Layers lists the layers of the store by their keys. A store that does not exist has none. InUse is what it was at that moment;
// a layer that is being unpacked is not among them.
func (s Store) Layers() ([]StoredLayer, error) {
	at, err := s.existing()
	if at == nil {
		return nil, err
	}
	defer at.close()
	keys, err := at.keys()
	if err != nil {
		return nil, err
	}
	var list []StoredLayer
	for _, key := range keys {
		fd, err := unix.Openat(at.layers, keyName(key), openDir, 0)
		if err == unix.ENOENT {
			continue // removed just now
		}
		if err != nil {
			return nil, at.fail("openat", filepath.Join(layersDir, keyName(key)), err)
		}
		dir := os.NewFile(uintptr(fd), key)
		l := at.describe(key, dir)
		// An exclusive lock is granted if nobody else has one. It is given back at once, and whoever met it tries again.
		l.InUse = unix.Flock(fd, unix.LOCK_EX|unix.LOCK_NB) != nil
		_ = dir.Close()
		list = append(list, l)
	}
	return list, nil
}

// Remove removes a layer. It is an [ErrLayerInUse] as long as anybody holds it, and [fs.ErrNotExist] if there is none. Layers that
// were unpacked over it stay: each stands for itself.
func (s Store) Remove(key string) error {
	if err := checkKey(key); err != nil {
		return err
	}
	at, err := s.existing()
	if err != nil {
		return err
	}
	if at == nil {
		return &StoreError{Op: "remove", Path: key, Err: fs.ErrNotExist}
	}
	defer at.close()
	at.sweep()
	return at.remove(key)
}

// Prune removes every layer that nobody holds, and what unpacking that never ended has left. It returns what it removed.
func (s Store) Prune() ([]StoredLayer, error) {
	at, err := s.existing()
	if at == nil {
		return nil, err
	}
	defer at.close()
	at.sweep()
	keys, err := at.keys()
	if err != nil {
		return nil, err
	}
	var gone []StoredLayer
	for _, key := range keys {
		about := StoredLayer{Key: key}
		if h, err := at.get(key); err == nil {
			about = h.StoredLayer
			h.Release()
		}
		err := at.remove(key)
		switch {
		case err == nil:
			gone = append(gone, about)
		case errors.Is(err, ErrLayerInUse), errors.Is(err, fs.ErrNotExist):
		default:
			return gone, err
		}
	}
	return gone, nil
}

// existing opens a store; nil if there is none.
func (s Store) existing() (*openStore, error) {
	at, err := s.open(false)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return at, err
}

func (o *openStore) keys() ([]string, error) {
	fd, err := unix.Openat(o.layers, ".", openDir, 0)
	if err != nil {
		return nil, o.fail("openat", layersDir, err)
	}
	d := os.NewFile(uintptr(fd), layersDir)
	names, err := d.Readdirnames(-1)
	_ = d.Close()
	if err != nil {
		return nil, o.fail("readdir", layersDir, err)
	}
	var keys []string
	for _, n := range names {
		if key, ok := keyOf(n); ok {
			keys = append(keys, key)
		}
	}
	slices.Sort(keys)
	return keys, nil
}

func (o *openStore) remove(key string) error {
	name := keyName(key)
	var lock *os.File
	err := errBusy
	for range 5 {
		// More than once, for it may only have been listed at that moment.
		if lock, err = o.lockIn(o.layers, layersDir, name, unix.LOCK_EX); err != errBusy {
			break
		}
		time.Sleep(2 * time.Millisecond)
	}
	switch {
	case err == errMissing:
		return o.fail("remove", filepath.Join(layersDir, name), unix.ENOENT)
	case err == errBusy:
		return o.fail("remove", filepath.Join(layersDir, name), ErrLayerInUse)
	case err != nil:
		return err
	}
	defer lock.Close()
	// Under another name it is no layer any more, however long the rest takes. The lock tells that somebody is at it.
	var st unix.Stat_t
	if err := unix.Fstat(int(lock.Fd()), &st); err != nil {
		return o.fail("fstat", filepath.Join(layersDir, name), err)
	}
	trash := "old-" + strconv.FormatUint(st.Ino, 10) + "-" + name // others of the key may be on their way, too
	if err := unix.Renameat2(o.layers, name, o.tmp, trash, unix.RENAME_NOREPLACE); err != nil {
		return o.fail("renameat2", filepath.Join(layersDir, name), err)
	}
	if err := tree.Remove(o.tmp, trash); err != nil {
		return o.fail("remove", filepath.Join(tmpDir, trash), err)
	}
	return nil
}
